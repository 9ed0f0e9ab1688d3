//! Promise: the private memory of all images of a process stays within a budget, as the kernel
//! counts it. A transaction waits for it, but never for itself, and neither readers that hold old
//! snapshots nor locked memory stop a program that writes.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use flagstone::{Checkpoints, Durability, Link, OpenOptions, Store};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{Random, TestResult, child, seed, this_test};

const MIB: u64 = 1 << 20;
/// Length of the store's table.
const TABLE_BYTES: u64 = 24 * MIB;
/// What the pages of a transaction take at most, on any machine: 100 updates on one with pages of 4 KiB.
const LARGEST_TRANSACTION: u64 = 2 * 100 * 4096;
/// The environment variable that tells a child to run, and its store.
const CHILD: &str = "FLAGSTONE_MEMORY_CHILD";

/// Returns options with a log so long that memory alone makes checkpoints due.
fn options(budget_mib: u64) -> OpenOptions {
    OpenOptions::new()
        .durability(Durability::Deferred)
        .log_bytes(256 * MIB)
        .memory_budget_bytes(budget_mib * MIB)
}

fn table(store: &Store) -> flagstone::Result<Link<[u64]>> {
    let table = store.update(|tx| tx.alloc_slice_zeroed::<u64>(TABLE_BYTES / 8))?;
    store.checkpoint()?;
    Ok(table)
}

/// Returns the updates in a transaction. Each changes a machine page of the table, and one of sums.
fn updates() -> u64 {
    LARGEST_TRANSACTION / 2 / testkit::machine_page_bytes()
}

fn update(store: &Store, table: Link<[u64]>, random: &mut Random) -> flagstone::Result<()> {
    store.update(|tx| {
        for _ in 0..updates() {
            let at = table.index(random.below(table.len())).expect("an element");
            *tx.at_mut(at)? += 1;
        }
        Ok(())
    })
}

/// Returns the private bytes of all mappings of the file, as the kernel counts them.
fn kernel_bytes(path: &Path) -> TestResult<u64> {
    let name = path.to_str().expect("a path in UTF-8");
    let (mut bytes, mut is_of_file) = (0, false);
    for line in std::fs::read_to_string("/proc/self/smaps")?.lines() {
        let first = line.split(' ').next().unwrap_or_default();
        if !first.ends_with(':') {
            is_of_file = line.ends_with(name);
        } else if let Some(kib) = line.strip_prefix("Anonymous:").filter(|_| is_of_file) {
            bytes += kib.trim().trim_end_matches(" kB").parse::<u64>()? * 1024;
        }
    }
    Ok(bytes)
}

fn counted_bytes(store: &Store) -> flagstone::Result<u64> {
    let stats = store.stats()?;
    Ok(stats.private_bytes + stats.writer_private_bytes + stats.checkpoint_private_bytes)
}

#[test]
fn what_is_counted_is_what_the_kernel_has() -> TestResult {
    let path = ScratchFile::new()?;
    let store = testkit::open_with(&path, &options(1024))?;
    let (table, mut random) = (table(&store)?, Random::new(seed(1)));
    let mut held = Vec::new();
    for round in 0..12 {
        update(&store, table, &mut random)?;
        if round % 3 == 0 {
            held.push(store.read()?);
        }
        if round % 4 == 0 {
            store.checkpoint()?;
        }
        // The first call brings the readers' image up to date, after it has counted.
        let _ = store.stats()?;
        let (counted, found) = (counted_bytes(&store)?, kernel_bytes(&path)?);
        assert_eq!(store.stats()?.budget_used_bytes, counted, "round {round}");
        assert!(found <= counted, "round {round}: {found} of {counted}");
        assert!(found >= counted / 10 * 9, "round {round}: {found} of {counted}");
    }
    assert!(counted_bytes(&store)? > 8 * MIB);
    drop(held);
    Ok(())
}

/// Makes random updates; returns the most private memory that the kernel had, without that of
/// readers.
fn peak_under_load(store: &Store, table: Link<[u64]>, path: &Path, rounds: u64) -> TestResult<u64> {
    let (mut random, mut peak) = (Random::new(seed(2)), 0);
    for round in 0..rounds {
        update(store, table, &mut random)?;
        if round % 8 == 0 {
            let held = store.stats()?.held_private_bytes;
            peak = peak.max(kernel_bytes(path)?.saturating_sub(held));
        }
    }
    Ok(peak)
}

#[test]
fn random_updates_stay_within_the_budget() -> TestResult {
    for checkpoints in [Checkpoints::Background, Checkpoints::ByCommits] {
        let path = ScratchFile::new()?;
        let budget = 4 * MIB;
        let store = testkit::open_with(&path, &options(4).checkpoints(checkpoints))?;
        let peak = peak_under_load(&store, table(&store)?, &path, 150)?;
        println!("{checkpoints:?}: {peak} bytes");
        assert!(peak <= budget / 10 * 11 + LARGEST_TRANSACTION, "{checkpoints:?}: {peak}");
        assert!(peak >= budget / 8, "{checkpoints:?}: {peak}: is there a load?");
        assert!(store.check()?.is_clean());
    }
    Ok(())
}

/// The bytes that a held reader needs are its own: they cannot be given back, so nobody waits for
/// them, and the writer keeps half of the budget for itself. Here they may not be spilled.
#[test]
fn a_held_reader_stops_nobody() -> TestResult {
    let path = ScratchFile::new()?;
    let store = testkit::open_with(&path, &options(4).max_spill_bytes(0))?;
    let table = table(&store)?;
    let held = store.read()?;
    let peak = peak_under_load(&store, table, &path, 150)?;
    let stats = store.stats()?;
    assert!(stats.held_private_bytes > stats.memory_budget_bytes, "{stats:?}");
    assert!(stats.is_spill_refused && stats.spilled_bytes == 0, "{stats:?}");
    assert!(peak <= 4 * MIB / 10 * 11 + LARGEST_TRANSACTION, "{peak}");
    drop(held);
    update(&store, table, &mut Random::new(1))?;
    store.checkpoint()?;
    drop(store.read()?);
    assert!(store.stats()?.held_private_bytes < 4 * MIB, "it is given back");
    Ok(())
}

/// What a reader holds beyond half of the budget is spilled, so that it takes no more than that from
/// the writer, and the two together stay within the budget.
#[test]
fn a_held_reader_stays_within_its_part() -> TestResult {
    /// The run of pages that has the log in it.
    const RUN_BYTES: u64 = 2 * MIB;
    let path = ScratchFile::new()?;
    let store = testkit::open_with(&path, &options(8).log_bytes(MIB))?;
    let table = table(&store)?;
    let held = store.read()?;
    let (mut random, mut peak) = (Random::new(seed(6)), 0);
    for round in 0..150 {
        update(&store, table, &mut random)?;
        if round % 8 == 0 {
            peak = peak.max(kernel_bytes(&path)?);
        }
    }
    let stats = store.stats()?;
    if stats.is_spill_refused {
        println!("SKIP[a_held_reader_stays_within_its_part]: temporary files are in memory");
        return Ok(());
    }
    println!("{peak} bytes, and {} beside the store", stats.spilled_bytes);
    assert!(stats.spilled_bytes > 0, "{stats:?}");
    assert!(peak <= 8 * MIB / 10 * 11 + LARGEST_TRANSACTION + RUN_BYTES, "{peak}");
    assert!(held.at(table)?.iter().all(|word| *word == 0));
    Ok(())
}

/// Its transaction needs more than the budget. Other threads wait for it, not for memory, and get
/// their turn.
#[test]
fn a_transaction_larger_than_the_budget_ends_and_lets_others_in() -> TestResult {
    let path = ScratchFile::new()?;
    let store = testkit::open_with(&path, &options(1))?;
    let table = table(&store)?;
    std::thread::scope(|scope| -> TestResult {
        let mut tx = store.write()?;
        tx.at_mut(table)?.fill(1);
        let others: Vec<_> = (0..3)
            .map(|number| {
                scope.spawn({
                    let store = &store;
                    move || update(store, table, &mut Random::new(number))
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        tx.commit()?;
        for other in others {
            other.join().expect("no panic")?;
        }
        Ok(())
    })?;
    store.checkpoint()?;
    assert!(counted_bytes(&store)? < 4 * MIB, "{}", counted_bytes(&store)?);
    Ok(())
}

/// Returns what the kernel counts as this process's memory without a file.
fn anonymous_bytes() -> TestResult<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// What a transaction must keep comes on top of the budget: the pages that it changes, up to four times
/// until the next checkpoint has ended, and its record up to twice (docs/design/memory.md, "The formula").
/// Afterwards all of it is given back.
#[test]
#[ignore = "a gigabyte"]
fn a_transaction_that_touches_a_gigabyte_keeps_to_the_formula() -> TestResult {
    const TOUCHED: u64 = 1024 * MIB;
    const BUDGET_MIB: u64 = 64;
    let path = ScratchFile::new()?;
    let store = testkit::open_with(&path, &options(BUDGET_MIB).log_bytes(MIB))?;
    let table = store.update(|tx| tx.alloc_slice_zeroed::<u64>(TOUCHED / 8))?;
    store.checkpoint()?;
    let (before, is_over) = (anonymous_bytes()?, AtomicBool::new(false));
    let (peak, begun) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| -> TestResult {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                peak.fetch_max(anonymous_bytes().expect("a number"), Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let touched = store.update(|tx| {
            let words = tx.at_mut(table)?;
            words.iter_mut().step_by(4096 / 8).for_each(|word| *word += 1);
            Ok::<(), flagstone::Error>(())
        });
        is_over.store(true, Relaxed);
        Ok(touched?)
    })?;
    // A page's change takes less than 64 bytes of the record.
    let record = TOUCHED / 4096 * 64;
    let (peak, most) = (peak.into_inner() - before, 4 * TOUCHED + BUDGET_MIB * MIB + 2 * record);
    store.checkpoint()?;
    let left = anonymous_bytes()?.saturating_sub(before);
    println!(
        "{} MiB at most of {}, {} left, {:?}",
        peak >> 20,
        most >> 20,
        left >> 20,
        begun.elapsed()
    );
    assert!(peak <= most, "{peak}, by the formula {most}");
    assert!(left <= BUDGET_MIB * MIB, "{left} are left");
    Ok(())
}

/// No record has the pages of a transaction that was rolled back, or that changed nothing in them, so
/// no checkpoint would give them back.
#[test]
fn what_a_transaction_touched_in_vain_is_given_back() -> TestResult {
    let path = ScratchFile::new()?;
    let store = testkit::open_with(&path, &options(1))?;
    let table = table(&store)?;
    for is_committed in [false, true] {
        let mut tx = store.write()?;
        let _same = tx.at_mut(table)?.iter_mut().map(|word| std::mem::replace(word, 0)).max();
        if is_committed {
            tx.commit()?;
        } else {
            drop(tx);
        }
        let before = store.stats()?.writer_private_bytes;
        assert!(before >= TABLE_BYTES, "{before}");
        drop(store.write()?);
        let left = store.stats()?.writer_private_bytes;
        assert!(left < MIB, "{left} after a transaction that was committed: {is_committed}");
    }
    Ok(())
}

/// The report runs on the thread that runs checkpoints.
#[test]
fn the_thread_of_the_checkpoints_does_not_wait_for_itself() -> TestResult {
    static STORE: OnceLock<Weak<Store>> = OnceLock::new();
    static REPORTS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let path = ScratchFile::new()?;
    let table_cell: &'static OnceLock<Link<[u64]>> = Box::leak(Box::default());
    let options = options(1).report_readers(Duration::ZERO, move |_| {
        let store = STORE.get().and_then(Weak::upgrade);
        let (Some(store), Some(table)) = (store, table_cell.get()) else { return };
        for number in 0..10 {
            update(&store, *table, &mut Random::new(number)).expect("a commit in a report");
        }
        REPORTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let store = Arc::new(testkit::open_with(&path, &options)?);
    let table = *table_cell.get_or_init(|| table(&store).expect("a table"));
    STORE.get_or_init(|| Arc::downgrade(&store));
    let mut random = Random::new(3);
    let begun = Instant::now();
    for _ in 0..30 {
        let _held = store.read()?;
        update(&store, table, &mut random)?;
    }
    while REPORTS.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "no report has ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn stores_without_a_budget_of_their_own_share_one() -> TestResult {
    let (one, other) = (Store::in_memory()?, Store::in_memory()?);
    let (mine, theirs) = (one.stats()?, other.stats()?);
    assert_eq!(mine.memory_budget_bytes, theirs.memory_budget_bytes);
    assert!((16 * MIB..=2048 * MIB).contains(&mine.memory_budget_bytes));
    one.update(|tx| tx.alloc_slice_zeroed::<u8>(MIB).map(drop))?;
    let stats = one.stats()?;
    assert!(stats.writer_private_bytes >= MIB);
    assert!(other.stats()?.budget_used_bytes >= stats.writer_private_bytes);
    Ok(())
}

/// A process that only reads a shared store gives back what its images keep, too.
#[test]
fn every_process_that_shares_a_store_stays_within_its_budget() -> TestResult {
    let path = ScratchFile::new()?;
    let open = || open_shared(&path, &options(8));
    let (writer, reader) = (open()?, open()?);
    let (table, mut random, mut most) = (table(&writer)?, Random::new(5), 0);
    for _ in 0..150 {
        update(&writer, table, &mut random)?;
        drop(reader.read()?);
        most = most.max(counted_bytes(&reader)?);
    }
    println!("the reader has at most {most} bytes");
    assert!(most <= 16 * MIB, "{most}");
    Ok(())
}

/// The kernel takes no locked memory back. What a budget cannot bound, it does not stop.
#[test]
fn locked_memory_stops_nobody() -> TestResult {
    let Some(path) = std::env::var_os(CHILD).map(PathBuf::from) else {
        let path = ScratchFile::new()?;
        let status = child(&this_test!(), CHILD, &path).status()?;
        assert!(status.success(), "{status}");
        return Ok(());
    };
    let store = testkit::open_with(&path, &options(1))?;
    let table = table(&store)?;
    // SAFETY: the call changes how pages are kept, and no byte of them.
    if unsafe { libc::mlockall(libc::MCL_CURRENT) } != 0 {
        println!("SKIP[locked_memory_stops_nobody]: {}", std::io::Error::last_os_error());
        return Ok(());
    }
    let mut random = Random::new(4);
    for _ in 0..50 {
        update(&store, table, &mut random)?;
    }
    assert!(store.stats()?.is_memory_locked);
    Ok(())
}
