//! A reader that pins an old snapshot delays nobody. The store lists it on request and reports
//! where it was begun, and limits the number of readers.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::time::{Duration, Instant};

use flagstone::{Checkpoints, Durability, Link, OpenOptions, Store};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{TestResult, assert_refused, expect_one_passed, this_test};

fn options() -> OpenOptions {
    // A log that grows would lie at the file's end, which is then not cut.
    let log_bytes = 64 * 1024;
    OpenOptions::new()
        .durability(Durability::Deferred)
        .log_bytes(log_bytes)
        .max_log_bytes(log_bytes)
}

/// Opens a store with one array.
fn open(path: &Path, options: &OpenOptions) -> flagstone::Result<(Store, Link<[u64]>)> {
    let store = testkit::open_with(path, options)?;
    let array = store.update(|tx| tx.alloc_slice_copy(&[0u64; 4096]))?;
    Ok((store, array))
}

fn fill(store: &Store, array: Link<[u64]>, value: u64) -> flagstone::Result<()> {
    store.update(|tx| tx.at_mut(array).map(|array| array.fill(value)))
}

#[test]
fn its_age_its_position_and_its_memory_are_reported() -> TestResult {
    let path = ScratchFile::new()?;
    let (store, array) = open(&path, &options())?;
    assert!(store.stats()?.oldest_reader.is_none());
    let (line, held) = (line!(), store.read()?);
    std::thread::sleep(Duration::from_millis(30));
    fill(&store, array, 1)?;
    store.checkpoint()?;
    let later = store.read()?;
    let stats = store.stats()?;
    let oldest = stats.oldest_reader.expect("a reader");
    assert_eq!((oldest.begun_at.file(), oldest.begun_at.line()), (file!(), line));
    assert!(oldest.age >= Duration::from_millis(20), "{:?}", oldest.age);
    assert_eq!(oldest.position, held.position());
    // The checkpoint gave it private copies of the old pages that the commit changed.
    assert!(oldest.private_bytes >= 8 * 4096, "{}", oldest.private_bytes);
    assert!(stats.held_private_bytes >= oldest.private_bytes);
    drop(held);
    drop(later);
    assert!(store.stats()?.oldest_reader.is_none());
    Ok(())
}

/// The pages past the end of a shrunken heap belong to a reader as long as it pins them: with the
/// file truncated under it, an access would end the process (SIGBUS).
#[test]
fn the_file_is_not_truncated_under_it() -> TestResult {
    let path = ScratchFile::new()?;
    let (store, array) = open(&path, &options())?;
    let numbers: Vec<u64> = (0..500_000).collect();
    let long = store.update(|tx| tx.alloc_slice_copy(&numbers))?;
    store.checkpoint()?;
    let held = store.read()?;
    store.update(|tx| tx.free(long))?;
    let len_bytes = || std::fs::metadata(&path).map(|file| file.len());
    let checkpoints = || {
        (0..6).try_for_each(|value| {
            fill(&store, array, value)?;
            store.checkpoint()
        })
    };
    checkpoints()?;
    assert!(len_bytes()? > 4_000_000);
    assert_eq!(held.at(long)?, numbers);
    drop(held);
    checkpoints()?;
    assert!(len_bytes()? < 4_000_000, "nobody has it any more: {}", len_bytes()?);
    Ok(())
}

#[test]
fn it_is_reported_once() -> TestResult {
    let path = ScratchFile::new()?;
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    let report = move |reader: &flagstone::LongReader| {
        notes.lock().expect("no panic").push((reader.begun_at.line(), reader.age));
    };
    let options = options().report_readers(Duration::from_millis(700), report);
    let (store, array) = open(&path, &options)?;
    let (line, held) = (line!(), store.read()?);
    fill(&store, array, 1)?;
    let young = store.read()?;
    fill(&store, array, 2)?;
    store.checkpoint()?;
    assert!(told.lock().expect("no panic").is_empty(), "too young");
    drop(young);
    std::thread::sleep(Duration::from_millis(800));
    for value in 3..6 {
        fill(&store, array, value)?;
        store.checkpoint()?;
    }
    let told = told.lock().expect("no panic");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, line);
    assert!(told[0].1 >= Duration::from_millis(700));
    assert_eq!(held.at(array)?[0], 0);
    Ok(())
}

/// The reader is reported whoever makes the checkpoint, including a commit that finds the log
/// full.
#[test]
fn it_is_reported_after_a_checkpoint_that_a_full_log_causes() -> TestResult {
    for checkpoints in [Checkpoints::ByCommits, Checkpoints::Background] {
        for waits in [true, false] {
            let path = ScratchFile::new()?;
            let told = Arc::new(AtomicUsize::new(0));
            let notes = Arc::clone(&told);
            let report = move |_: &flagstone::LongReader| {
                notes.fetch_add(1, Relaxed);
            };
            let options = options().checkpoints(checkpoints).report_readers(Duration::ZERO, report);
            let (store, array) = open(&path, &options)?;
            let held = store.read()?;
            // Each record takes more than a third of the log, so the third does not fit.
            for value in 1..=30 {
                let mut tx = store.write()?;
                tx.at_mut(array)?[..3500].fill(value);
                let pending = tx.commit_later()?;
                if waits {
                    pending.wait()?;
                } else {
                    drop(pending);
                }
            }
            let is_told = || told.load(Relaxed) == 1;
            let begun = Instant::now();
            while !is_told() && begun.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(is_told(), "{checkpoints:?}, waits: {waits}: {}", told.load(Relaxed));
            assert_eq!(held.at(array)?[0], 0);
        }
    }
    Ok(())
}

/// Released snapshots release their memory at once, and not only when the next one is needed.
#[test]
fn released_snapshots_return_their_memory() -> TestResult {
    let path = ScratchFile::new()?;
    let options = options().max_snapshots(usize::MAX);
    let (store, array) = open(&path, &options)?;
    let maps = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let folder = path.folder().to_str().expect("a path");
        maps.lines().filter(|line| line.contains(folder)).count()
    };
    let before = maps();
    let hold = |count: u64| {
        let held = (1..=count).map(|value| {
            fill(&store, array, value)?;
            store.read()
        });
        held.collect::<flagstone::Result<Vec<_>>>()
    };
    for is_shuffled in [false, true] {
        let mut held = hold(300)?;
        assert!(maps() >= before + 298, "{} mappings, {before} before", maps());
        while !held.is_empty() {
            let next = if is_shuffled { held.len() * 7 / 11 } else { held.len() - 1 };
            drop(held.swap_remove(next));
            let limit = before + 2 * (held.len() + held.len() / 3 + 6);
            if held.len() % 25 == 0 {
                assert!(maps() <= limit, "{} mappings, {} held", maps(), held.len());
            }
        }
        assert!(maps() <= before + 6, "{} mappings, {before} before", maps());
    }
    // Several threads share one; the last of them releases it.
    let held = Arc::new(hold(100)?);
    let threads = [(); 4].map(|()| Arc::clone(&held));
    drop(held);
    std::thread::scope(|scope| {
        for held in threads {
            scope.spawn(move || drop(held));
        }
    });
    assert!(maps() <= before + 6, "{} mappings, {before} before", maps());
    Ok(())
}

/// A leaked reader holds up neither writers nor checkpoints nor the close of the store.
#[test]
fn a_leaked_one_costs_no_more_than_its_memory() -> TestResult {
    let path = ScratchFile::new()?;
    let (store, array) = open(&path, &options())?;
    let line = line!() + 1;
    std::mem::forget(store.read()?);
    for value in 1..20 {
        fill(&store, array, value)?;
        store.checkpoint()?;
    }
    let oldest = store.stats()?.oldest_reader.expect("the one that was leaked");
    assert_eq!(oldest.begun_at.line(), line);
    store.close()?;
    let store = testkit::open(&path)?;
    store.check()?.into_result()?;
    assert_eq!(store.read()?.at(array)?[0], 19);
    Ok(())
}

/// A transaction larger than half of the log makes a checkpoint while it holds the writer's lock
/// and after it has appended its record. The program's code in the report must not interfere.
#[test]
fn a_report_that_panics_does_not_harm_a_large_commit() -> TestResult {
    for is_shared in [false, true] {
        let path = ScratchFile::new()?;
        let options = options().report_readers(Duration::ZERO, |_| panic!("as a program may"));
        let store = match is_shared {
            false => testkit::open_with(&path, &options)?,
            true => open_shared(&path, &options)?,
        };
        let array = store.update(|tx| tx.alloc_slice_copy(&[0u64; 20_000]))?;
        let held = store.read()?;
        let commit = || fill(&store, array, 7);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(commit)).is_err();
        assert!(panicked, "the report was not made");
        store.update(|tx| {
            assert_eq!(tx.at(array)?[..], [7; 20_000], "the next writer builds on it");
            tx.at_mut(array).map(|array| array[1] = 9)
        })?;
        assert_eq!(held.at(array)?[..2], [0, 0]);
        drop(held);
        assert_eq!(store.read()?.at(array)?[..3], [7, 9, 7]);
        assert!(store.check()?.is_clean());
    }
    Ok(())
}

/// The report runs on the checkpoint thread, and may drop the last handle of the store: closing
/// it there waits for no thread to end.
#[test]
fn a_report_may_drop_the_store() -> TestResult {
    let path = ScratchFile::new()?;
    let known: Arc<OnceLock<Weak<Store>>> = Arc::default();
    let (told, reports) = mpsc::channel();
    let (go_on, drops) = mpsc::channel::<()>();
    let (this, drops) = (Arc::clone(&known), Mutex::new(drops));
    let options = options().report_readers(Duration::ZERO, move |_| {
        let last = this.get().and_then(Weak::upgrade);
        let _ = told.send("it has the store");
        let _ = drops.lock().expect("no panic").recv();
        drop(last);
        let _ = told.send("the store was dropped");
    });
    let (store, array) = open(&path, &options)?;
    let store = Arc::new(store);
    known.set(Arc::downgrade(&store)).expect("once");
    let reader = store.read_owned()?;
    // Until a checkpoint is due; no commit is large enough to make one itself.
    for value in 0..6 {
        store.update(|tx| tx.at_mut(array).map(|array| array[..1000].fill(value)))?;
    }
    let timeout = Duration::from_secs(20);
    reports.recv_timeout(timeout)?;
    drop((reader, store));
    drop(go_on);
    reports.recv_timeout(timeout)?;
    // The thread keeps the file open until it ends.
    let begun = Instant::now();
    let store = loop {
        match testkit::open_with(&path, &self::options()) {
            Err(error) if begun.elapsed() > timeout => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
            Ok(store) => break store,
        }
    };
    assert_eq!(store.stats()?.replayed_bytes, 0, "it was closed in order");
    Ok(())
}

#[test]
fn there_are_no_more_than_the_maximum() -> TestResult {
    let path = ScratchFile::new()?;
    let (store, array) = open(&path, &options().max_snapshots(3))?;
    let mut held = Vec::new();
    let first = line!() + 3;
    for value in 1..=3 {
        fill(&store, array, value)?;
        held.push(store.read()?);
    }
    fill(&store, array, 4)?;
    let error = testkit::refusal(store.read());
    let text = error.to_string();
    assert!(text.contains(&format!("{}:{first}", file!())), "{text}");
    assert_refused!(store.read(), TooManySnapshots { held: 3, .. });
    // Commits and checkpoints continue.
    fill(&store, array, 5)?;
    store.checkpoint()?;
    assert!((1..).zip(&held).all(|(value, tx)| tx.at(array).is_ok_and(|array| array[7] == value)));
    drop(held.remove(1));
    assert_eq!(store.read()?.at(array)?[0], 5);
    Ok(())
}

#[test]
fn the_file_does_not_grow_with_it() -> TestResult {
    let path = ScratchFile::new()?;
    let (store, array) = open(&path, &options())?;
    let churn = |rounds| (0..rounds).try_for_each(|value| fill(&store, array, value));
    churn(50)?;
    store.checkpoint()?;
    let before = std::fs::metadata(&path)?.len();
    let held = store.read()?;
    let seen = held.at(array)?[0];
    churn(200)?;
    store.checkpoint()?;
    let grown = std::fs::metadata(&path)?.len();
    // A log move is accounted for separately: the log takes at most 16 MiB here.
    let log_bytes = store.stats()?.log_bytes;
    assert!(grown <= before + 2 * log_bytes, "{before} bytes, and then {grown}");
    assert!(held.at(array)?.iter().all(|value| *value == seen));
    Ok(())
}

#[test]
fn an_owned_one_keeps_its_store_open() -> TestResult {
    let path = ScratchFile::new()?;
    let (store, array) = open(&path, &options())?;
    let store = Arc::new(store);
    let tx = store.read_owned()?;
    drop(store);
    assert_refused!(testkit::open(&path), Locked { .. });
    let thread = std::thread::spawn(move || tx.at(array).map(|array| array[5]));
    assert_eq!(thread.join().expect("no panic")?, 0);
    let _ = testkit::open(&path)?;
    Ok(())
}

const CHILD: &str = "FLAGSTONE_OLD_KERNEL";

/// As on a kernel before 5.14: the checkpoint waits for the reader. A system call filter refuses
/// `MADV_POPULATE_WRITE` in this test's child.
#[test]
fn without_populate_write_the_checkpoint_waits_for_it() -> TestResult {
    if let Some(path) = std::env::var_os(CHILD) {
        refuse_populate_write()?;
        return old_kernel(Path::new(&path));
    }
    let path = ScratchFile::new()?;
    expect_one_passed(&testkit::child(&this_test!(), CHILD, &path).output()?);
    Ok(())
}

/// Makes the call fail with EINVAL, on this thread and those that it starts.
fn refuse_populate_write() -> std::io::Result<()> {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset| step(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
    let unless = |value, skipped| step(BPF_JMP | BPF_JEQ | BPF_K, 0, skipped, value);
    let answer = |value| step(BPF_RET | BPF_K, 0, 0, value);
    // Fields of `seccomp_data`: the call's number, and the low half of its third argument.
    let mut steps = [
        load(0),
        unless(libc::SYS_madvise as u32, 3),
        load(16 + 2 * 8),
        unless(libc::MADV_POPULATE_WRITE as u32, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: takes numbers only.
    let promised = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the filter lives during the call, which copies it.
    let set =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if promised == 0 && set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn old_kernel(path: &Path) -> TestResult {
    let (store, array) = open(path, &options().log_bytes(1 << 20))?;
    let held = store.read()?;
    fill(&store, array, 1)?;
    std::thread::scope(|scope| {
        let checkpoint = scope.spawn(|| store.checkpoint());
        std::thread::sleep(Duration::from_millis(100));
        assert!(!checkpoint.is_finished(), "the page that the reader sees was written");
        assert_eq!(held.at(array)?[0], 0);
        // Commits continue meanwhile, and so do new readers.
        fill(&store, array, 2)?;
        assert_eq!(store.read()?.at(array)?[0], 2);
        drop(held);
        checkpoint.join().expect("no panic")?;
        Ok(())
    })
}
