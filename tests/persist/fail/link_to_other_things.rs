use flagstone::{Link, Store};

struct Plain {
    value: u32,
}

fn roots(store: &Store) {
    let tx = store.read().unwrap();
    let _ = tx.root::<Plain>("plain");
    let _ = tx.root::<str>("text");
    let _ = tx.root::<[String]>("names");
}

fn slice<T>(_: Link<[T]>) {}

fn main() {}
