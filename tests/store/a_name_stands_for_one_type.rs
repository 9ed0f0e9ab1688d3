//! Promise: a name stands for one layout, in a program and in a file. If two types of a program
//! have one name, the second to be used is refused, wherever it occurs. A type name in a file is
//! compared with its whole description.

use std::path::Path;

use flagstone::collections::{BTreeMap, BTreeSet, Deque, HashMap, HashSet, Vec as List};
use flagstone::{
    Error, ErrorKind, Link, OpenOptions, Pair, Persist, Result, Store, Text, WriteTx, persist,
};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{TestResult, assert_refused, forge, open, open_with, refusal};
use xxhash_rust::xxh3::xxh3_64;

/// Modules of one program that each have an `Item`.
macro_rules! item {
    ($module:ident, $first:ident, $second:ident) => {
        mod $module {
            #[flagstone::persist]
            #[derive(Clone, Copy, Default, Debug, PartialEq, Eq, PartialOrd, Ord)]
            pub struct Item {
                pub $first: u32,
                pub $second: u32,
            }
        }
    };
}
item!(a, x, y);
item!(b, low, high);
item!(twin, x, y);
item!(swapped, y, x);

/// Every byte is a valid `u8`, but not a valid `bool`.
macro_rules! flag {
    ($module:ident, $type:ty) => {
        mod $module {
            #[flagstone::persist(name = "Flag")]
            #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
            pub struct Flag(pub $type);
        }
    };
}
flag!(bytes, u8);
flag!(bools, bool);

#[persist]
#[derive(Clone, Copy, Default)]
struct Both<A, B> {
    a: A,
    b: B,
}

#[persist]
#[derive(Clone, Copy, Default)]
struct Wrapper<T> {
    inside: T,
}

#[persist]
#[derive(Clone, Copy, Default)]
struct Leads<T: Persist> {
    to: Link<[Wrapper<T>]>,
}

#[persist]
struct Marked<T: Persist> {
    number: u64,
    of: std::marker::PhantomData<T>,
}

/// The bounds of a key.
trait Any: Persist + Copy + Ord + Default {}
impl<T: Persist + Copy + Ord + Default> Any for T {}

type Way = fn(&mut WriteTx<'_>) -> Result<()>;

/// Returns the ways in which a `T` gets into a store, or is requested.
fn ways<T: Any>() -> Vec<(&'static str, Way)> {
    vec![
        ("object", |tx| tx.alloc(T::default()).map(drop)),
        ("slice", |tx| tx.alloc_slice([T::default()]).map(drop)),
        ("array", |tx| tx.alloc([T::default(); 2]).map(drop)),
        ("arrays", |tx| tx.alloc([[T::default(); 2]; 2]).map(drop)),
        ("parameter", |tx| tx.alloc(Wrapper { inside: T::default() }).map(drop)),
        ("nested", |tx| tx.alloc(Wrapper { inside: [Wrapper { inside: T::default() }] }).map(drop)),
        ("link", |tx| tx.alloc(Link::<T>::null()).map(drop)),
        ("behind a link", |tx| tx.alloc(Leads::<T>::default()).map(drop)),
        ("mark", |tx| tx.alloc(Marked::<T> { number: 0, of: Default::default() }).map(drop)),
        ("pair", |tx| tx.alloc(Pair { first: T::default(), second: T::default() }).map(drop)),
        ("root", |tx| tx.root::<T>("none").map(drop)),
        ("root of many", |tx| tx.root::<[Wrapper<T>]>("none").map(drop)),
        ("null root", |tx| tx.set_root("null", Link::<Wrapper<T>>::null())),
        ("freed", |tx| match tx.free(Link::<T>::from_parts(1 << 20, 1)) {
            Err(error) if matches!(error.kind(), ErrorKind::LinkNotWhole { .. }) => Ok(()),
            other => other,
        }),
        ("vector", |tx| {
            let list = tx.alloc(List::<T>::new())?;
            list.push(tx, T::default())
        }),
        ("deque", |tx| {
            let deque = tx.alloc(Deque::<T>::new())?;
            deque.push_back(tx, T::default())
        }),
        ("hash key", |tx| {
            let map = tx.alloc(HashMap::<T, u64>::new())?;
            map.insert(tx, &T::default(), 1).map(drop)
        }),
        ("hash value", |tx| {
            let map = tx.alloc(HashMap::<Text, T>::new())?;
            map.insert(tx, "key", T::default()).map(drop)
        }),
        ("hash set", |tx| tx.alloc(HashSet::<T>::new()).map(drop)),
        ("tree key", |tx| {
            let map = tx.alloc(BTreeMap::<T, u64>::new())?;
            map.insert(tx, &T::default(), 1).map(drop)
        }),
        ("tree value", |tx| tx.alloc(BTreeMap::<u64, List<T>>::new()).map(drop)),
        ("tree set", |tx| tx.alloc(BTreeSet::<Pair<T, T>>::new()).map(drop)),
    ]
}

/// Returns the two paths and layouts of a refusal.
fn taken(error: &Error, name: &str) -> [String; 4] {
    let ErrorKind::TypeNameTaken {
        type_name,
        first_path,
        first_layout,
        second_path,
        second_layout,
    } = error.kind()
    else {
        panic!("expected that a name is taken, found: {error}");
    };
    assert_eq!(type_name, name, "{error}");
    [first_path.to_string(), first_layout.clone(), second_path.to_string(), second_layout.clone()]
}

/// Tries each way to use the first type, followed by each way to use the other: in one
/// transaction, and in two.
fn expect_told_apart<A: Any, B: Any>(name: &str) -> TestResult {
    for (first, use_first) in ways::<A>() {
        for (second, use_second) in ways::<B>() {
            let store = Store::in_memory()?;
            let mut tx = store.write()?;
            use_first(&mut tx).map_err(|error| format!("{first} alone: {error}"))?;
            let error = refusal(use_second(&mut tx));
            let [first_path, first_layout, second_path, second_layout] = taken(&error, name);
            let what = format!("{first}, then {second}: {error}");
            assert!(first_path.ends_with(std::any::type_name::<A>()), "{what}");
            assert!(second_path.ends_with(std::any::type_name::<B>()), "{what}");
            let layouts = [&first_layout, &second_layout];
            assert!(layouts.iter().all(|text| text.starts_with(&format!("struct {name} "))));
            use_first(&mut tx).map_err(|error| format!("{first} again: {error}"))?;
            tx.commit()?;
            taken(&refusal(store.update(use_second)), name);
            store.update(use_first)?;
            taken(&refusal(store.read()?.root::<B>("none")), name);
            store.check()?.into_result()?;
        }
    }
    Ok(())
}

#[test]
fn two_types_of_one_name_are_told_apart_wherever_they_are_used() -> TestResult {
    expect_told_apart::<a::Item, b::Item>("Item")?;
    expect_told_apart::<twin::Item, a::Item>("Item")?;
    expect_told_apart::<bytes::Flag, bools::Flag>("Flag")
}

#[test]
fn two_types_of_one_name_within_one_value_are_refused_and_leave_nothing() -> TestResult {
    type Two = Both<a::Item, b::Item>;
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let error = refusal(tx.alloc(Two::default()));
    assert_eq!(
        error.to_string(),
        "type name Item is that of two types in this program, and a store, which knows types by \
         their names, would take one for the other; give one of them a name of its own with \
         #[persist(name = \"…\")]\n\
         used first: store::a_name_stands_for_one_type::a::Item\n\
         struct Item size 8 align 4\n0 x: u32\n4 y: u32\n\
         used now: store::a_name_stands_for_one_type::b::Item\n\
         struct Item size 8 align 4\n0 low: u32\n4 high: u32\n"
    );
    taken(&refusal(tx.root::<Two>("none")), "Item");
    taken(&refusal(tx.root::<[Wrapper<Two>]>("none")), "Item");
    taken(&refusal(tx.alloc(BTreeMap::<a::Item, b::Item>::new())), "Item");
    taken(&refusal(tx.alloc(Both::<Wrapper<a::Item>, Wrapper<b::Item>>::default())), "Item");
    taken(&refusal(store.read()?.root::<Two>("none")), "Item");
    tx.commit()?;
    // Neither type holds the name, and the store has registered neither.
    store.update(|tx| tx.alloc(b::Item::default()).map(drop))?;
    taken(&refusal(store.update(|tx| tx.alloc(a::Item::default()))), "Item");
    assert_eq!(store.check()?.unreachable.listed.len(), 1);
    Ok(())
}

#[persist]
#[derive(Clone, Copy, Default)]
struct Size<const N: u8>(u64);

mod other {
    #[flagstone::persist]
    #[derive(Clone, Copy, Default)]
    pub struct Size<const N: u32>(pub u64);
}

#[test]
fn constants_of_two_types_that_print_the_same_are_told_apart() -> TestResult {
    let store = Store::in_memory()?;
    store.update(|tx| tx.alloc(Size::<1>(7)).map(drop))?;
    let [first, _, second, _] =
        taken(&refusal(store.update(|tx| tx.alloc(other::Size::<1>(7)))), "Size<1>");
    assert_ne!(first, second);
    // Another constant is another name.
    store.update(|tx| tx.alloc(other::Size::<2>(7)).map(drop))?;
    taken(&refusal(store.update(|tx| tx.alloc(Size::<2>(7)))), "Size<2>");
    Ok(())
}

#[test]
fn types_that_share_a_path_are_told_apart() -> TestResult {
    let store = Store::in_memory()?;
    {
        #[persist]
        struct Local(u32, u32);
        store.update(|tx| tx.alloc(Local(1, 2)).map(drop))?;
    }
    #[persist]
    struct Local(u16, u16);
    let error = refusal(store.update(|tx| tx.alloc(Local(1, 2))));
    let [first, _, second, _] = taken(&error, "Local");
    assert_eq!(first, second);
    assert!(error.to_string().contains("(at one path:"), "{error}");
    Ok(())
}

/// The first type to use a name holds it, whatever happens to the transaction. The name is free
/// in another store, or when the store is opened again.
#[test]
fn a_name_is_held_as_long_as_the_store_is_open() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    let mut tx = store.write()?;
    let savepoint = tx.savepoint()?;
    tx.alloc(a::Item::default()).map(drop)?;
    tx.rollback_to(savepoint)?;
    taken(&refusal(tx.alloc(b::Item::default())), "Item");
    tx.rollback();
    taken(&refusal(store.update(|tx| tx.alloc(b::Item::default()))), "Item");
    let other = Store::in_memory()?;
    other.update(|tx| tx.alloc(b::Item::default()).map(drop))?;
    taken(&refusal(other.update(|tx| tx.alloc(a::Item::default()))), "Item");
    store.close()?;
    let store = open(&path)?;
    store.update(|tx| tx.alloc(b::Item::default()).map(drop))?;
    store.close()?;
    assert_refused!(open(&path)?.update(|tx| tx.alloc(a::Item::default())), TypeChanged { .. });
    Ok(())
}

#[test]
fn threads_agree_on_which_type_holds_a_name() -> TestResult {
    for _ in 0..50 {
        let store = Store::in_memory()?;
        let is_first = |answer: Result<()>| match answer {
            Ok(()) => true,
            Err(error) => !matches!(error.kind(), ErrorKind::TypeNameTaken { .. }),
        };
        let (one, two, three) = std::thread::scope(|scope| {
            let write = |way: Way| {
                scope.spawn({
                    let store = &store;
                    move || store.update(way)
                })
            };
            let one = write(|tx| tx.alloc(a::Item::default()).map(drop));
            let two = write(|tx| tx.alloc(Wrapper { inside: b::Item::default() }).map(drop));
            let three = scope.spawn(|| store.read()?.root::<[a::Item]>("none").map(drop));
            (one.join(), two.join(), three.join())
        });
        let answers = [one, two, three].map(|answer| is_first(answer.expect("no panic")));
        assert!(answers == [true, false, true] || answers == [false, true, false], "{answers:?}");
        store.check()?.into_result()?;
    }
    Ok(())
}

/// Two versions of a program: the second has swapped two numbers of its `b::Item`.
mod one {
    #[flagstone::persist(name = "b::Item")]
    #[derive(Clone, Copy, Default)]
    pub struct Item {
        pub low: u32,
        pub high: u32,
    }
}

mod two {
    #[flagstone::persist(name = "b::Item")]
    #[derive(Clone, Copy, Default)]
    pub struct Item {
        pub high: u32,
        pub low: u32,
    }
}

#[test]
fn no_later_program_reads_two_numbers_swapped() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    let mut tx = store.write()?;
    taken(&refusal(tx.alloc(Both::<a::Item, b::Item>::default())), "Item");
    tx.commit()?;
    let both = Both { a: a::Item { x: 3, y: 4 }, b: one::Item { low: 1, high: 2 } };
    store.update(|tx| tx.root_or_insert_with("both", || both).map(drop))?;
    store.close()?;
    let store = open_with(&path, &OpenOptions::new().verify(true))?;
    assert_refused!(store.read()?.root::<Both<a::Item, two::Item>>("both"), TypeChanged { .. });
    let tx = store.read()?;
    assert_refused!(tx.root::<two::Item>("none"), TypeChanged { .. });
    drop(tx);
    store.close()?;
    let store = open(&path)?;
    let tx = store.read()?;
    assert_eq!(tx.at(tx.root::<Both<a::Item, one::Item>>("both")?)?.b.high, 2);
    Ok(())
}

/// Returns a closed store in which `text` replaces the description that begins with `begin`, and
/// the checksum of `summed`, if given, the one in its entry.
fn forged(begin: &str, text: &str, summed: Option<&str>) -> TestResult<ScratchFile> {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    store.update(|tx| {
        let _ = tx.root_or_insert_with("item", || a::Item { x: 1, y: 2 })?;
        let _ = tx.root_or_insert_with("b", || one::Item { low: 3, high: 4 })?;
        tx.set_root("leads", Link::<Leads<a::Item>>::null())
    })?;
    let mut bytes = forge::closed(store, &path)?;
    forge::describe_as(&mut bytes, begin, text, summed.map(|text| xxh3_64(text.as_bytes())));
    std::fs::write(&path, bytes)?;
    Ok(path)
}

#[track_caller]
fn expect_corrupt(answer: Result<()>, texts: &[&str]) {
    let error = refusal(answer);
    assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{error}");
    assert!(texts.iter().any(|text| error.to_string().contains(text)), "{error}");
}

const ITEM: &str = "struct Item size 8 align 4\n0 x: u32\n4 y: u32\n";
const SWAPPED: &str = "struct Item size 8 align 4\n0 y: u32\n4 x: u32\n";

/// Returns the result of each way to use the types, each in a store that was just opened.
fn answers(path: &Path) -> TestResult<Vec<Result<()>>> {
    let ways: [fn(&Store) -> Result<()>; 8] = [
        |store| store.read()?.root::<a::Item>("item").map(drop),
        |store| store.read()?.root::<Leads<a::Item>>("leads").map(drop),
        |store| store.update(|tx| tx.alloc(a::Item::default()).map(drop)),
        |store| store.update(|tx| tx.alloc(Leads::<a::Item>::default()).map(drop)),
        |store| store.update(|tx| tx.set_root("item", Link::<a::Item>::null())),
        |store| store.read()?.root::<swapped::Item>("item").map(drop),
        |store| store.update(|tx| tx.alloc(swapped::Item::default()).map(drop)),
        |store| store.update(|tx| tx.alloc(Wrapper::<swapped::Item>::default()).map(drop)),
    ];
    let mut answers = vec![];
    for way in ways {
        answers.push(way(&open(path)?));
    }
    Ok(answers)
}

#[test]
fn a_description_is_compared_as_a_whole_and_not_by_its_checksum() -> TestResult {
    let path = forged("struct Item ", SWAPPED, None)?;
    for answer in answers(&path)? {
        expect_corrupt(answer, &["description of Item"]);
    }
    assert!(!open(&path)?.check()?.is_clean());
    // With a checksum that matches its description, it is another type.
    let path = forged("struct Item ", SWAPPED, Some(SWAPPED))?;
    for (way, answer) in answers(&path)?.into_iter().enumerate() {
        let is_changed =
            matches!(&answer, Err(error) if matches!(error.kind(), ErrorKind::TypeChanged { .. }));
        assert_eq!(is_changed, way < 5, "way {way}: {answer:?}");
    }
    Ok(())
}

/// Type `b::Item` has the checksum of a type that is not in the store.
#[test]
fn a_checksum_alone_does_not_identify_a_type() -> TestResult {
    let wrapper = "struct Wrapper<bool> size 1 align 1\n0 inside: bool\n";
    let b = "struct b::Item size 8 align 4\n0 low: u32\n4 high: u32\n";
    let path = forged("struct b::Item ", b, Some(wrapper))?;
    let store = open(&path)?;
    let link = store.update(|tx| tx.alloc(Wrapper { inside: true }))?;
    assert!(store.read()?.read(link)?.inside);
    assert_eq!(store.check()?.unreachable.listed[0].type_name, "Wrapper<bool>");
    assert_refused!(store.read()?.root::<one::Item>("b"), Corrupt { .. });
    Ok(())
}

#[test]
fn two_descriptions_of_one_name_are_damage() -> TestResult {
    // As long as the description that it replaces.
    let again = "struct Item size 8 align 4\n0 other: u32\n4 thing: u32\n";
    let path = forged("struct b::Item ", again, Some(again))?;
    for answer in answers(&path)? {
        expect_corrupt(answer, &["one description of Item"]);
    }
    let store = open(&path)?;
    let findings = store.check()?.findings;
    assert!(findings.iter().any(|found| found.what.contains("is that of type")), "{findings:?}");
    // Other types are unaffected.
    store.update(|tx| tx.alloc(7u64).map(drop))?;
    Ok(())
}

/// The store cannot interpret the bytes of a type if one behind it is not registered.
#[test]
fn a_type_is_not_known_without_those_behind_it() -> TestResult {
    let other = ITEM.replace("Item", "Xtem");
    let path = forged("struct Item ", &other, Some(&other))?;
    let ways: [fn(&Store) -> Result<()>; 3] = [
        |store| store.read()?.root::<Leads<a::Item>>("leads").map(drop),
        |store| store.update(|tx| tx.alloc(Leads::<a::Item>::default()).map(drop)),
        |store| store.update(|tx| tx.set_root("leads", Link::<Leads<a::Item>>::null())),
    ];
    for way in ways {
        expect_corrupt(way(&open(&path)?), &["Wrapper<Item>", "Leads<Item>"]);
    }
    Ok(())
}

/// Two processes that share a store have only the file in common: each has its own table of
/// names, and neither writes a type that contradicts the file.
#[test]
fn a_shared_store_has_one_type_of_a_name() -> TestResult {
    let path = ScratchFile::new()?;
    let share = || open_shared(&path, &OpenOptions::new());
    let store = share()?;
    assert!(store.read()?.root::<a::Item>("item")?.is_null());
    store.update(|tx| tx.alloc(one::Item::default()).map(drop))?;
    taken(&refusal(store.update(|tx| tx.alloc(b::Item::default()))), "Item");
    store.close()?;
    let store = share()?;
    assert_refused!(store.update(|tx| tx.alloc(two::Item::default())), TypeChanged { .. });
    store.update(|tx| tx.alloc(b::Item::default()).map(drop))?;
    store.check()?.into_result()?;
    Ok(())
}

/// A thousand types, and their arrays, are registered only once.
#[test]
fn a_store_of_many_types_is_opened_and_used() -> TestResult {
    fn add<const N: u32>(tx: &mut WriteTx<'_>) -> Result<()> {
        tx.alloc(other::Size::<N>(N.into())).map(drop)
    }
    macro_rules! all {
        ($($digit:literal)*) => {[$(add::<{ $digit }>, add::<{ $digit + 16 }>, add::<{ $digit + 32 }>, add::<{ $digit + 48 }>),*]};
    }
    let ways: [Way; 64] = all!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    let path = ScratchFile::new()?;
    for _ in 0..2 {
        let store = open(&path)?;
        store.update(|tx| ways.iter().try_for_each(|way| way(tx)))?;
        ways.iter().try_for_each(|way| store.update(way))?;
        store.check()?.into_result()?;
        store.close()?;
    }
    Ok(())
}

#[persist]
struct Split<const AT: char> {
    number: u64,
}

/// A type's name ends with the line of its description: a name that contains a line break could
/// not be read back.
#[test]
fn a_parameter_that_ends_a_line_is_part_of_the_name() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let link = tx.alloc(Split::<'\n'> { number: 1 })?;
    tx.set_root("line", link)?;
    let link = tx.alloc(Split::<','> { number: 2 })?;
    tx.set_root("comma", link)?;
    tx.commit()?;
    let tx = store.read()?;
    assert_eq!(tx.at(tx.root::<Split<'\n'>>("line")?)?.number, 1);
    assert_eq!(tx.at(tx.root::<Split<','>>("comma")?)?.number, 2);
    assert!(store.check()?.is_clean());
    Ok(())
}
