use flagstone::persist;

#[persist]
struct Unit;

#[persist]
struct Empty {}

#[persist]
struct EmptyTuple();

fn main() {}
