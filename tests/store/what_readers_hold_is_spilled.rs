//! Promise: what held snapshots keep of a store that changes lies in files without a name beside it,
//! beyond half of the memory budget. Each snapshot stays as it was, the files end with it, and where
//! there is no place for them, nothing but memory is lost.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flagstone::{Durability, Link, OpenOptions, ReadTx, Store};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{Random, TestResult, child, seed, this_test};

const MIB: u64 = 1 << 20;
const TABLE_BYTES: u64 = 24 * MIB;
const BUDGET_BYTES: u64 = 4 * MIB;
const UPDATES: u64 = 100;
/// The environment variable that tells a child to run, and its store.
const CHILD: &str = "FLAGSTONE_SPILLING_CHILD";

fn options() -> OpenOptions {
    OpenOptions::new().durability(Durability::Deferred).memory_budget_bytes(BUDGET_BYTES)
}

/// Makes a table of which each word tells its place.
fn table(store: &Store) -> flagstone::Result<Link<[u64]>> {
    let table =
        store.update(|tx| tx.alloc_slice((0..TABLE_BYTES as usize / 8).map(|word| word as u64)))?;
    store.checkpoint()?;
    Ok(table)
}

fn update(store: &Store, table: Link<[u64]>, random: &mut Random) -> flagstone::Result<()> {
    store.update(|tx| {
        for _ in 0..UPDATES {
            let at = table.index(random.below(table.len())).expect("an element");
            *tx.at_mut(at)? ^= random.next();
        }
        Ok(())
    })
}

/// A snapshot, and what was in it when it was taken.
struct Held<'store> {
    tx: ReadTx<'store>,
    words: Vec<u64>,
}

impl<'store> Held<'store> {
    fn new(store: &'store Store, table: Link<[u64]>) -> flagstone::Result<Self> {
        let tx = store.read()?;
        let words = tx.at(table)?.to_vec();
        Ok(Self { tx, words })
    }

    #[track_caller]
    fn expect_unchanged(&self, table: Link<[u64]>) {
        let words = self.tx.at(table).expect("the table");
        let first = words.iter().zip(&self.words).position(|(now, before)| now != before);
        assert_eq!(first, None, "the first word that has changed");
    }
}

/// Returns whether anything can be spilled where temporary files are.
fn can_spill(path: &Path, name: &str) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    let found = rustix::fs::statfs(path.parent().expect("a folder")).expect("a file system");
    if found.f_type as i64 == TMPFS {
        println!("SKIP[{name}]: temporary files are in memory");
    }
    found.f_type as i64 != TMPFS
}

#[test]
fn held_snapshots_stay_as_they_were() -> TestResult {
    let path = ScratchFile::new()?;
    if !can_spill(path.as_ref(), "held_snapshots_stay_as_they_were") {
        return Ok(());
    }
    let store = testkit::open_with(&path, &options())?;
    let (table, mut random) = (table(&store)?, Random::new(seed(1)));
    let mut held = vec![Held::new(&store, table)?];
    for round in 0..150 {
        update(&store, table, &mut random)?;
        match round {
            40 | 80 => held.push(Held::new(&store, table)?),
            // The first of three leaves.
            110 => drop(held.remove(0)),
            _ => {}
        }
        if round % 50 == 30 {
            store.checkpoint()?;
            held.iter().for_each(|held| held.expect_unchanged(table));
        }
    }
    let stats = store.stats()?;
    assert_eq!(stats.held_images, 2);
    assert!(stats.spilled_bytes > TABLE_BYTES && !stats.is_spill_refused, "{stats:?}");
    // The run that has the log in it stays.
    assert!(stats.held_private_bytes <= BUDGET_BYTES / 2 + 2 * 2 * MIB, "{stats:?}");
    let oldest = stats.oldest_reader.expect("a reader");
    assert!(oldest.spilled_bytes > 0 && oldest.spilled_bytes < stats.spilled_bytes);
    held.iter().for_each(|held| held.expect_unchanged(table));
    drop(held);
    update(&store, table, &mut random)?;
    let stats = store.stats()?;
    assert_eq!(
        (stats.spilled_bytes, stats.held_images),
        (0, 0),
        "the files end with the snapshots"
    );
    assert!(store.check()?.is_clean());
    Ok(())
}

#[test]
fn a_bound_is_kept_and_seen() -> TestResult {
    let path = ScratchFile::new()?;
    if !can_spill(path.as_ref(), "a_bound_is_kept_and_seen") {
        return Ok(());
    }
    let store = testkit::open_with(&path, &options().max_spill_bytes(6 * MIB))?;
    let (table, mut random) = (table(&store)?, Random::new(seed(3)));
    let held = Held::new(&store, table)?;
    for _ in 0..100 {
        update(&store, table, &mut random)?;
        assert!(store.stats()?.spilled_bytes <= 6 * MIB);
    }
    store.checkpoint()?;
    let stats = store.stats()?;
    assert!(stats.is_spill_refused && stats.spilled_bytes >= 4 * MIB, "{stats:?}");
    held.expect_unchanged(table);
    Ok(())
}

/// A process that only reads a shared store answers the barriers of the one that writes, and spills
/// after that.
#[test]
fn a_process_that_reads_spills_what_it_holds() -> TestResult {
    let path = ScratchFile::new()?;
    if !can_spill(path.as_ref(), "a_process_that_reads_spills_what_it_holds") {
        return Ok(());
    }
    let open = || open_shared(&path, &options());
    let (writer, reader) = (open()?, open()?);
    let (table, mut random) = (table(&writer)?, Random::new(seed(4)));
    let (held, own) = (Held::new(&reader, table)?, Held::new(&writer, table)?);
    let begun = Instant::now();
    while reader.stats()?.spilled_bytes == 0 || writer.stats()?.spilled_bytes == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", reader.stats()?);
        update(&writer, table, &mut random)?;
        update(&writer, table, &mut random)?;
        writer.checkpoint()?;
    }
    for _ in 0..20 {
        update(&writer, table, &mut random)?;
    }
    writer.checkpoint()?;
    held.expect_unchanged(table);
    own.expect_unchanged(table);
    drop((held, own));
    update(&writer, table, &mut random)?;
    assert_eq!(writer.stats()?.spilled_bytes, 0);
    Ok(())
}

/// A write past the limit would raise a signal, which ends a program that does not expect it.
#[test]
fn a_limit_on_the_length_of_files_ends_no_process_that_reads() -> TestResult {
    if let Some(path) = std::env::var_os(CHILD).map(PathBuf::from) {
        hold_with_limit(&path).expect("the snapshot stays as it was");
        std::process::exit(0);
    }
    let path = ScratchFile::new()?;
    let name = "a_limit_on_the_length_of_files_ends_no_process_that_reads";
    if !can_spill(path.as_ref(), name) {
        return Ok(());
    }
    let store = open_shared(&path, &options())?;
    let (table, mut random) = (table(&store)?, Random::new(seed(5)));
    store.update(|tx| tx.set_root("table", table))?;
    let mut reader = child(&this_test!(), CHILD, &path).spawn()?;
    let is_ended = loop {
        if let Some(status) = reader.try_wait()? {
            break status;
        }
        if path.beside("held").exists() {
            update(&store, table, &mut random)?;
            store.checkpoint()?;
        }
    };
    assert!(is_ended.success(), "{is_ended}");
    update(&store, table, &mut random)?;
    Ok(())
}

fn hold_with_limit(path: &Path) -> TestResult {
    let store = open_shared(path, &options())?;
    let table = store.read()?.root::<[u64]>("table")?;
    let held = Held::new(&store, table)?;
    std::fs::write(path.with_file_name("held"), "")?;
    setrlimit(Resource::Fsize, Rlimit { current: Some(MIB), ..getrlimit(Resource::Fsize) })?;
    let begun = Instant::now();
    while !store.stats()?.is_spill_refused {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", store.stats()?);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(store.stats()?.spilled_bytes, 0);
    held.expect_unchanged(table);
    Ok(())
}
