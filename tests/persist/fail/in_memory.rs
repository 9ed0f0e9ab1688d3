use flagstone::persist;

#[persist]
struct Text {
    text: String,
    list: Vec<u8>,
    spelled_out: std::vec::Vec<u8>,
    letter: char,
    nothing: (),
    tuple: (u8, u8),
}

fn main() {}
