//! Promise: an object may be larger than the stack; it is initialised in place, from bytes that
//! are a valid value of its type.

use flagstone::collections::Vec;
use flagstone::{Result, Store, Text, persist};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, assert_refused};

const MEBIBYTE: usize = 1 << 20;

#[persist]
#[derive(Default)]
struct Head {
    len: u64,
    names: Vec<Text>,
    name: Text,
}

#[persist]
struct Large {
    head: Head,
    numbers: [u64; 4 * MEBIBYTE],
    flags: [[bool; 1024]; 31 * 1024],
    rest: [[u8; 1024]; 1023],
    last: [u64; 128 - 9],
}

const _: () = assert!(size_of::<Large>() > 63 * MEBIBYTE);

#[persist]
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq)]
enum Colour {
    Red = 1,
    Green = 5,
}

#[persist]
#[derive(Clone, Copy, Debug)]
struct Pixels {
    colours: [Colour; 4096],
}

/// Runs `test` on a stack too small for any large object.
fn on_a_small_stack(test: fn() -> TestResult) -> TestResult {
    let run = move || test().map_err(|error| error.to_string());
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(run)?;
    Ok(thread.join().expect("no panic")?)
}

fn make_and_keep() -> TestResult {
    let path = ScratchFile::new()?;
    let store = testkit::open(&path)?;
    store.update(|tx| {
        let large = tx.alloc_zeroed::<Large>()?;
        let object = tx.at_mut(large)?;
        object.numbers[4 * MEBIBYTE - 1] = 7;
        object.flags[1000][3] = true;
        object.last[100] = 9;
        let array = tx.alloc_slice_zeroed::<[u64; MEBIBYTE]>(8)?;
        tx.at_mut(array)?[7][5] = 3;
        let made = tx.alloc_with(|large: &mut Large| {
            large.head.len = 5;
            large.numbers.fill(11);
        })?;
        tx.set_root("large", large)?;
        tx.set_root("array", array)?;
        tx.set_root("made", made)
    })?;
    store.close()?;
    let store = testkit::open(&path)?;
    assert!(store.check()?.is_clean());
    let tx = store.read()?;
    let large = tx.at(tx.root::<Large>("large")?)?;
    assert_eq!((large.numbers[4 * MEBIBYTE - 1], large.last[100]), (7, 9));
    assert_eq!(large.flags.iter().flatten().filter(|flag| **flag).count(), 1);
    assert!(large.rest.iter().flatten().all(|byte| *byte == 0));
    assert_eq!((large.head.len, large.head.name.as_str(&tx)?), (0, ""));
    let array = tx.at(tx.root::<[[u64; MEBIBYTE]]>("array")?)?;
    assert_eq!((array.len(), array[7][5], array[0][5]), (8, 3, 0));
    let made = tx.at(tx.root::<Large>("made")?)?;
    assert!(made.head.len == 5 && made.numbers.iter().all(|number| *number == 11));
    Ok(())
}

#[test]
fn an_object_of_64_mebibytes_needs_no_stack() -> TestResult {
    on_a_small_stack(make_and_keep)
}

#[test]
fn reused_memory_is_zeroed() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    for count in [1, 3, 100, 3000] {
        let used = tx.alloc_slice(vec![u64::MAX; count])?;
        tx.free(used)?;
        let array = tx.alloc_slice_zeroed::<u64>(count as u64)?;
        assert_eq!(tx.at(array)?, vec![0; count]);
    }
    let used = tx.alloc(u64::MAX)?;
    tx.free(used)?;
    let zero = tx.alloc_zeroed::<u64>()?;
    assert_eq!((zero, tx.read(zero)?), (used, 0));
    let none = tx.alloc_slice_zeroed::<Colour>(0)?;
    assert!(!none.is_null() && tx.at(none)?.is_empty());
    let _ = tx.alloc_zeroed::<Head>()?;
    tx.commit()?;
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn zeros_that_are_no_value_are_refused_and_nothing_stays() -> TestResult {
    let store = Store::in_memory()?;
    // The first object of each type allocates a slab and a description.
    store.update(|tx| {
        let _ = tx.alloc(Colour::Red)?;
        let _ = tx.alloc(Pixels { colours: [Colour::Red; 4096] })?;
        tx.alloc_slice([Colour::Green; 3]).map(drop)
    })?;
    let live = || store.stats().map(|stats| stats.live_bytes);
    let before = live()?;
    let mut tx = store.write()?;
    assert_refused!(tx.alloc_zeroed::<Colour>(), ZerosInvalid { .. });
    assert_refused!(tx.alloc_slice_zeroed::<Colour>(3), ZerosInvalid { .. });
    assert_refused!(tx.alloc_slice_zeroed::<Colour>(100_000), ZerosInvalid { .. });
    assert_refused!(tx.alloc_zeroed::<Pixels>(), ZerosInvalid { .. });
    let is_asked = std::cell::Cell::new(false);
    assert_refused!(tx.alloc_with(|_: &mut Pixels| is_asked.set(true)), ZerosInvalid { .. });
    assert!(!is_asked.get());
    assert_refused!(tx.alloc_slice_zeroed::<Colour>(u64::MAX), TooLarge { .. });
    tx.commit()?;
    assert_eq!(live()?, before);
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn a_value_put_in_place_must_be_live() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let before = tx.savepoint()?;
    let stale = Text::new(&mut tx, "a text that is too long to lie inline")?;
    tx.rollback_to(before)?;
    let made: Result<_> = tx.alloc_with(|head: &mut Head| head.name = stale);
    assert_refused!(made, OwnedNotLive { .. });
    let sound = Text::new(&mut tx, "a text that is too long to lie inline")?;
    let made = tx.alloc_with(|head: &mut Head| head.name = sound)?;
    assert_eq!(tx.at(made)?.name.len()?, 37);
    Ok(())
}
