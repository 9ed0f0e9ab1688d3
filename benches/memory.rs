//! Memory as a bound: the begin of a write transaction at any log length and private memory, and
//! random updates of a store that is larger than the memory of its control group.
//!
//! `cargo bench --bench memory [-- begin | load [NUMBER]...]`. `load` takes a few minutes and some gigabytes of
//! disk. It builds the store, then starts itself in a group of its own, which needs root; where no
//! group can be made it says so, and measures without one. `FLAGSTONE_BENCH_SECONDS` sets how long
//! each load runs; the numbers choose from the loads below, from 0 on.

mod common;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Folder, median, time};
use fastrand::Rng;
use flagstone::{Durability, Link, OpenOptions, Store};

const MIB: u64 = 1 << 20;
/// Updates of eight bytes in a transaction.
const UPDATES: u64 = 100;
/// The environment variable with the description of a child's load.
const CHILD: &str = "FLAGSTONE_BENCH_LOAD";
const GROUP: &str = "flagstone-bench";

/// A load that a child process runs.
#[derive(Clone, Copy)]
struct Load {
    store_mib: u64,
    /// The limit of its group.
    limit_mib: Option<u64>,
    /// The store's budget, instead of the default.
    budget_mib: Option<u64>,
    has_reader: bool,
    is_plain: bool,
}

const LOADS: [Load; 5] = [
    Load {
        store_mib: 1024,
        limit_mib: None,
        budget_mib: Some(128),
        has_reader: false,
        is_plain: false,
    },
    Load {
        store_mib: 1024,
        limit_mib: None,
        budget_mib: Some(128),
        has_reader: true,
        is_plain: false,
    },
    Load {
        store_mib: 3072,
        limit_mib: Some(512),
        budget_mib: None,
        has_reader: false,
        is_plain: false,
    },
    Load {
        store_mib: 3072,
        limit_mib: Some(512),
        budget_mib: None,
        has_reader: false,
        is_plain: true,
    },
    Load {
        store_mib: 3072,
        limit_mib: Some(512),
        budget_mib: None,
        has_reader: true,
        is_plain: false,
    },
];

fn seconds() -> u64 {
    let seconds = std::env::var("FLAGSTONE_BENCH_SECONDS").ok();
    seconds.map_or(60, |seconds| seconds.parse().expect("a number of seconds"))
}

/// Measures the begin and the end of a write transaction that changes nothing.
fn begin(folder: &Folder) {
    const BEGINS: u32 = 10_000;
    let turn = |store: &Store| {
        let all = time(|| (0..BEGINS).for_each(|_| drop(store.write().expect("a transaction"))));
        all / BEGINS
    };
    let empty = folder.open("empty", &OpenOptions::new().log_bytes(64 * MIB));
    empty.update(|tx| tx.alloc(1u64).map(drop)).expect("a commit");
    for (log_mib, budget_mib) in [(1, 256), (24, 256), (24, 1), (24, 0)] {
        let name = format!("log-{log_mib}-budget-{budget_mib}");
        let options = OpenOptions::new().log_bytes(64 * MIB);
        let options = options.durability(Durability::Deferred);
        let store = folder.open(&name, &options.memory_budget_bytes(budget_mib * MIB));
        let table = store.update(|tx| tx.alloc_slice_zeroed::<u64>(8 << 20)).expect("a table");
        store.checkpoint().expect("a checkpoint");
        let mut random = Rng::with_seed(1);
        // The memory budget makes checkpoints due; what is left of the log then is measured.
        while store.stats().expect("figures").log_used_bytes < log_mib * MIB {
            let before = store.stats().expect("figures").log_used_bytes;
            (0..10).for_each(|_| update(&store, table, &mut random));
            if store.stats().expect("figures").log_used_bytes < before {
                break;
            }
        }
        let stats = store.stats().expect("figures");
        let (mut with, mut without): (Vec<Duration>, Vec<Duration>) =
            (0..31).map(|_| (turn(&store), turn(&empty))).unzip();
        println!(
            "begin and roll-back: {:?} with {:.1} MiB of log and {:.1} MiB private, {:?} in an empty store",
            median(&mut with),
            stats.log_used_bytes as f64 / MIB as f64,
            stats.writer_private_bytes as f64 / MIB as f64,
            median(&mut without),
        );
    }
}

fn update(store: &Store, table: Link<[u64]>, random: &mut Rng) {
    let mut tx = store.write().expect("a transaction");
    for _ in 0..UPDATES {
        let at = table.index(random.u64(..table.len())).expect("an element");
        *tx.at_mut(at).expect("an element") += 1;
    }
    tx.set_durability(Durability::Deferred);
    tx.commit().expect("a commit");
}

/// A control group with a limit on memory, of whichever version the machine has; it goes when this
/// is dropped.
struct Group(PathBuf);

impl Group {
    fn new(limit_bytes: u64) -> io::Result<Self> {
        let (parent, file) = match Path::new("/sys/fs/cgroup/memory").is_dir() {
            true => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            false => ("/sys/fs/cgroup", "memory.max"),
        };
        let group = Self(Path::new(parent).join(GROUP));
        fs::create_dir_all(&group.0)?;
        fs::write(group.0.join(file), limit_bytes.to_string())?;
        // Without swap, or the limit would only make the program slow.
        for (file, value) in [
            ("memory.memsw.limit_in_bytes", limit_bytes.to_string()),
            ("memory.swap.max", "0".to_string()),
        ] {
            let _ = fs::write(group.0.join(file), value);
        }
        Ok(group)
    }

    fn add(&self, child: &Child) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), child.id().to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

impl Load {
    fn describe(self) -> String {
        let Self { store_mib, limit_mib, budget_mib, has_reader, is_plain } = self;
        let limit = limit_mib.map_or("no limit".to_string(), |mib| format!("a limit of {mib} MiB"));
        let budget = budget_mib.map_or("the default".to_string(), |mib| format!("{mib} MiB"));
        let what = match (is_plain, has_reader) {
            (true, _) => "a plain MAP_SHARED program".to_string(),
            (false, true) => format!("a budget of {budget} and a held reader"),
            (false, false) => format!("a budget of {budget}"),
        };
        format!("{store_mib} MiB, {limit}, {what}")
    }

    fn options(self) -> OpenOptions {
        let options = OpenOptions::new().durability(Durability::Deferred);
        match self.budget_mib {
            Some(mib) => options.memory_budget_bytes(mib * MIB),
            None => options,
        }
    }

    /// Builds the store, or the plain file.
    fn build(self, path: &Path) {
        let len = self.store_mib * MIB / 8;
        // SAFETY: only this benchmark uses the file.
        let store = unsafe { self.options().open(path) }.expect("a store");
        let mut tx = store.write().expect("a transaction");
        let table = tx.alloc_slice_zeroed::<u64>(len).expect("a table");
        tx.set_root("table", table).expect("a root");
        tx.commit().expect("a commit");
        store.close().expect("a close");
        let file = fs::File::open(path).expect("the file");
        file.sync_all().expect("a sync");
        // What this process leaves in the page cache would not count for the child's group.
        let forgotten = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        forgotten.expect("an empty page cache");
    }

    /// Runs the load in this process, and prints what it took.
    fn run(self, path: &Path) {
        let (stop, peak) = (AtomicBool::new(false), AtomicU64::new(0));
        let (updates, took) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    peak.fetch_max(anonymous_bytes(), Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            let done = match self.is_plain {
                true => update_plain(path),
                false => self.update_store(path),
            };
            stop.store(true, Relaxed);
            done
        });
        println!(
            "{:.0} updates a second, at most {:.1} MiB of anonymous memory",
            updates as f64 / took.as_secs_f64(),
            peak.load(Relaxed) as f64 / MIB as f64
        );
    }

    fn update_store(self, path: &Path) -> (u64, Duration) {
        // SAFETY: only this benchmark uses the file.
        let store = unsafe { self.options().open(path) }.expect("the store");
        let table: Link<[u64]> = store.read().expect("a snapshot").root("table").expect("a root");
        let held = self.has_reader.then(|| store.read().expect("a snapshot"));
        let (mut random, mut updates, mut longest) = (Rng::with_seed(7), 0, Duration::ZERO);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds()) {
            longest = longest.max(time(|| update(&store, table, &mut random)));
            updates += UPDATES;
        }
        let took = begun.elapsed();
        let stats = store.stats().expect("figures");
        println!(
            "budget {:.0} MiB, held by readers {:.1} MiB, and {:.1} MiB beside the store; the longest transaction took {longest:?}",
            stats.memory_budget_bytes as f64 / MIB as f64,
            stats.held_private_bytes as f64 / MIB as f64,
            stats.spilled_bytes as f64 / MIB as f64,
        );
        drop(held);
        (updates, took)
    }
}

/// Changes words of the mapped file, and syncs it after each 5,000.
fn update_plain(path: &Path) -> (u64, Duration) {
    let file = fs::File::options().read(true).write(true).open(path).expect("the file");
    // SAFETY: only this benchmark uses the file.
    let mut map = unsafe { memmap2::MmapMut::map_mut(&file) }.expect("a mapping");
    let (mut random, mut updates) = (Rng::with_seed(7), 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds()) {
        for _ in 0..5000 {
            // Behind the superblocks, so that the file stays one that can be removed as a store.
            let at = random.usize(8192..map.len() / 8) * 8;
            map[at] = map[at].wrapping_add(1);
        }
        map.flush().expect("a sync");
        updates += 5000;
    }
    (updates, begun.elapsed())
}

/// Returns the anonymous memory of this process: private pages, heap and stacks.
fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// Runs the loads with these numbers, or all, each in a child process.
fn load(folder: &Folder, numbers: &[usize]) {
    for (number, load) in LOADS.into_iter().enumerate() {
        if !numbers.is_empty() && !numbers.contains(&number) {
            continue;
        }
        let path = folder.path(&format!("load-{number}"));
        load.build(&path);
        println!("{}:", load.describe());
        let group = load.limit_mib.map(|mib| Group::new(mib * MIB)).transpose();
        if let Err(error) = &group {
            println!("  no control group can be made here ({error}): without a limit");
        }
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(CHILD, format!("{number} {}", path.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        if let Ok(Some(group)) = &group {
            group.add(&child).expect("to add the child to its group");
        }
        // It begins when its input ends, within its limit.
        drop(child.stdin.take());
        for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
            println!("  {}", line.expect("a line"));
        }
        println!("  {}", child.wait().expect("an end"));
        fs::remove_file(&path).expect("to remove the store");
    }
}

/// Runs the load that a parent has described.
fn run_as_child(description: &str) {
    io::stdin().lines().for_each(drop);
    let (number, path) = description.split_once(' ').expect("a description");
    LOADS[number.parse::<usize>().expect("a number")].run(Path::new(path));
}

fn main() {
    if let Ok(description) = std::env::var(CHILD) {
        return run_as_child(&description);
    }
    let only: Vec<String> =
        std::env::args().filter(|a| ["begin", "load"].contains(&&**a)).collect();
    let is_wanted = |part: &str| only.is_empty() || only.iter().any(|wanted| wanted == part);
    let folder = Folder::new();
    if is_wanted("begin") {
        begin(&folder);
    }
    if is_wanted("load") {
        let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
        load(&folder, &numbers);
    }
}
