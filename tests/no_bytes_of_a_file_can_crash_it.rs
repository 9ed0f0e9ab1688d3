//! Promise: a damaged file gives errors, and never a panic, an endless loop or
//! the end of the process.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use common::{Random, is_long, open_with, seed};
use flagstone::{Durability, Link, LinkTests, OpenOptions, Store, persist};

#[persist]
#[derive(Clone, Copy)]
enum Colour {
    Red,
    Green,
}

#[persist]
#[derive(Clone, Copy)]
struct Node {
    next: Link<Node>,
    bytes: Link<[u8]>,
    value: u32,
    colour: Colour,
    flag: bool,
    pad: [u8; 2],
}

fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024).durability(Durability::Deferred)
}

/// A store with objects, arrays and free space; `closed` or as a crash leaves it.
fn sample(path: &Path, closed: bool) -> flagstone::Result<Vec<u8>> {
    let store = open_with(path, &options())?;
    for round in 0..30u32 {
        store.update(|tx| {
            let next = tx.root::<Node>("head")?;
            let bytes = tx.alloc_slice(std::iter::repeat_n(7, (round * 211) as usize))?;
            let node =
                Node { next, bytes, value: round, colour: Colour::Red, flag: true, pad: [0; 2] };
            let node = tx.alloc(node)?;
            if round % 5 == 0 {
                let large = tx.alloc_slice(std::iter::repeat_n(1u64, 3000))?;
                tx.free(large)?;
            }
            tx.set_root("head", node)
        })?;
    }
    let bytes = if closed {
        store.close()?;
        std::fs::read(path).expect("the file")
    } else {
        store.sync()?;
        std::fs::read(path).expect("the file")
    };
    let _ = std::fs::remove_file(path);
    Ok(bytes)
}

/// Does a bit of everything; errors are fine.
fn use_store(path: &Path, tests: LinkTests) -> flagstone::Result<()> {
    let store = open_with(path, &options().link_tests(tests))?;
    let _ = store.check();
    let _ = store.stats();
    let _ = read_all(&store);
    let _ = write_some(&store);
    let _ = read_all(&store);
    let _ = store.checkpoint();
    store.close()
}

fn read_all(store: &Store) -> flagstone::Result<u64> {
    let tx = store.read()?;
    let mut sum = 0u64;
    let mut at = tx.root::<Node>("head")?;
    // A damaged list may go round and round; that is the program's to bound.
    for _ in 0..1000 {
        let Some(node) = tx.get(at)? else { break };
        sum = sum.wrapping_add(tx.get(node.bytes)?.map_or(0, |bytes| bytes.len() as u64));
        at = node.next;
    }
    Ok(sum)
}

fn write_some(store: &Store) -> flagstone::Result<()> {
    let freed = store.update(|tx| {
        let head = tx.root::<Node>("head")?;
        let node = tx.read(head)?;
        tx.at_mut(head)?.colour = Colour::Green;
        tx.free(node.bytes)?;
        tx.set_root("head", node.next)?;
        tx.free(head)
    });
    let allocated = store.update(|tx| {
        for len in [1, 100, 5000, 300_000] {
            let new = tx.alloc_slice(std::iter::repeat_n(3u8, len))?;
            tx.set_root(&format!("new {len}"), new)?;
        }
        tx.alloc([1u32; 600]).map(drop)
    });
    freed.and(allocated)
}

/// Damages some bytes in one of several ways.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let place = |random: &mut Random, bytes: &[u8]| {
        // Half of the damage goes where flagstone's own structures lie.
        let limit = if random.below(2) == 0 { 28 * 4096 } else { bytes.len() as u64 };
        random.below(limit.min(bytes.len() as u64)) as usize
    };
    for _ in 0..1 + random.below(4) {
        let at = place(random, bytes);
        match random.below(8) {
            0..3 => bytes[at] ^= 1 << random.below(8),
            3 => bytes[at] = random.next() as u8,
            4 => {
                let at = at / 8 * 8;
                let number =
                    [0, 1, u64::MAX, u64::MAX / 2, random.next()][random.below(5) as usize];
                bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            5 => {
                let (a, b) = (at / 4096 * 4096, place(random, bytes) / 4096 * 4096);
                if a.max(b) + 4096 <= bytes.len() {
                    let page = bytes[a..a + 4096].to_vec();
                    bytes.copy_within(b..b + 4096, a);
                    bytes[b..b + 4096].copy_from_slice(&page);
                }
            }
            6 => {
                let at = at / 4 * 4;
                let number = random.below(600) as u32;
                bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            }
            _ if random.below(20) == 0 => bytes.truncate(at.max(1)),
            _ => bytes[at] = 0,
        }
        if bytes.len() < 16 {
            return;
        }
    }
}

/// Ends the process if one case takes too long.
fn watchdog() -> mpsc::Sender<u64> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut case = 0;
        loop {
            match told.recv_timeout(Duration::from_secs(60)) {
                Ok(next) => case = next,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    eprintln!("case {case} takes too long");
                    std::process::abort();
                }
            }
        }
    });
    tell
}

#[test]
fn damage_of_any_kind_gives_errors_at_most() -> flagstone::Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let samples =
        [sample(&folder.path().join("a"), true)?, sample(&folder.path().join("b"), false)?];
    let first = seed(1);
    let cases = if is_long() { 200_000 } else { 1500 };
    println!("seeds {first} to {}", first + cases);
    let watchdog = watchdog();
    let mut clean = 0;
    for case in first..first + cases {
        watchdog.send(case).expect("the watchdog");
        let mut random = Random(case);
        let mut bytes = samples[random.below(2) as usize].clone();
        damage(&mut bytes, &mut random);
        let path = folder.path().join("damaged");
        std::fs::write(&path, &bytes).expect("a file");
        let tests = [LinkTests::Bounds, LinkTests::Live][random.below(2) as usize];
        let used = catch_unwind(AssertUnwindSafe(|| use_store(&path, tests)));
        let used = used.unwrap_or_else(|_| panic!("case {case} panicked"));
        clean += u64::from(used.is_ok());
    }
    println!("{clean} of {cases} damaged files could be used to the end");
    Ok(())
}
