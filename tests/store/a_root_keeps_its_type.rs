//! Promise: a root is found again only as the type that it was stored as. Neither another name
//! nor another layout under the same name is accepted, for the root itself or for anything
//! reachable from it.

use std::path::Path;

use flagstone::{Error, ErrorKind, Link, Persist, Result, Store, persist};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, assert_refused, open, refusal};

#[persist]
#[derive(Clone, Copy)]
struct City {
    people: u64,
    streets: Link<[Street]>,
}

#[persist]
#[derive(Clone, Copy)]
struct Street {
    houses: u32,
    lamps: u32,
}

/// The types of a program.
mod first {
    use flagstone::{Link, persist};

    #[persist(name = "Point")]
    #[derive(Clone, Copy, Default)]
    pub struct Point {
        pub x: u32,
        pub y: u32,
    }

    #[persist(name = "Light")]
    #[derive(Clone, Copy, Default)]
    pub enum Light {
        #[default]
        Off,
        On,
    }

    #[persist(name = "Lamp")]
    #[derive(Clone, Copy, Default)]
    pub struct Lamp {
        pub at: [Point; 2],
        pub light: Light,
        pub pad: [u8; 3],
    }

    #[persist(name = "Road")]
    #[derive(Clone, Copy, Default)]
    pub struct Road {
        pub lamps: Link<[Lamp]>,
    }
}

/// Later versions of these types under the same names. A `Road` is unchanged, except for what is
/// behind its link.
mod later {
    use flagstone::{Link, persist};

    use super::first::{Light, Point};

    #[persist(name = "Lamp")]
    #[derive(Clone, Copy, Default)]
    pub struct LampThatBreaks {
        pub at: [Point; 2],
        pub light: Light,
        pub broken: bool,
        pub pad: [u8; 2],
    }

    #[persist(name = "Point")]
    #[derive(Clone, Copy, Default)]
    pub struct PointSwapped {
        pub y: u32,
        pub x: u32,
    }

    #[persist(name = "Lamp")]
    #[derive(Clone, Copy, Default)]
    pub struct LampSwapped {
        pub at: [PointSwapped; 2],
        pub light: Light,
        pub pad: [u8; 3],
    }

    #[persist(name = "Light")]
    #[derive(Clone, Copy, Default)]
    #[allow(dead_code)]
    pub enum LightThatDims {
        #[default]
        Off,
        Dim,
        On,
    }

    #[persist(name = "Lamp")]
    #[derive(Clone, Copy, Default)]
    pub struct LampThatDims {
        pub at: [Point; 2],
        pub light: LightThatDims,
        pub pad: [u8; 3],
    }

    macro_rules! roads {
        ($($name:ident of $lamp:ident),*) => {$(
            #[persist(name = "Road")]
            #[derive(Clone, Copy, Default)]
            pub struct $name {
                pub lamps: Link<[$lamp]>,
            }
        )*};
    }
    roads!(RoadWithLamps of LampThatBreaks, RoadSwapped of LampSwapped, RoadDimmed of LampThatDims);
}

/// Creates a store with one road and its lamps, and a lamp by itself.
fn make_road(path: &Path) -> Result<()> {
    let store = open(path)?;
    let mut tx = store.write()?;
    let lamps = tx.alloc_slice([first::Lamp::default(); 3])?;
    let _ = tx.root_or_insert_with("road", || first::Road { lamps })?;
    tx.set_root("lamps", lamps)?;
    let _ = tx.root_or_insert_with("lamp", first::Lamp::default)?;
    tx.commit()?;
    store.close()
}

/// Returns the result of each way to use type `T` in a restarted program: as a root to read, to
/// write and to set, and as a new object.
fn ways_to<T: Persist + Default>(path: &Path, name: &str) -> Result<[Result<()>; 4]> {
    let ways: [fn(&Store, &str) -> Result<()>; 4] = [
        |store, name| store.read()?.root::<T>(name).map(drop),
        |store, name| store.write()?.root::<T>(name).map(drop),
        |store, name| store.update(|tx| tx.set_root(name, Link::<T>::null())),
        |store, _| store.update(|tx| tx.alloc(T::default()).map(drop)),
    ];
    let mut answers = [const { Ok(()) }; 4];
    for (answer, way) in answers.iter_mut().zip(ways) {
        *answer = way(&open(path)?, name);
    }
    Ok(answers)
}

fn expect_changed<T: Persist + Default>(root: &str, type_name: &str) -> TestResult {
    let path = ScratchFile::new()?;
    make_road(&path)?;
    for (way, answer) in ways_to::<T>(&path, root)?.into_iter().enumerate() {
        let error = refusal(answer);
        let is_right = |kind: &ErrorKind| matches!(kind, ErrorKind::TypeChanged { type_name: found, .. } if found == type_name);
        assert!(is_right(error.kind()), "way {way}: {error}");
    }
    Ok(())
}

#[test]
fn another_type_is_refused_with_both_layouts_field_by_field() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let _ = tx.root_or_insert_with("home", || City { people: 7, streets: Link::null() })?;
    let error = refusal(tx.root::<Street>("home"));
    assert_eq!(
        error.to_string(),
        "root \"home\" is a City, and a Street was asked for\n\
         expected:\n\
         struct Street size 8 align 4\n\
         0 houses: u32\n\
         4 lamps: u32\n\
         found in the store:\n\
         struct City size 24 align 8\n\
         0 people: u64\n\
         8 streets: Link<[Street]>\n"
    );
    let make = || Street { houses: 1, lamps: 2 };
    let street = tx.alloc(make())?;
    assert_refused!(tx.set_root("home", street), RootType { .. });
    assert_refused!(tx.set_root("home", Link::<Street>::null()), RootType { .. });
    assert_refused!(tx.root_or_insert_with("home", make), RootType { .. });
    tx.commit()?;
    let tx = store.read()?;
    assert_refused!(tx.root::<Street>("home"), RootType { .. });
    assert_refused!(tx.root::<u64>("home"), RootType { .. });
    assert_eq!(tx.at(tx.root::<City>("home")?)?.people, 7);
    Ok(())
}

#[test]
fn a_slice_is_not_a_single_object() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let one = tx.alloc(1u64)?;
    let many = tx.alloc_slice([1u64, 2])?;
    tx.set_root("one", one)?;
    tx.set_root("many", many)?;
    assert_refused!(tx.root::<[u64]>("one"), RootType { .. });
    assert_refused!(tx.root::<u64>("many"), RootType { .. });
    assert_refused!(tx.set_root("one", many), RootType { .. });
    assert_refused!(tx.set_root("many", one), RootType { .. });
    let message = refusal(tx.root::<u64>("many")).to_string();
    assert!(message.contains("is a [u64], and a u64 was asked for"), "{message}");
    assert_eq!((tx.root("one")?, tx.root("many")?), (one, many));
    for count in [0, 1, u64::MAX] {
        tx.set_root("many", Link::<[u64]>::from_parts(0, count))?;
        assert!(tx.root::<[u64]>("many")?.is_null());
        assert_refused!(tx.root::<u64>("many"), RootType { .. });
    }
    Ok(())
}

#[test]
fn the_same_layouts_are_accepted_again() -> TestResult {
    let path = ScratchFile::new()?;
    make_road(&path)?;
    for answer in ways_to::<first::Road>(&path, "another road")? {
        answer?;
    }
    let store = open(&path)?;
    let tx = store.read()?;
    let road = tx.at(tx.root::<first::Road>("road")?)?;
    assert_eq!(tx.root::<[first::Lamp]>("lamps")?, road.lamps);
    assert_eq!(tx.at(road.lamps)?.len(), 3);
    Ok(())
}

#[test]
fn another_layout_of_the_root_is_refused_field_by_field() -> TestResult {
    let path = ScratchFile::new()?;
    make_road(&path)?;
    let error = refusal(open(&path)?.read()?.root::<later::LampThatBreaks>("lamp"));
    assert!(matches!(error.kind(), ErrorKind::TypeChanged { .. }), "{error}");
    let layout = "struct Lamp size 20 align 4\n0 at: [Point; 2]\n16 light: Light\n17 ";
    let expected = format!("expected:\n{layout}broken: bool\n18 pad: [u8; 2]\n");
    let found = format!("found in the store:\n{layout}pad: [u8; 3]\n");
    assert!(error.to_string().ends_with(&(expected + &found)), "{error}");
    Ok(())
}

#[test]
fn a_change_of_anything_in_the_root_or_behind_it_is_refused() -> TestResult {
    expect_changed::<later::LampSwapped>("lamp", "Point")?;
    expect_changed::<later::PointSwapped>("none", "Point")?;
    expect_changed::<later::RoadWithLamps>("road", "Lamp")?;
    expect_changed::<later::RoadSwapped>("road", "Point")?;
    expect_changed::<later::RoadDimmed>("road", "Light")
}

/// Another process stores it meanwhile.
#[cfg(feature = "sim")]
#[test]
fn a_layout_that_another_process_stored_is_refused() -> TestResult {
    use flagstone::OpenOptions;
    use flagstone::sim::{SimDisk, SimMachine};

    let options = OpenOptions::new();
    let (store, disk) = SimDisk::create(&options)?;
    store.close()?;
    let machine = SimMachine::new(disk);
    let [one, other] = [machine.start(), machine.start()];
    let (store, others) = (machine.open(&one, &options)?, machine.open(&other, &options)?);
    assert!(store.read()?.root::<later::LampThatBreaks>("lamp")?.is_null());
    others.update(|tx| tx.root_or_insert_with("lamp", first::Lamp::default).map(drop))?;
    let tx = store.read()?;
    assert_refused!(tx.root::<later::LampThatBreaks>("lamp"), TypeChanged { .. });
    Ok(())
}

#[test]
fn a_type_that_was_rolled_back_binds_no_later_program() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    let mut tx = store.write()?;
    let savepoint = tx.savepoint()?;
    let _ = tx.root_or_insert_with("lamp", first::Lamp::default)?;
    tx.rollback_to(savepoint)?;
    tx.commit()?;
    store.close()?;
    let store = open(&path)?;
    let mut tx = store.write()?;
    let _ = tx.root_or_insert_with("lamp", later::LampThatBreaks::default)?;
    tx.rollback();
    store.close()?;
    open(&path)?.update(|tx| tx.root_or_insert_with("lamp", first::Lamp::default).map(drop))?;
    let store = open(&path)?;
    assert_refused!(store.read()?.root::<later::LampThatBreaks>("lamp"), TypeChanged { .. });
    store.check()?.into_result()?;
    store.close()?;
    assert!(!open(&path)?.read()?.root::<first::Lamp>("lamp")?.is_null());
    Ok(())
}

#[test]
fn a_type_that_was_rolled_back_leaves_its_number_to_another() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let _ = tx.alloc(City { people: 1, streets: Link::null() })?;
    let savepoint = tx.savepoint()?;
    let _ = tx.alloc(City { people: 1, streets: Link::null() })?;
    let _ = tx.alloc(7u64)?;
    tx.rollback_to(savepoint)?;
    let _ = tx.alloc(City { people: 2, streets: Link::null() })?;
    tx.rollback();
    store.update(|tx| {
        let _ = tx.alloc(first::Point::default())?;
        tx.root_or_insert_with("city", || City { people: 3, streets: Link::null() }).map(drop)
    })?;
    let tx = store.read()?;
    assert_eq!(tx.at(tx.root::<City>("city")?)?.people, 3);
    assert_eq!(tx.roots()?[0].type_name, "City");
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn a_removed_root_may_be_set_with_another_type() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let number = tx.root_or_insert_with("x", || 7u64)?;
    assert!(tx.remove_root("x")?);
    assert!(!tx.remove_root("x")?);
    assert!(tx.root::<Street>("x")?.is_null());
    let _ = tx.root_or_insert_with("x", || Street { houses: 1, lamps: 2 })?;
    assert_eq!(tx.read(number)?, 7, "what it pointed at stays");
    tx.commit()?;
    let tx = store.read()?;
    assert_refused!(tx.root::<u64>("x"), RootType { .. });
    assert_eq!(tx.at(tx.root::<Street>("x")?)?.lamps, 2);
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn a_thousand_roots_are_listed_in_order_found_and_removed() -> TestResult {
    let path = ScratchFile::new()?;
    let mut names: Vec<String> = (0..1000u64).map(|i| format!("{:x}", i * 0x9e37_79b9)).collect();
    names.extend([" ", "ä", "\0", &"long".repeat(700)].map(String::from));
    open(&path)?.update(|tx| {
        (0..).zip(&names).try_for_each(|(index, name)| {
            let number = tx.alloc(index)?;
            tx.set_root::<u64>(name, number)
        })
    })?;
    let store = open(&path)?;
    let tx = store.read()?;
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert!(tx.roots()?.into_iter().map(|root| root.name).eq(sorted));
    for (index, name) in (0..).zip(&names) {
        assert_eq!(tx.read(tx.root::<u64>(name)?)?, index);
    }
    assert!(tx.root::<u64>("none")?.is_null());
    drop(tx);
    store.update(|tx| {
        names.iter().step_by(2).try_for_each(|name| {
            assert!(tx.remove_root(name)?);
            Ok(())
        })
    })?;
    store.check()?.into_result()?;
    let tx = store.read()?;
    assert_eq!(tx.roots()?.len(), names.len() / 2);
    for (index, name) in (0..).zip(&names) {
        let found = tx.get(tx.root::<u64>(name)?)?.copied();
        assert_eq!(found, (index % 2 == 1).then_some(index), "{name:?}");
    }
    Ok(())
}

#[persist]
#[derive(Clone, Copy)]
struct Both<A, B>(A, B);
type Twice<T> = Both<T, T>;
type Eight<T> = Twice<Twice<Twice<T>>>;

#[test]
fn names_have_a_maximum_length() -> TestResult {
    let longest = "x".repeat(4096);
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let one = tx.alloc(1u64)?;
    tx.set_root(&longest, one)?;
    assert_refused!(tx.set_root(&(longest.clone() + "x"), one), TextTooLong { .. });
    let named = Link::<Eight<Eight<Eight<u8>>>>::null();
    assert_refused!(tx.set_root("type", named), TextTooLong { .. });
    assert!(tx.root::<Eight<Eight<Eight<u8>>>>("type")?.is_null());
    tx.commit()?;
    assert_eq!(store.read()?.root::<u64>(&longest)?, one);
    assert_eq!(store.read()?.roots()?.len(), 1);
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn what_is_refused_leaves_no_type_behind() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    let mut tx = store.write()?;
    let number = tx.root_or_insert_with("number", || 7u64)?;
    let lamp = Link::<first::Lamp>::from_parts(number.offset(), 1);
    assert_refused!(tx.free(lamp), LinkNotWhole { .. });
    assert_refused!(tx.set_root("lamp", lamp), LinkNotWhole { .. });
    assert_refused!(tx.set_root("number", Link::<first::Lamp>::null()), RootType { .. });
    assert_refused!(
        tx.set_root(&"x".repeat(5000), Link::<first::Lamp>::null()),
        TextTooLong { .. }
    );
    tx.commit()?;
    store.close()?;
    // Otherwise the name would belong to a type without objects.
    let store = open(&path)?;
    store.update(|tx| tx.alloc(later::LampThatBreaks::default()).map(drop))?;
    store.update(|tx| tx.set_root("road", Link::<later::RoadWithLamps>::null()))?;
    store.close()?;
    assert_refused!(open(&path)?.write()?.alloc(first::Lamp::default()), TypeChanged { .. });
    Ok(())
}

#[test]
fn a_missing_root_is_reported_with_the_nearest_names() -> TestResult {
    let store = Store::in_memory()?;
    let none = refusal(store.read()?.root_object::<u64>("people"));
    assert!(none.to_string().starts_with("there is no root \"people\"; the store has no roots;"));
    let mut tx = store.write()?;
    for name in ["people", "People 2", "streets", "x", "peoples' houses"] {
        let number = tx.alloc(name.len() as u64)?;
        tx.set_root(name, number)?;
    }
    let many = tx.alloc_slice([1u64, 2, 3])?;
    tx.set_root("many", many)?;
    tx.set_root("nothing", Link::<[u64]>::null())?;
    let expect_near = |error: Error| {
        let ErrorKind::NoSuchRoot { name, nearest, roots } = error.kind() else {
            panic!("expected that there is none, found: {error}");
        };
        assert_eq!((&**name, &*nearest[0], *roots), ("PEPLE", "people", 7), "{error}");
        assert_eq!(nearest.len(), 3, "{error}");
        assert!(error.to_string().contains("\"PEPLE\""), "{error}");
    };
    expect_near(refusal(tx.root_object::<u64>("PEPLE")));
    expect_near(refusal(tx.root_object::<[u64]>("PEPLE")));
    expect_near(refusal(tx.root_object_mut::<u64>("PEPLE")));
    *tx.root_object_mut::<u64>("people")? = 77;
    tx.root_object_mut::<[u64]>("many")?[1] = 22;
    assert_refused!(tx.root_object::<u64>("many"), RootType { .. });
    assert_refused!(tx.root_object_mut::<Street>("people"), RootType { .. });
    let null = refusal(tx.root_object_mut::<[u64]>("nothing"));
    assert!(null.to_string().starts_with("root \"nothing\", a [u64], is null:"), "{null}");
    tx.commit()?;
    let tx = store.read()?;
    expect_near(refusal(tx.root_object::<u64>("PEPLE")));
    assert_refused!(tx.root_object::<[u64]>("nothing"), RootNull { .. });
    assert_eq!(*tx.root_object::<u64>("people")?, 77);
    assert_eq!(tx.root_object::<[u64]>("many")?, [1, 22, 3]);
    // Following the null link gives an error that suggests the right name.
    let error = refusal(tx.at(tx.root::<u64>("PEPLE")?));
    assert!(error.to_string().contains("`root_object`"), "{error}");
    Ok(())
}

/// Names may have the maximum length and the maximum number.
#[test]
fn the_nearest_names_are_found_in_bounded_time() -> TestResult {
    let store = Store::in_memory()?;
    store.update(|tx| {
        (0..3000).try_for_each(|index| {
            tx.set_root(&format!("{index:04}{}", "ä".repeat(2000)), Link::<u64>::null())
        })
    })?;
    let begun = std::time::Instant::now();
    let error = refusal(store.read()?.root_object::<u64>(&"ö".repeat(2048)));
    assert!(matches!(error.kind(), ErrorKind::NoSuchRoot { roots: 3000, .. }), "{error}");
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    Ok(())
}

#[test]
fn an_empty_name_is_refused() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let number = tx.alloc(7u64)?;
    assert_refused!(tx.root::<u64>(""), RootNameEmpty);
    assert_refused!(tx.root_object::<u64>(""), RootNameEmpty);
    assert_refused!(tx.root_object_mut::<u64>(""), RootNameEmpty);
    assert_refused!(tx.set_root("", number), RootNameEmpty);
    assert_refused!(tx.root_or_insert_with("", || 7u64), RootNameEmpty);
    assert_refused!(tx.remove_root(""), RootNameEmpty);
    assert!(tx.roots()?.is_empty());
    tx.commit()?;
    let tx = store.read()?;
    assert_refused!(tx.root::<u64>(""), RootNameEmpty);
    assert_refused!(tx.root_object::<[u64]>(""), RootNameEmpty);
    Ok(())
}

#[test]
fn a_type_too_large_for_the_registry_is_refused_before_it_is_written() -> TestResult {
    const LEN: usize = (4 << 30) + 8;
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let null = Link::<[u8; LEN]>::null();
    assert_refused!(tx.set_root("huge", null), TypeTooLarge { .. });
    tx.commit()?;
    store.check()?.into_result()?;
    Ok(())
}
