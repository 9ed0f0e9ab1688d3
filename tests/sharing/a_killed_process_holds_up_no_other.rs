//! Promise: any of the processes that share a store may be killed at any instant. The others
//! continue, every acknowledged commit stays, durable or not, and readers see whole commits all
//! the time.

use std::fs::{File, OpenOptions as FileOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flagstone::collections::HashMap;
use flagstone::{Durability, Image, Link, OpenOptions, Store, WriteTx, persist};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{KilledOnDrop, Random, child, is_long, seed, test_of};

/// Processes that write.
const WRITERS: usize = 4;
/// Entries that each of them keeps in the map.
const KEPT: u64 = 40;
/// How long a process may make no progress: a bound for hangs, not a measure of speed.
const LONGEST: Duration = Duration::from_secs(20);

/// The sum of the accounts is 0, and the map has the last entries of each writer.
#[persist]
struct Bank {
    accounts: [i64; 64],
    commits: [u64; WRITERS],
    entries: HashMap<u64, [u64; 6]>,
}

fn open(path: &Path) -> flagstone::Result<Store> {
    open_shared(path, &OpenOptions::new().log_bytes(64 * 1024))
}

fn key(writer: usize, number: u64) -> u64 {
    (writer as u64) << 32 | number
}

fn commit(store: &Store, writer: usize, random: &mut Random) -> flagstone::Result<u64> {
    let mut tx = store.write()?;
    let is_durable = random.one_in(8);
    tx.set_durability(if is_durable { Durability::Durable } else { Durability::Deferred });
    let bank: Link<Bank> = tx.root("bank")?;
    move_money(&mut tx, bank, random)?;
    let number = tx.at(bank)?.commits[writer] + 1;
    tx.at_mut(bank)?.commits[writer] = number;
    let entries = bank.field(flagstone::field!(Bank, entries));
    entries.insert(&mut tx, &key(writer, number), [number; 6])?;
    if number > KEPT {
        entries.remove(&mut tx, &key(writer, number - KEPT))?;
    }
    if random.one_in(30) {
        load(&mut tx, random)?;
    }
    tx.commit()?;
    Ok(number)
}

fn move_money(
    tx: &mut WriteTx<'_>,
    bank: Link<Bank>,
    random: &mut Random,
) -> flagstone::Result<()> {
    let accounts = &mut tx.at_mut(bank)?.accounts;
    for _ in 0..8 {
        let amount = random.below(1000) as i64;
        accounts[random.below(64) as usize] -= amount;
        accounts[random.below(64) as usize] += amount;
    }
    Ok(())
}

/// Makes an occasional large change: spills, pages written in place, a heap that grows and
/// shrinks.
fn load(tx: &mut WriteTx<'_>, random: &mut Random) -> flagstone::Result<()> {
    let old: Link<[u64]> = tx.root("load")?;
    let len = random.pick(&[100u32, 3000, 20_000, 150_000]);
    let new = tx.alloc_slice((0..len).map(|x| u64::from(x ^ len)))?;
    tx.set_root("load", new)?;
    if !old.is_null() {
        tx.free(old)?;
    }
    Ok(())
}

/// Checks the invariants of every snapshot; returns how often each writer has committed.
fn verify(tx: &Image, bank: Link<Bank>, load: Link<[u64]>) -> flagstone::Result<[u64; WRITERS]> {
    let bank = tx.at(bank)?;
    assert_eq!(bank.accounts.iter().sum::<i64>(), 0, "a transfer was seen by half");
    let kept = bank.commits.iter().map(|commits| KEPT.min(*commits)).sum::<u64>();
    assert_eq!(bank.entries.len(), kept);
    for (writer, commits) in bank.commits.iter().enumerate() {
        for number in commits.saturating_sub(KEPT) + 1..=*commits {
            let entry = bank.entries.get(tx, &key(writer, number))?;
            assert_eq!(entry, Some(&[number; 6]), "entry {number} of writer {writer}");
        }
    }
    let load = tx.get(load)?.unwrap_or_default();
    let len = load.len() as u64;
    assert!((0..).zip(load).all(|(x, item)| *item == x ^ len), "the load of another state");
    Ok(bank.commits)
}

fn look(store: &Store) -> flagstone::Result<[u64; WRITERS]> {
    let tx = store.read()?;
    verify(&tx, tx.root("bank")?, tx.root("load")?)
}

/// The reports of a writer, in a file that outlives it.
struct Notes {
    file: File,
    writer: usize,
}

impl Notes {
    fn open(path: &Path, writer: usize) -> Self {
        let mut options = FileOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        Self { file: file.expect("the notes"), writer }
    }

    fn set(&self, place: u64, value: u64) {
        self.set_of(self.writer, place, value);
    }

    fn set_of(&self, writer: usize, place: u64, value: u64) {
        let at = writer as u64 * 64 + place * 8;
        self.file.write_all_at(&value.to_le_bytes(), at).expect("a note");
    }

    fn get(&self, writer: usize, place: u64) -> u64 {
        let mut bytes = [0; 8];
        let read = self.file.read_exact_at(&mut bytes, writer as u64 * 64 + place * 8);
        read.map_or(0, |()| u64::from_le_bytes(bytes))
    }
}

const ACKNOWLEDGED: u64 = 0;
const BEAT: u64 = 1;
const LONGEST_WAIT: u64 = 2;
const ROUNDS: u64 = 3;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis() as u64
}

/// The child: commits and reads until it is killed.
fn write_until_killed(path: &Path, writer: usize, seed: u64) -> flagstone::Result<()> {
    let notes = Notes::open(&path.with_extension("notes"), writer);
    let mut random = Random::new(seed);
    notes.set(BEAT, now_ms());
    let store = open(path)?;
    let mut held = Vec::new();
    for round in 1.. {
        let begun = Instant::now();
        let number = commit(&store, writer, &mut random)?;
        notes.set(ACKNOWLEDGED, number);
        let seen = look(&store)?;
        assert!(seen[writer] >= number, "its own commit is not there");
        if random.one_in(10) {
            let tx = store.read()?;
            let expected = verify(&tx, tx.root("bank")?, tx.root("load")?)?;
            held.push((tx, expected));
        }
        if held.len() > 3 || !held.is_empty() && random.one_in(10) {
            let (tx, expected) = held.swap_remove(0);
            let found = verify(&tx, tx.root("bank")?, tx.root("load")?)?;
            assert_eq!(found, expected, "a snapshot changed");
        }
        match random.below(100) {
            0 => store.checkpoint()?,
            1 => store.sync()?,
            _ => {}
        }
        notes.set(BEAT, now_ms());
        let wait = begun.elapsed().as_micros() as u64;
        if wait > notes.get(writer, LONGEST_WAIT) {
            notes.set(LONGEST_WAIT, wait);
        }
        notes.set(ROUNDS, round);
    }
    Ok(())
}

struct Writers {
    path: PathBuf,
    children: Vec<KilledOnDrop>,
    notes: Notes,
}

impl Writers {
    fn start(path: &Path) -> Self {
        let notes = Notes::open(&path.with_extension("notes"), 0);
        let children = (0..WRITERS).map(|writer| begin(path, writer, writer as u64)).collect();
        Self { path: path.to_path_buf(), children, notes }
    }

    fn kill(&mut self, writer: usize) {
        let child = &mut self.children[writer].0;
        child.kill().expect("a kill");
        let status = child.wait().expect("its end");
        assert!(status.code().is_none(), "writer {writer} ended by itself: {status}");
    }

    fn expect_alive(&mut self) {
        for (writer, child) in self.children.iter_mut().enumerate() {
            let ended = child.0.try_wait().expect("a child");
            assert!(ended.is_none(), "writer {writer} ended by itself: {ended:?}");
            let beat = self.notes.get(writer, BEAT);
            let still = now_ms().saturating_sub(beat.max(1));
            let is_stuck = beat != 0 && still > LONGEST.as_millis() as u64;
            assert!(!is_stuck, "writer {writer} has stood still for {still} ms");
        }
    }

    fn acknowledged(&self) -> [u64; WRITERS] {
        std::array::from_fn(|writer| self.notes.get(writer, ACKNOWLEDGED))
    }
}

fn begin(path: &Path, writer: usize, seed: u64) -> KilledOnDrop {
    let test = test_of(std::any::type_name_of_val(&one_of_four_is_killed_again_and_again));
    let mut command = child(&test, "FLAGSTONE_CHILD", path);
    command.env("FLAGSTONE_WRITER", format!("{writer} {seed}")).stdout(Stdio::null());
    KilledOnDrop(command.spawn().expect("a child"))
}

#[test]
fn one_of_four_is_killed_again_and_again() {
    if let Some(path) = std::env::var_os("FLAGSTONE_CHILD") {
        let who = std::env::var("FLAGSTONE_WRITER").expect("a writer's number");
        let (writer, seed) = who.split_once(' ').expect("number and seed");
        let (writer, seed) = (writer.parse().expect("a number"), seed.parse().expect("a seed"));
        write_until_killed(Path::new(&path), writer, seed).expect("the writer's commits");
        return;
    }
    let seed = seed(1);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let path = ScratchFile::new().expect("a folder");
    let store = open(&path).expect("a store");
    store
        .update(|tx| {
            let bank = Bank { accounts: [0; 64], commits: [0; WRITERS], entries: HashMap::new() };
            tx.root_or_insert_with("bank", || bank).map(drop)
        })
        .expect("a bank");
    let mut store = Some(store);
    let mut writers = Writers::start(&path);
    let kills = if is_long() { 5000 } else { 200 };
    for kill in 0..kills {
        let acknowledged = writers.acknowledged();
        std::thread::sleep(Duration::from_micros(random.below(40_000)));
        writers.expect_alive();
        let place = format!("seed {seed}, kill {kill}");
        let victims: Vec<usize> = match random.below(20) {
            // All at once, as when a machine is switched off; then this process too.
            0 => (0..WRITERS).collect(),
            _ => vec![random.below(WRITERS as u64) as usize],
        };
        victims.iter().for_each(|writer| writers.kill(*writer));
        if victims.len() > 1 && random.one_in(2) {
            drop(store.take());
        }
        let open_again = || open(&path).unwrap_or_else(|error| panic!("{place}: {error}"));
        let store = store.get_or_insert_with(open_again);
        let told = writers.acknowledged();
        let seen = look(store).unwrap_or_else(|error| panic!("{place}: {error}"));
        for writer in 0..WRITERS {
            let least = if victims.contains(&writer) { told[writer] } else { acknowledged[writer] };
            assert!(seen[writer] >= least, "{place}: writer {writer} lost a commit");
        }
        if kill % 10 == 0 {
            let report = store.check().and_then(|report| report.into_result());
            report.unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        for writer in victims {
            writers.notes.set_of(writer, BEAT, 0);
            writers.children[writer] = begin(&writers.path, writer, random.next());
        }
    }
    let longest = (0..WRITERS).map(|writer| writers.notes.get(writer, LONGEST_WAIT)).max();
    let commits = writers.acknowledged().iter().sum::<u64>();
    println!("{kills} kills, {commits} commits, longest round {} us", longest.unwrap_or(0));
    assert!(commits > kills);
}
