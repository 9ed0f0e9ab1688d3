//! `#[persist]` describes a type so that a file explains itself: names, offsets and values of all
//! reachable types, and which bytes are valid.

use flagstone::persist::{Reach, Shape};
use flagstone::{Link, Persist, persist};
use zerocopy::IntoBytes;
use zerocopy::byteorder::{BE, U16};

/// Returns the descriptions of all types reachable from `T`, except primitives.
fn described<T: Persist>() -> String {
    let schemas = Reach::of::<T>().into_iter();
    let composed = schemas.filter(|schema| schema.shape != Shape::Primitive);
    composed.map(|schema| schema.to_string()).collect()
}

#[persist]
struct Node {
    value: i64,
    next: Link<Node>,
}

#[test]
fn a_struct_is_its_fields_and_their_offsets() {
    let node = Reach::schema_of::<Node>().unwrap();
    assert_eq!((node.size_bytes, node.align_bytes), (16, 8));
    assert_eq!(
        node.to_string(),
        "struct Node size 16 align 8\n\
         0 value: i64\n\
         8 next: Link<Node>\n"
    );
}

#[persist]
struct Mixed(U16<BE>, [bool; 2], [u8; 4], [Link<[Node]>; 2]);

#[test]
fn a_tuple_struct_numbers_its_fields() {
    assert_eq!(
        Reach::schema_of::<Mixed>().unwrap().to_string(),
        "struct Mixed size 40 align 8\n\
         0 0: u16be\n\
         2 1: [bool; 2]\n\
         4 2: [u8; 4]\n\
         8 3: [Link<[Node]>; 2]\n"
    );
}

#[persist]
#[repr(i16)]
#[derive(Clone, Copy, IntoBytes, zerocopy::Immutable)]
enum Level {
    Low = -2,
    Next,
    High = 300,
}

#[persist]
#[repr(u64)]
#[allow(dead_code)]
enum Widest {
    Last = u64::MAX,
}

#[test]
fn an_enum_is_its_variants_and_their_values() {
    assert_eq!(
        described::<Level>(),
        "enum Level size 2 align 2\n\
         -2 Low\n\
         -1 Next\n\
         300 High\n"
    );
    assert_eq!(
        described::<Widest>(),
        "enum Widest size 8 align 8\n\
         18446744073709551615 Last\n"
    );
}

#[persist]
struct Pair<A: Persist, B> {
    first: A,
    second: B,
}

#[persist]
struct Block<T: Persist, const N: usize, const SORTED: bool> {
    items: [T; N],
    next: Link<Block<T, N, SORTED>>,
}

#[test]
fn parameters_are_part_of_a_name() {
    assert_eq!(Pair::<u8, Pair<bool, i8>>::type_name(), "Pair<u8, Pair<bool, i8>>");
    assert_eq!(
        described::<Block<Pair<u32, f32>, 3, true>>(),
        "struct Block<Pair<u32, f32>, 3, true> size 32 align 8\n\
         0 items: [Pair<u32, f32>; 3]\n\
         24 next: Link<Block<Pair<u32, f32>, 3, true>>\n\
         struct Pair<u32, f32> size 8 align 4\n\
         0 first: u32\n\
         4 second: f32\n"
    );
}

#[persist]
struct Author {
    books: Link<[Book]>,
}

#[persist]
struct Book {
    author: Link<Author>,
    level: Level,
    _pad: [u8; 6],
}

#[test]
fn types_behind_links_are_described_once_each() {
    let author = "struct Author size 16 align 8\n\
                  0 books: Link<[Book]>\n";
    let book = "struct Book size 16 align 8\n\
                0 author: Link<Author>\n\
                8 level: Level\n\
                10 _pad: [u8; 6]\n";
    let level = "enum Level size 2 align 2\n\
                 -2 Low\n\
                 -1 Next\n\
                 300 High\n";
    assert_eq!(described::<Author>(), [author, book, level].concat());
    assert_eq!(described::<Book>(), [book, author, level].concat());
}

#[persist(name = "geometry::Point")]
struct P<T> {
    r#in: T,
}

#[test]
fn a_name_can_be_chosen_and_raw_identifiers_lose_their_prefix() {
    assert_eq!(
        described::<P<u16>>(),
        "struct geometry::Point<u16> size 2 align 2\n\
         0 in: u16\n"
    );
}

#[test]
fn every_bit_pattern_is_valid_only_if_it_is_in_all_fields() {
    const { assert!(Node::ANY_BITS && Pair::<u64, Pair<f32, i32>>::ANY_BITS) };
    const { assert!(!Mixed::ANY_BITS && !Level::ANY_BITS && !Book::ANY_BITS) };
    const { assert!(!Pair::<u8, bool>::ANY_BITS && !Pair::<bool, u8>::ANY_BITS) };
    assert!(Node::is_valid(&[0xff; 16]));
}

#[test]
fn an_enum_has_exactly_the_values_of_its_variants() {
    for level in [Level::Low, Level::Next, Level::High] {
        assert!(Level::is_valid(level.as_bytes()));
    }
    let valid = (i16::MIN..=i16::MAX).filter(|value| Level::is_valid(&value.to_ne_bytes()));
    assert_eq!(Vec::from_iter(valid), [-2, -1, 300]);
    assert!(!Level::is_valid(&[]) && !Level::is_valid(&[0xff]) && !Level::is_valid(&[0xff; 3]));
}

#[persist]
#[derive(IntoBytes, zerocopy::Immutable)]
struct Inner {
    flags: [bool; 2],
    level: Level,
}

#[persist]
#[derive(IntoBytes, zerocopy::Immutable)]
struct Outer {
    count: u32,
    inner: [Inner; 2],
}

#[test]
fn bytes_of_nested_fields_are_all_checked() {
    let inner = |level| Inner { flags: [false, true], level };
    let value = Outer { count: u32::MAX, inner: [inner(Level::Low), inner(Level::High)] };
    assert!(Outer::is_valid(value.as_bytes()));
    let valid_with = |place: usize, part: &[u8]| {
        let mut bytes = value.as_bytes().to_vec();
        bytes[place..place + part.len()].copy_from_slice(part);
        Outer::is_valid(&bytes)
    };
    for byte in 0..=u8::MAX {
        for place in 0..4 {
            assert!(valid_with(place, &[byte]), "count, byte {place}");
        }
        for place in [4, 5, 8, 9] {
            assert_eq!(valid_with(place, &[byte]), byte < 2, "flag at {place}");
        }
    }
    for number in i16::MIN..=i16::MAX {
        for place in [6, 10] {
            let valid = valid_with(place, &number.to_ne_bytes());
            assert_eq!(valid, [-2, -1, 300].contains(&number), "level at {place}");
        }
    }
}

#[test]
fn too_few_bytes_are_no_value() {
    assert!(!Outer::is_valid(&[]) && !Outer::is_valid(&[0; 11]));
    assert!(!Pair::<u64, bool>::is_valid(&[0; 8]));
}
