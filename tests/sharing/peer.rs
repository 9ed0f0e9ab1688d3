//! Another process that has a store open, and does what it is told.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use flagstone::{Durability, Link, OpenOptions, Store, WriteTx};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::scratch::open_shared;
use testkit::{KilledOnDrop, TestResult};

const CHILD: &str = "FLAGSTONE_PEER";
/// Marks the lines of the child that are answers.
const ANSWER: &str = "answer: ";
/// Words of the array that each commit changes: a quarter of the log.
const WORDS: u64 = 2048;
const LOG_BYTES: u64 = 64 * 1024;
pub const LARGE_BYTES: u64 = 16 << 20;
/// How many times the others go round the log.
const LAPS: u64 = 30;
/// More than any commit should take, and less than a process waits for one that does not answer.
const PAUSE: Duration = Duration::from_secs(5);

pub fn open(path: &Path) -> flagstone::Result<Store> {
    open_shared(path, &OpenOptions::new().log_bytes(LOG_BYTES))
}

/// Makes the array.
pub fn fill(store: &Store) -> flagstone::Result<()> {
    store.update(|tx| {
        let array = tx.alloc_slice_zeroed::<u64>(WORDS)?;
        tx.set_root("array", array)
    })
}

/// Adds one to each word of the array.
pub fn add(store: &Store, durability: Durability) -> flagstone::Result<()> {
    let mut tx = store.write()?;
    let array: Link<[u64]> = tx.root("array")?;
    tx.at_mut(array)?.iter_mut().for_each(|word| *word += 1);
    tx.set_durability(durability);
    tx.commit()
}

/// Takes space for an array that is much longer than the log.
pub fn alloc_large(tx: &mut WriteTx<'_>) -> flagstone::Result<Link<[u64]>> {
    let large = tx.alloc_slice_zeroed::<u64>(LARGE_BYTES / 8)?;
    tx.at_mut(large)?.fill(7);
    Ok(large)
}

/// Returns the value of all words.
pub fn value(tx: &flagstone::ReadTx<'_>) -> flagstone::Result<u64> {
    let array = tx.root_object::<[u64]>("array")?;
    assert!(array.iter().all(|word| *word == array[0]), "half of a commit");
    Ok(array[0])
}

/// Goes round the log many times, with commits of both kinds, transactions larger than the log, and
/// checkpoints. Returns the number of commits to the array.
pub fn go_round(store: &Store) -> TestResult<u64> {
    let (mut commits, mut longest) = (0, Duration::ZERO);
    while commits * LOG_BYTES / 4 < LAPS * LOG_BYTES {
        let begun = Instant::now();
        match commits % 10 {
            3 => store.checkpoint()?,
            6 => store.update(|tx| {
                let large = tx.alloc_slice_copy(&[commits; 20_000])?;
                tx.free(large)
            })?,
            _ => {}
        }
        let durability = if commits % 3 == 0 { Durability::Durable } else { Durability::Deferred };
        add(store, durability)?;
        commits += 1;
        longest = longest.max(begun.elapsed());
    }
    println!("{commits} commits, the longest took {longest:?}");
    assert!(longest < PAUSE, "{longest:?}");
    assert!(store.check()?.is_clean());
    Ok(commits)
}

/// The other process, as the test sees it.
pub struct Peer {
    pub process: KilledOnDrop,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts the process, which runs `test` until it comes to [`serve`].
    pub fn begin(test: &str, path: &Path) -> TestResult<Self> {
        let program = testkit::child(test, CHILD, path);
        // A file that grows past a limit is an error then, and does not end the process.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(program.get_program());
        command.args(program.get_args()).env(CHILD, path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().ok_or("its input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("its output")?).lines();
        let mut peer = Self { process: KilledOnDrop(child), orders, answers };
        assert_eq!(peer.answer()?, "open");
        Ok(peer)
    }

    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    fn answer(&mut self) -> TestResult<String> {
        for line in self.answers.by_ref() {
            if let Some((_, answer)) = line?.split_once(ANSWER) {
                return Ok(answer.to_string());
            }
        }
        Err("the other process has ended".into())
    }

    /// Has the process do something; returns its answer.
    pub fn order(&mut self, order: &str) -> TestResult<String> {
        writeln!(self.orders, "{order}")?;
        self.answer()
    }
}

/// In the child, does what the parent says, until that ends. Elsewhere, does nothing.
pub fn serve() -> TestResult {
    let Some(path) = std::env::var_os(CHILD) else { return Ok(()) };
    let store = open(Path::new(&path))?;
    let (mut held, mut writing) = (None, None);
    println!("{ANSWER}open");
    for order in std::io::stdin().lines() {
        let order = order?;
        let (order, number) = order.split_once(' ').unwrap_or((&order, "0"));
        let done = match order {
            "hold" => {
                held = Some(store.read()?);
                "ok".to_string()
            }
            "let_go" => {
                held = None;
                "ok".to_string()
            }
            "begin_write" => {
                writing = Some(store.write()?);
                "ok".to_string()
            }
            "end_write" => {
                drop(writing.take());
                "ok".to_string()
            }
            "try_write" => {
                let tx = store.try_write()?;
                if tx.is_some() { "free".to_string() } else { "busy".to_string() }
            }
            "alloc_large" => told(store.write().and_then(|mut tx| {
                let _ = alloc_large(&mut tx)?;
                std::mem::forget(tx);
                Ok(())
            })),
            "held" => value(held.as_ref().ok_or("a snapshot")?)?.to_string(),
            "read" => value(&store.read()?)?.to_string(),
            "add" => told(add(&store, Durability::Deferred)),
            "checkpoint" => told(store.checkpoint()),
            "leave_memory" => told(leave_memory(number.parse()?)),
            "limit_files" => told(limit(Resource::Fsize, number.parse()?)),
            "limit_descriptors" => told(limit(Resource::Nofile, number.parse()?)),
            _ => return Err(format!("an unknown order: {order}").into()),
        };
        println!("{ANSWER}{done}");
    }
    std::process::exit(0);
}

fn told<E: std::fmt::Display>(done: Result<(), E>) -> String {
    done.map_or_else(|error| error.to_string(), |()| "ok".to_string())
}

/// Lets the process map only so many further bytes; 0 takes the limit away.
fn leave_memory(bytes: u64) -> TestResult {
    let status = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = status.split(' ').next().ok_or("a length")?.parse()?;
    let current = (bytes > 0).then_some(pages * 4096 + bytes);
    Ok(setrlimit(Resource::As, Rlimit { current, ..getrlimit(Resource::As) })?)
}

/// Limits a resource of the process.
fn limit(resource: Resource, most: u64) -> TestResult {
    Ok(setrlimit(resource, Rlimit { current: Some(most), ..getrlimit(resource) })?)
}
