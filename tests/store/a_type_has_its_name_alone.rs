//! Promise: a name stands for one layout, in a program and in a file. If two types of a program
//! have one name, the second to be used is refused, wherever it occurs. A type name in a file is
//! compared with its whole description.

use std::path::{Path, PathBuf};

use flagstone::collections::{BTreeMap, BTreeSet, Deque, HashMap, HashSet, Vec as List};
use flagstone::{
    Error, ErrorKind, Link, OpenOptions, Pair, Persist, Result, Store, Text, WriteTx, persist,
};
use testkit::{TestResult, assert_refused, forge, open, open_with, refusal};
use xxhash_rust::xxh3::xxh3_64;

/// Two modules of one program that each have an `Item`.
mod a {
    #[flagstone::persist]
    #[derive(Clone, Copy, Default, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Item {
        pub x: u32,
        pub y: u32,
    }
}

mod b {
    #[flagstone::persist]
    #[derive(Clone, Copy, Default, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Item {
        pub low: u32,
        pub high: u32,
    }
}

/// And one whose layout happens to equal that of `a`.
mod twin {
    #[flagstone::persist]
    #[derive(Clone, Copy, Default, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Item {
        pub x: u32,
        pub y: u32,
    }
}

/// Every byte is a valid `u8`, but not a valid `bool`.
mod bytes {
    #[flagstone::persist(name = "Flag")]
    #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Flag(pub u8);
}

mod bools {
    #[flagstone::persist(name = "Flag")]
    #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Flag(pub bool);
}

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
fn two_types_of_one_name_are_told_apart_wherever_they_stand() -> TestResult {
    expect_told_apart::<a::Item, b::Item>("Item")
}

#[test]
fn so_are_two_of_one_layout() -> TestResult {
    expect_told_apart::<twin::Item, a::Item>("Item")
}

#[test]
fn so_are_a_number_and_a_bool() -> TestResult {
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
         used first: store::a_type_has_its_name_alone::a::Item\n\
         struct Item size 8 align 4\n0 x: u32\n4 y: u32\n\
         used now: store::a_type_has_its_name_alone::b::Item\n\
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
fn types_that_share_a_path_are_told_apart_too() -> TestResult {
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
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
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
fn threads_agree_on_who_has_a_name() -> TestResult {
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

/// The programs of the report: the second swapped two numbers of one of its two `Item`s. The
/// types of later programs are created here by name.
mod program {
    pub mod one {
        #[flagstone::persist(name = "Both")]
        #[derive(Clone, Copy, Default)]
        pub struct Both {
            pub a: super::super::a::Item,
            pub b: super::super::b::Item,
        }

        #[flagstone::persist(name = "Both")]
        #[derive(Clone, Copy, Default)]
        pub struct Named {
            pub a: super::super::a::Item,
            pub b: ItemOfB,
        }

        #[flagstone::persist(name = "b::Item")]
        #[derive(Clone, Copy, Default)]
        pub struct ItemOfB {
            pub low: u32,
            pub high: u32,
        }
    }

    pub mod two {
        #[flagstone::persist(name = "Both")]
        #[derive(Clone, Copy, Default)]
        pub struct Named {
            pub a: super::super::a::Item,
            pub b: ItemOfB,
        }

        #[flagstone::persist(name = "b::Item")]
        #[derive(Clone, Copy, Default)]
        pub struct ItemOfB {
            pub high: u32,
            pub low: u32,
        }
    }
}

#[test]
fn no_later_program_reads_two_numbers_swapped() -> TestResult {
    use program::{one, two};
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let store = open(&path)?;
    let mut tx = store.write()?;
    taken(&refusal(tx.alloc(one::Both::default())), "Item");
    tx.commit()?;
    let b = one::ItemOfB { low: 1, high: 2 };
    store.update(|tx| {
        let link = tx.alloc(one::Named { a: a::Item { x: 3, y: 4 }, b })?;
        tx.set_root("both", link)
    })?;
    store.close()?;
    let store = open_with(&path, &OpenOptions::new().verify(true))?;
    assert_refused!(store.read()?.root::<two::Named>("both"), TypeChanged { .. });
    let tx = store.read()?;
    assert_refused!(tx.root::<two::ItemOfB>("none"), TypeChanged { .. });
    drop(tx);
    store.close()?;
    let store = open(&path)?;
    let tx = store.read()?;
    assert_eq!(tx.at(tx.root::<one::Named>("both")?)?.b.high, 2);
    Ok(())
}

/// Returns a closed store with an `Item` of `a`, changed by `forge`.
fn forged(folder: &Path, forge: impl FnOnce(&mut [u8])) -> TestResult<PathBuf> {
    let path = folder.join("store");
    let store = open(&path)?;
    store.update(|tx| {
        let link = tx.alloc(a::Item { x: 1, y: 2 })?;
        tx.set_root("item", link)?;
        let link = tx.alloc(program::one::ItemOfB { low: 3, high: 4 })?;
        tx.set_root("b", link)?;
        tx.set_root("leads", Link::<Leads<a::Item>>::null())
    })?;
    store.close()?;
    let mut bytes = std::fs::read(&path)?;
    forge(&mut bytes);
    std::fs::write(&path, bytes)?;
    Ok(path)
}

const ITEM: &str = "struct Item size 8 align 4\n0 x: u32\n4 y: u32\n";
const SWAPPED: &str = "struct Item size 8 align 4\n0 y: u32\n4 x: u32\n";

mod swapped {
    #[flagstone::persist]
    #[derive(Clone, Copy, Default)]
    pub struct Item {
        pub y: u32,
        pub x: u32,
    }
}

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
fn a_description_is_compared_as_a_whole_and_not_by_its_sum() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = forged(folder.path(), |bytes| {
        forge::describe_as(bytes, "struct Item ", SWAPPED, None);
    })?;
    for (way, answer) in answers(&path)?.into_iter().enumerate() {
        let error = refusal(answer);
        assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "way {way}: {error}");
        assert!(error.to_string().contains("description of Item"), "way {way}: {error}");
    }
    assert!(!open(&path)?.check()?.is_clean());
    // With a checksum that matches its description, it is another type.
    std::fs::remove_file(&path)?;
    let path = forged(folder.path(), |bytes| {
        forge::describe_as(bytes, "struct Item ", SWAPPED, Some(xxh3_64(SWAPPED.as_bytes())));
    })?;
    let answers = answers(&path)?;
    for (way, answer) in answers.into_iter().enumerate() {
        let is_changed =
            matches!(&answer, Err(error) if matches!(error.kind(), ErrorKind::TypeChanged { .. }));
        assert_eq!(is_changed, way < 5, "way {way}: {answer:?}");
    }
    Ok(())
}

/// Type `b::Item` has the checksum of a type that is not in the store.
#[test]
fn a_sum_alone_makes_no_type_known() -> TestResult {
    let folder = tempfile::tempdir()?;
    let wrapper = "struct Wrapper<bool> size 1 align 1\n0 inside: bool\n";
    let b = "struct b::Item size 8 align 4\n0 low: u32\n4 high: u32\n";
    let path = forged(folder.path(), |bytes| {
        forge::describe_as(bytes, "struct b::Item ", b, Some(xxh3_64(wrapper.as_bytes())));
    })?;
    let store = open(&path)?;
    let link = store.update(|tx| tx.alloc(Wrapper { inside: true }))?;
    assert!(store.read()?.read(link)?.inside);
    assert_eq!(store.check()?.unreachable.listed[0].type_name, "Wrapper<bool>");
    assert_refused!(store.read()?.root::<program::one::ItemOfB>("b"), Corrupt { .. });
    Ok(())
}

#[test]
fn two_descriptions_of_one_name_are_damage() -> TestResult {
    let folder = tempfile::tempdir()?;
    // As long as the description that it replaces.
    let again = "struct Item size 8 align 4\n0 other: u32\n4 thing: u32\n";
    let b = "struct b::Item size 8 align 4\n0 low: u32\n4 high: u32\n";
    assert_eq!(again.len(), b.len());
    let path = forged(folder.path(), |bytes| {
        forge::describe_as(bytes, "struct b::Item ", again, Some(xxh3_64(again.as_bytes())));
    })?;
    for (way, answer) in answers(&path)?.into_iter().enumerate() {
        let error = refusal(answer);
        assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "way {way}: {error}");
        assert!(error.to_string().contains("one description of Item"), "way {way}: {error}");
    }
    let store = open(&path)?;
    let findings = store.check()?.findings;
    assert!(findings.iter().any(|found| found.what.contains("is that of type")), "{findings:?}");
    // Other types are unaffected.
    store.update(|tx| tx.alloc(7u64).map(drop))?;
    Ok(())
}

/// A type is registered, but a type behind it is not, so the store cannot interpret its bytes.
#[test]
fn a_type_is_not_known_without_those_behind_it() -> TestResult {
    let folder = tempfile::tempdir()?;
    let other = ITEM.replace("Item", "Xtem");
    let path = forged(folder.path(), |bytes| {
        forge::describe_as(bytes, "struct Item ", &other, Some(xxh3_64(other.as_bytes())));
    })?;
    let leads = |answer: Result<()>| {
        let error = refusal(answer);
        assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{error}");
        assert!(
            error.to_string().contains("Wrapper<Item>")
                || error.to_string().contains("Leads<Item>"),
            "{error}"
        );
    };
    leads(open(&path)?.read()?.root::<Leads<a::Item>>("leads").map(drop));
    leads(open(&path)?.update(|tx| tx.alloc(Leads::<a::Item>::default()).map(drop)));
    leads(open(&path)?.update(|tx| tx.set_root("leads", Link::<Leads<a::Item>>::null())));
    Ok(())
}

/// Two processes that share a store have only the file in common: each has its own table of
/// names, and neither writes a type that contradicts the file.
#[test]
fn a_shared_store_has_one_type_of_a_name() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    // SAFETY: the path is in the test's own folder.
    let share = || unsafe { OpenOptions::new().open_shared(&path) };
    let store = share()?;
    assert!(store.read()?.root::<a::Item>("item")?.is_null());
    store.update(|tx| tx.alloc(program::one::ItemOfB::default()).map(drop))?;
    taken(&refusal(store.update(|tx| tx.alloc(b::Item::default()))), "Item");
    store.close()?;
    let store = share()?;
    assert_refused!(
        store.update(|tx| tx.alloc(program::two::ItemOfB::default())),
        TypeChanged { .. }
    );
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
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
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
