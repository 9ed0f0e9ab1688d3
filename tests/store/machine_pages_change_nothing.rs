//! Promise: on a machine with larger memory pages a store holds the same, and each snapshot shows the
//! same.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use flagstone::{OpenOptions, OwnedReadTx, Result, Snapshot, Store};
use testkit::scratch::ScratchFile;
use testkit::{Random, TestResult, child, expect_one_passed, open_with, this_test};

/// The variable that says which pages a machine is to have.
const PAGE_BYTES: &str = "FLAGSTONE_MACHINE_PAGE_BYTES";
/// Arrays that are replaced.
const ARRAYS: usize = 4;

/// The length and the bytes of each array.
type Model = [(usize, u8); ARRAYS];

#[test]
fn with_pages_of_16_and_64_kib() -> TestResult {
    if std::env::var_os(PAGE_BYTES).is_some() {
        return (0..3).try_for_each(snapshots_show_what_was_committed);
    }
    for bytes in ["16384", "65536"] {
        expect_one_passed(&child(&this_test!(), PAGE_BYTES, Path::new(bytes)).output()?);
    }
    Ok(())
}

/// Replaces and changes arrays of all lengths beside held snapshots, so that pages become private,
/// are frozen and given back, and that others next to them are written in place.
fn snapshots_show_what_was_committed(seed: u64) -> TestResult {
    let (file, mut random) = (ScratchFile::new()?, Random::new(seed));
    let options = OpenOptions::new().log_bytes(1 << 18).memory_budget_bytes(1 << 20);
    let mut store = Arc::new(open_with(&file, &options)?);
    let mut model = Model::default();
    store.update(|tx| {
        (0..ARRAYS).try_for_each(|i| {
            let empty = tx.alloc_slice_copy::<u8>(&[])?;
            tx.set_root(&name(i), empty)
        })
    })?;
    let mut held: Vec<(OwnedReadTx, Model)> = Vec::new();
    for _ in 0..60 {
        change(&store, &mut model, &mut random)?;
        expect(&store.read()?, &model)?;
        match random.below(8) {
            0 | 1 if held.len() < 3 => held.push((store.read_owned()?, model)),
            2 | 3 if !held.is_empty() => {
                let (snapshot, then) = held.swap_remove(random.below(held.len() as u64) as usize);
                expect(&snapshot, &then)?;
            }
            4 => store.checkpoint()?,
            5 if held.is_empty() => {
                Arc::into_inner(store).expect("nothing else has it").close()?;
                store = Arc::new(open_with(&file, &options)?);
            }
            _ => {}
        }
    }
    for (snapshot, then) in held {
        expect(&snapshot, &then)?;
    }
    store.check()?.into_result()?;
    drop(store);
    open_with(&file, &options)?.check()?.into_result()?;
    Ok(())
}

/// Replaces an array, or changes all bytes of one.
fn change(store: &Store, model: &mut Model, random: &mut Random) -> Result<()> {
    let (i, byte) = (random.below(ARRAYS as u64) as usize, random.next() as u8);
    let longest = random.pick(&[100, 5000, 70_000, 2_500_000]);
    let len = random.below(longest) as usize;
    let is_new = random.below(3) > 0;
    store.update(|tx| {
        let old = tx.root::<[u8]>(&name(i))?;
        if !is_new {
            tx.at_mut(old)?.fill(byte);
            return Ok(());
        }
        tx.free(old)?;
        let new = tx.alloc_slice_copy(&vec![byte; len])?;
        tx.set_root(&name(i), new)
    })?;
    model[i] = (if is_new { len } else { model[i].0 }, byte);
    Ok(())
}

fn expect(snapshot: &Snapshot<impl Deref<Target = Store>>, model: &Model) -> TestResult {
    for (i, (len, byte)) in model.iter().enumerate() {
        let found = snapshot.at(snapshot.root::<[u8]>(&name(i))?)?;
        assert!(found == vec![*byte; *len], "array {i}");
    }
    Ok(())
}

fn name(i: usize) -> String {
    format!("array {i}")
}
