use flagstone::{Link, persist};

#[persist]
struct Node<T> {
    value: T,
    next: Link<Node<T>>,
}

fn main() {}
