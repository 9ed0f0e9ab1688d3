use flagstone::{Link, persist};

#[persist]
struct Maybe {
    number: Option<u32>,
    link: Option<Link<Maybe>>,
    boxed: Option<Box<Maybe>>,
    reference: core::option::Option<&'static Maybe>,
}

fn main() {}
