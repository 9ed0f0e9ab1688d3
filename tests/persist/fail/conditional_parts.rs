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

#[persist]
struct Further {
    always: u8,
    #[cfg_attr(unix, cfg_attr(unix, doc = "", cfg(windows)))]
    sometimes: u8,
}

fn main() {}
