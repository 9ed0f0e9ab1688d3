//! Opening a store of 1 GiB whose process was killed with a full log: the time, and the largest
//! private memory meanwhile.
//!
//! `cargo bench --bench recovery`
//!
//! The opening process is one of its own. By turns, its budget holds all pages, so that they are
//! replayed in memory and written once; or it is that of a store in 256 MiB; or the process also runs
//! in a control group of 256 MiB, where this one may make such a group. The file is read from the disk
//! each time: recovery drops what the system holds of it.

mod common;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Folder, median};
use fastrand::Rng;
use flagstone::{Checkpoints, Durability, Link, OpenOptions};

/// The environment variable that names the file for a child to open.
const CHILD: &str = "FLAGSTONE_BENCH_OPEN";
/// The variable that gives its memory budget.
const BUDGET: &str = "FLAGSTONE_BENCH_BUDGET";
const NUMBERS: u64 = 1 << 27;
const UPDATES: usize = 100;
/// Openings of each kind.
const ROUNDS: usize = 5;
/// The limit of the control group, and the budget of a store in it.
const LIMIT_BYTES: u64 = 256 << 20;
const BUDGET_BYTES: u64 = LIMIT_BYTES / 4;
/// A budget for rounds that hold all pages.
const AMPLE_BYTES: u64 = 64 << 30;

/// Fills a store, and its log to `log_bytes`; returns a copy of the file as a kill would leave it.
fn build(folder: &Folder, log_bytes: u64) -> PathBuf {
    let options = OpenOptions::new()
        .log_bytes(log_bytes / 3 * 4 + (1 << 20))
        .checkpoints(Checkpoints::ByCommits)
        // Otherwise memory makes a checkpoint due before the log is full.
        .memory_budget_bytes(AMPLE_BYTES)
        .durability(Durability::Deferred);
    let store = folder.open("whole", &options);
    let numbers = store.update(|tx| -> flagstone::Result<_> {
        let numbers: Link<[u64]> =
            tx.alloc_slice((0..NUMBERS as usize).map(|number| number as u64))?;
        tx.set_root("numbers", numbers)?;
        Ok(numbers)
    });
    let numbers = numbers.expect("the numbers");
    store.checkpoint().expect("a checkpoint");
    let mut random = Rng::with_seed(1);
    loop {
        for _ in 0..100 {
            let mut tx = store.write().expect("a transaction");
            for _ in 0..UPDATES {
                let one = Link::from_parts(numbers.offset() + 8 * random.u64(..NUMBERS), 1);
                *tx.at_mut::<u64>(one).expect("a number") += 1;
            }
            tx.commit().expect("a commit");
        }
        if log_used(&store) + log_bytes / 64 > log_bytes {
            break;
        }
    }
    store.sync().expect("a sync");
    let path = folder.path(&format!("killed-{}", log_bytes >> 20));
    std::fs::copy(folder.path("whole"), &path).expect("a copy");
    drop(store);
    std::fs::remove_file(folder.path("whole")).expect("the file");
    path
}

fn log_used(store: &flagstone::Store) -> u64 {
    store.stats().expect("statistics").log_used_bytes
}

/// The memory of this process that is neither of a file nor shared.
fn private_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Vec<u64> = text.split(' ').filter_map(|pages| pages.trim().parse().ok()).collect();
    pages.get(1).zip(pages.get(2)).map_or(0, |(resident, shared)| (resident - shared) * 4096)
}

/// The child: opens the store, and reports microseconds and bytes.
fn open_here(path: &Path) {
    let (is_over, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let before = private_bytes();
    let budget = std::env::var(BUDGET).ok().and_then(|bytes| bytes.parse().ok());
    let options = OpenOptions::new().memory_budget_bytes(budget.expect("a number of bytes"));
    let spent = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                most.fetch_max(private_bytes(), Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let begun = Instant::now();
        // SAFETY: only this benchmark uses the file.
        let store = unsafe { options.open(path) }.expect("it opens");
        let spent = begun.elapsed();
        is_over.store(true, Relaxed);
        std::mem::forget(store);
        spent
    });
    println!("{} {}", spent.as_micros(), most.into_inner() - before);
}

/// A control group with a limit on memory.
struct Group(PathBuf);

impl Group {
    fn new() -> io::Result<Self> {
        let name = format!("flagstone-bench-{}", std::process::id());
        for (root, limit) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let folder = Path::new(root).join(&name);
            if std::fs::create_dir(&folder).is_ok() {
                let group = Self(folder);
                std::fs::write(group.0.join(limit), LIMIT_BYTES.to_string())?;
                return Ok(group);
            }
        }
        Err(io::Error::other("no control group for memory can be made"))
    }

    /// Returns a command that runs this program in the group.
    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new("sh");
        let script = r#"echo $$ > "$0/cgroup.procs" && exec "$1""#;
        command.args(["-c", script]).arg(&self.0).arg(std::env::current_exe()?);
        Ok(command)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Opens a fresh copy of a killed store in a child; returns the time, and the private bytes.
fn open_in_child(
    mut child: Command,
    budget_bytes: u64,
    killed: &Path,
) -> io::Result<(Duration, u64)> {
    let copy = killed.with_extension("copy");
    std::fs::copy(killed, &copy)?;
    std::fs::File::open(&copy)?.sync_all()?;
    let output = child.env(CHILD, &copy).env(BUDGET, budget_bytes.to_string()).output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = told.split_whitespace().filter_map(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(micros), Some(bytes)) => Ok((Duration::from_micros(micros), bytes)),
        _ => Err(io::Error::other(format!("{}: {told}", output.status))),
    }
}

fn report(kind: &str, found: &mut [(Duration, u64)]) -> Duration {
    let most = found.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let mut times: Vec<Duration> = found.iter().map(|(time, _)| *time).collect();
    let median = median(&mut times);
    println!("  {kind}: {median:?} of {times:?}, at most {} KiB private", most >> 10);
    median
}

fn main() -> io::Result<()> {
    if let Some(path) = std::env::var_os(CHILD) {
        open_here(Path::new(&path));
        return Ok(());
    }
    let folder = Folder::new();
    let group = Group::new().inspect_err(|error| println!("without a control group: {error}")).ok();
    for log_mib in [27, 64] {
        let killed = build(&folder, log_mib << 20);
        println!("{log_mib} MiB of log:");
        let (mut whole, mut bounded, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        let free = || std::env::current_exe().map(Command::new);
        for _ in 0..ROUNDS {
            whole.push(open_in_child(free()?, AMPLE_BYTES, &killed)?);
            bounded.push(open_in_child(free()?, BUDGET_BYTES, &killed)?);
            if let Some(group) = &group {
                limited.push(open_in_child(group.command()?, BUDGET_BYTES, &killed)?);
            }
        }
        let in_memory = report("all in memory", &mut whole).as_secs_f64();
        let ratio = report("in rounds", &mut bounded).as_secs_f64() / in_memory;
        println!("  ratio: {ratio:.2}");
        if group.is_some() {
            let ratio = report("in rounds, in 256 MiB", &mut limited).as_secs_f64() / in_memory;
            println!("  ratio: {ratio:.2}");
        }
        std::fs::remove_file(&killed)?;
    }
    Ok(())
}
