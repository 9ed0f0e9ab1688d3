use flagstone::persist;

#[persist]
struct Guard {
    value: u32,
}

impl Drop for Guard {
    fn drop(&mut self) {}
}

fn main() {}
