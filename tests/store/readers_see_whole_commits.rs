//! Snapshot isolation under stress: a writer breaks an invariant that spans many objects and
//! restores it within each transaction, while readers check it, checkpoints run, and the file
//! grows and shrinks. No reader ever sees it broken, and a snapshot never changes. Bulk loads, which
//! bypass the images of readers, are seen as they were written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use flagstone::{Checkpoints, Durability, Link, OpenOptions, Store, persist};
use testkit::scratch::ScratchFile;
use testkit::{Random, TestResult};

/// Accounts, whose sum never changes.
const ACCOUNTS: usize = 400;
const EACH: u64 = 1000;

/// Each account has its own allocation, on a shared page or a separate one.
#[persist]
#[derive(Clone, Copy)]
struct Account {
    amount: u64,
    /// A hash of the amount and of the bank's count of transfers, which reveals an account of
    /// another state.
    seal: u64,
    ballast: Link<[u64]>,
}

#[persist]
struct Bank {
    transfers: u64,
    accounts: [Link<Account>; ACCOUNTS],
    seals: u64,
}

fn seal(amount: u64, index: usize) -> u64 {
    amount.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ index as u64
}

fn open_bank(store: &Store) -> Link<Bank> {
    let fill = |tx: &mut flagstone::WriteTx<'_>| {
        let mut accounts = [Link::null(); ACCOUNTS];
        let mut seals = 0u64;
        for (index, account) in accounts.iter_mut().enumerate() {
            let seal = seal(EACH, index);
            seals = seals.wrapping_add(seal);
            *account = tx.alloc(Account { amount: EACH, seal, ballast: Link::null() })?;
        }
        let bank = tx.root_or_insert_with("bank", || Bank { transfers: 0, accounts, seals })?;
        Ok(bank)
    };
    store.update(fill).expect("a bank")
}

/// Makes one transaction: amounts move in many steps, each of which breaks the sum.
fn transfer(store: &Store, bank: Link<Bank>, random: &mut Random) {
    let mut tx = store.write().expect("a transaction");
    let rolls_back = random.one_in(16);
    for _ in 0..1 + random.below(12) {
        let (from, to) =
            (random.below(ACCOUNTS as u64) as usize, random.below(ACCOUNTS as u64) as usize);
        let ends = [from, to].map(|index| tx.at(bank).expect("the bank").accounts[index]);
        for (index, end, gives) in [(from, ends[0], true), (to, ends[1], false)] {
            let account = tx.at_mut(end).expect("an account");
            let amount =
                if gives { account.amount.wrapping_sub(7) } else { account.amount.wrapping_add(7) };
            let (old, new) = (account.seal, seal(amount, index));
            (account.amount, account.seal) = (amount, new);
            let bank = tx.at_mut(bank).expect("the bank");
            bank.seals = bank.seals.wrapping_sub(old).wrapping_add(new);
        }
        if random.one_in(6) {
            let ballast = tx.at(ends[0]).expect("an account").ballast;
            if !ballast.is_null() {
                tx.free(ballast).expect("freed");
            }
            let words = random.below(3000) as u32;
            let ballast = tx
                .alloc_slice((0..words).map(|word| u64::from(word) ^ from as u64))
                .expect("an array");
            tx.at_mut(ends[0]).expect("an account").ballast = ballast;
        }
    }
    tx.at_mut(bank).expect("the bank").transfers += 1;
    if rolls_back {
        return;
    }
    let durable = random.one_in(40);
    tx.set_durability(if durable { Durability::Durable } else { Durability::Deferred });
    tx.commit().expect("a commit");
}

/// Checks the invariant of a snapshot; returns its count of transfers.
fn look(tx: &flagstone::ReadTx<'_>, bank: Link<Bank>) -> u64 {
    let bank = tx.at(bank).expect("the bank");
    let (mut sum, mut seals) = (0u64, 0u64);
    for (index, account) in bank.accounts.iter().enumerate() {
        let account = tx.at(*account).expect("an account");
        assert_eq!(account.seal, seal(account.amount, index), "an account of two states");
        (sum, seals) = (sum.wrapping_add(account.amount), seals.wrapping_add(account.seal));
        if let Some(words) = tx.get(account.ballast).expect("an array")
            && let Some(first) = words.first()
        {
            assert!((0..).zip(words).all(|(word, found)| word ^ first == *found));
        }
    }
    assert_eq!(sum, ACCOUNTS as u64 * EACH, "a sum that no commit has left");
    assert_eq!(seals, bank.seals, "accounts of other commits than the bank");
    bank.transfers
}

fn run(store: &Store, length: Duration, seed: u64) {
    println!("FLAGSTONE_SEED={seed}");
    let bank = open_bank(store);
    let (stop, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for reader in 0..3u64 {
            let (stop, looks) = (&stop, &looks);
            scope.spawn(move || {
                let mut random = Random::new(seed ^ reader << 32);
                let mut last = 0;
                while !stop.load(Relaxed) {
                    let tx = store.read().expect("a snapshot");
                    let first = look(&tx, bank);
                    assert!(first >= last, "a reader went back");
                    // Some readers pin their snapshot across commits and checkpoints.
                    if random.one_in(8) {
                        std::thread::sleep(Duration::from_millis(random.below(30)));
                        assert_eq!(look(&tx, bank), first, "a snapshot that changed");
                    }
                    last = first;
                    looks.fetch_add(1, Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                store.checkpoint().expect("a checkpoint");
            }
        });
        let mut random = Random::new(seed);
        while begin.elapsed() < length {
            transfer(store, bank, &mut random);
        }
        stop.store(true, Relaxed);
    });
    let report = store.check().expect("a look");
    assert!(report.is_clean(), "{:?}", report.findings);
    println!("{} snapshots looked at", looks.load(Relaxed));
    assert!(looks.load(Relaxed) > 10);
}

/// Runs on a small store, so every event is frequent.
fn run_with(checkpoints: Checkpoints) -> TestResult {
    let path = ScratchFile::new()?;
    let options = OpenOptions::new()
        .log_bytes(64 * 1024)
        .max_log_bytes(1 << 20)
        .memory_budget_bytes(1 << 20)
        .checkpoints(checkpoints);
    let store = testkit::open_with(&path, &options)?;
    let length = Duration::from_secs(if testkit::is_long() { 60 } else { 2 });
    run(&store, length, testkit::seed(1));
    Ok(())
}

#[test]
fn with_checkpoints_in_the_background() -> TestResult {
    run_with(Checkpoints::Background)
}

#[test]
fn with_checkpoints_by_commits() -> TestResult {
    run_with(Checkpoints::ByCommits)
}

/// An image's private pages from a time when the heap was longer must not hide pages that a bulk
/// load later writes to the file.
#[test]
fn a_bulk_load_is_seen_where_the_heap_was_longer_before() -> TestResult {
    let path = ScratchFile::new()?;
    let store = testkit::open(&path)?;
    // Large enough that the file is not truncated when the tail after it is freed.
    store.update(|tx| tx.alloc_slice((0..24u32 << 17).map(u64::from)).map(drop))?;
    let mut tail = Vec::new();
    for _ in 0..4 {
        // Too few pages for a bulk load, so images have private copies of them.
        tail.push(store.update(|tx| tx.alloc_slice(std::iter::repeat_n(u64::MAX, 1 << 16)))?);
        drop(store.read()?);
        store.checkpoint()?;
    }
    store.update(|tx| tail.iter().try_for_each(|link| tx.free(*link)))?;
    for value in 0..5u64 {
        let _ = store.update(|tx| tx.alloc(value))?;
        drop(store.read()?);
        store.checkpoint()?;
    }
    let link = store.update(|tx| tx.alloc_slice((0..3u32 << 16).map(u64::from)))?;
    let is_right = |values: &[u64]| (0..).zip(values).all(|(i, value)| i == *value);
    assert!(is_right(store.read()?.at(link)?), "a reader sees other bytes");
    // A change on each page makes the checkpoint write what its image shows.
    for _ in 0..2 {
        store.update(|tx| {
            tx.at_mut(link)?.iter_mut().step_by(512).for_each(|value| *value ^= 1);
            Ok(())
        })?;
    }
    store.close()?;
    let store = testkit::open(&path)?;
    assert!(is_right(store.read()?.at(link)?), "the file has other bytes");
    store.check()?.into_result()?;
    Ok(())
}
