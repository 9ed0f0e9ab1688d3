use flagstone::persist;

#[persist(size = 8)]
struct Unknown {
    value: u8,
}

#[persist(name = "A", name = "B")]
struct Twice {
    value: u8,
}

#[persist(name = "A B<C>")]
struct BadName {
    value: u8,
}

#[persist(name = "")]
struct EmptyName {
    value: u8,
}

fn main() {}
