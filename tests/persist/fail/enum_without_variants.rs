use flagstone::persist;

#[persist]
enum Never {}

fn main() {}
