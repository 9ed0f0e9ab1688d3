use flagstone::{Link, Persist, persist};

#[persist]
struct Node {
    count: usize,
    next: Link<Node>,
}

#[persist]
struct Holder {
    node: Node,
}

fn main() {
    let _: Link<[Node]> = Link::null();
    let _ = Node::type_name();
}
