use flagstone::persist;

#[persist]
struct Fields {
    always: u8,
    #[cfg(unix)]
    sometimes: u8,
}

#[persist]
enum Variants {
    Always,
    #[cfg(unix)]
    Sometimes,
}

fn main() {}
