//! Promise: with `max_file_bytes`, no file grows past the limit, and what does not fit is an error
//! that names the option and changes nothing.

use fastrand::Rng;
use flagstone::{ErrorKind, Link, OpenOptions, Store};
use tempfile::TempDir;

const LIMIT: u64 = 3 << 20;

fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024).max_file_bytes(LIMIT)
}

fn open(folder: &TempDir, options: &OpenOptions) -> Store {
    options.open_copy(folder.path().join("store")).expect("a store")
}

fn file_bytes(folder: &TempDir) -> u64 {
    std::fs::metadata(folder.path().join("store")).expect("the file").len()
}

fn is_refused<T>(result: &Result<T, flagstone::Error>) -> bool {
    match result {
        Ok(_) => false,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::FileLimitReached { .. }), "{error}");
            assert!(error.to_string().contains("max_file_bytes"), "{error}");
            true
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_space_that_is_freed_is_used_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, &options());
    let mut kept: Vec<Link<[u64]>> = Vec::new();
    for round in 0..3 {
        loop {
            let made = store.update(|tx| tx.alloc_slice_copy(&[round; 4000]));
            assert!(file_bytes(&folder) <= LIMIT);
            if is_refused(&made) {
                break;
            }
            kept.extend(made);
        }
        assert!(kept.len() as u64 * 32_000 > LIMIT / 2, "{} arrays", kept.len());
        assert!(store.check().expect("a look").is_clean());
        // A change needs no space in the heap.
        store.update(|tx| tx.at_mut(kept[0]).map(|items| items.fill(7))).expect("a change");
        let all = std::mem::take(&mut kept);
        store.update(|tx| all.into_iter().try_for_each(|link| tx.free(link))).expect("freed");
    }
}

/// Bulk pages, records longer than the log, and moves of the log all need space at the file's end.
#[test]
fn whatever_needs_the_space() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, &options());
    let mut kept: Vec<Link<[u64]>> = Vec::new();
    let mut refused = 0;
    for round in 0..400 {
        let done = store.update(|tx| match random.u32(..4) {
            0 => {
                let items = vec![round; random.usize(1..60_000)];
                tx.alloc_slice_copy(&items).map(|made| kept.push(made))
            }
            1 if kept.len() > 3 => tx.free(kept.swap_remove(random.usize(..kept.len()))),
            _ if kept.is_empty() => Ok(()),
            _ => tx.at_mut(kept[random.usize(..kept.len())]).map(|items| items.fill(round)),
        });
        assert!(file_bytes(&folder) <= LIMIT, "{}", file_bytes(&folder));
        if is_refused(&done) {
            refused += 1;
            // What was pushed or taken out in a transaction that failed counts for nothing: begin
            // anew.
            let tx = store.read().expect("a snapshot");
            kept.retain(|link| tx.at(*link).is_ok());
        }
    }
    assert!(refused > 0 && refused < 400, "{refused} transactions were refused");
    assert!(store.check().expect("a look").is_clean());
}

#[test]
fn a_longer_file_is_opened_and_does_not_grow() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, &OpenOptions::new());
    let made = store.update(|tx| tx.alloc_slice_zeroed::<u8>(4 << 20)).expect("a large array");
    store.close().expect("a close");
    let before = file_bytes(&folder);
    assert!(before > LIMIT);
    let store = open(&folder, &options());
    assert!(is_refused(&store.update(|tx| tx.alloc_slice_zeroed::<u8>(4 << 20))));
    store.update(|tx| tx.free(made)).expect("freed");
    store.close().expect("a close");
    assert!(file_bytes(&folder) < LIMIT);
}

#[test]
fn a_new_store_that_is_longer_than_the_limit_is_not_created() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let error = OpenOptions::new().max_file_bytes(1 << 20).open_copy(&path).unwrap_err();
    let ErrorKind::BadOption { option: "max_file_bytes", why } = error.kind() else {
        panic!("{error}");
    };
    assert!(!path.exists(), "{why}");
    let least = 1 << 20 | 1 << 19;
    assert!(OpenOptions::new().max_file_bytes(least).open_copy(&path).is_ok());
    assert!(file_bytes(&folder) <= least);
}
