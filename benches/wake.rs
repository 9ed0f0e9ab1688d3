//! How soon another process sees a commit: the time from before the commit until the other
//! process has woken up and read it, compared with the same through a pipe.
//!
//! `cargo bench --bench wake`

mod common;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Folder, median};
use flagstone::{Durability, Link, OpenOptions, Store};

const ROUNDS: u64 = 5000;

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_nanos() as u64
}

fn open(path: &Path) -> (Store, Link<[u64; 3]>) {
    let options = OpenOptions::new().durability(Durability::Deferred);
    // SAFETY: only this benchmark uses the file.
    let store = unsafe { options.open_shared(path) }.expect("a store");
    // The round, the time of its commit, and the latency that the answer reports.
    let root = store.update(|tx| tx.root_or_insert_with("round", || [0u64; 3]));
    (store, root.expect("a root"))
}

/// The other process: answers each round with the latency that it measured.
fn answer(path: &Path) {
    let (store, root) = open(path);
    for round in 1..=ROUNDS {
        let [_, sent, _] = wait_for(&store, root, |found| found[0] == 2 * round - 1);
        let took = now_ns() - sent;
        let answered = store.update(|tx| tx.put(root, [2 * round, sent, took]));
        answered.expect("a commit");
    }
}

fn wait_for(store: &Store, root: Link<[u64; 3]>, is_it: impl Fn(&[u64; 3]) -> bool) -> [u64; 3] {
    loop {
        let tx = store.read().expect("a snapshot");
        let found = tx.read(root).expect("the round");
        if is_it(&found) {
            return found;
        }
        store.wait_for_commit(tx.position(), Duration::from_secs(10)).expect("a commit");
    }
}

fn child(kind: &str, path: &Path) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.env("FLAGSTONE_WAKE", kind).arg(path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child")
}

fn through_a_store(path: &Path) -> Duration {
    let (store, root) = open(path);
    let mut other = child("store", path);
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        // Gives the other process time to fall asleep.
        std::thread::sleep(Duration::from_micros(50));
        let asked = store.update(|tx| tx.put(root, [2 * round - 1, now_ns(), 0]));
        asked.expect("a commit");
        let [_, _, took] = wait_for(&store, root, |found| found[0] == 2 * round);
        times.push(Duration::from_nanos(took));
    }
    other.wait().expect("its end");
    median(&mut times)
}

fn through_a_pipe() -> Duration {
    let mut other = child("pipe", Path::new(""));
    let mut to = other.stdin.take().expect("its input");
    let mut from = other.stdout.take().expect("its output");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        std::thread::sleep(Duration::from_micros(50));
        to.write_all(&now_ns().to_le_bytes()).expect("a message");
        let mut took = [0; 8];
        from.read_exact(&mut took).expect("an answer");
        times.push(Duration::from_nanos(u64::from_le_bytes(took)));
    }
    drop(to);
    other.wait().expect("its end");
    median(&mut times)
}

fn answer_pipe() {
    let (mut sent, mut out) = ([0; 8], std::io::stdout());
    while std::io::stdin().read_exact(&mut sent).is_ok() {
        let took = now_ns() - u64::from_le_bytes(sent);
        out.write_all(&took.to_le_bytes()).and_then(|()| out.flush()).expect("an answer");
    }
}

fn main() {
    let path = std::env::args_os().nth(1).unwrap_or_default();
    match std::env::var("FLAGSTONE_WAKE").as_deref() {
        Ok("store") => return answer(Path::new(&path)),
        Ok(_) => return answer_pipe(),
        Err(_) => {}
    }
    let folder = Folder::new();
    let pipe = through_a_pipe();
    let store = through_a_store(&folder.path("wake"));
    let ratio = store.as_secs_f64() / pipe.as_secs_f64();
    println!(
        "from commit to read in another process: median {store:.1?}; through a pipe {pipe:.1?}: {ratio:.2} times"
    );
}
