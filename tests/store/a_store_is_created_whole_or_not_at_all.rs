//! Promise: a store is created whole or not at all, even if several processes create it at the
//! same time, the system fails at any point, or the process dies. A process that comes too late
//! finds the store there, locked or open, and nothing is left behind. If the system cannot tell
//! whether a name is durable, the store reports that once.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Barrier;

use flagstone::{ErrorKind, OpenOptions, Result, Store};
use testkit::scratch::{ScratchFile, open_read_only, open_shared};
use testkit::{
    TestResult, assert_refused, child, expect_one_passed, open, open_with, refusal, test_of,
    this_test,
};

use crate::as_nobody;

const CHILD: &str = "FLAGSTONE_MAKES_A_STORE";

/// The ways of opening that create a store.
const WAYS: [&str; 3] = ["open", "open_copy", "open_shared"];

fn open_by(way: &str, path: &Path) -> Result<Store> {
    let options = OpenOptions::new().log_bytes(64 * 1024);
    match way {
        "open" => open_with(path, &options),
        "open_copy" => options.open_copy(path),
        "open_read_only" => open_read_only(path),
        _ => open_shared(path, &options),
    }
}

/// Returns the other files of the folder, apart from those that a child of this test creates.
fn others(path: &ScratchFile) -> std::io::Result<Vec<PathBuf>> {
    let known = ["", "calls", "unclean"].map(|extension| path.with_extension(extension));
    let entries = fs::read_dir(path.folder())?.map(|entry| Ok(entry?.path()));
    let mut found = entries.collect::<std::io::Result<Vec<_>>>()?;
    found.retain(|entry| !known.contains(entry));
    Ok(found)
}

/// Returns whether this of many attempts got the store; each loser found it locked.
#[track_caller]
fn won(way: &str, opened: &Result<Store>) -> bool {
    match opened {
        Ok(_) => true,
        Err(error) if matches!(error.kind(), ErrorKind::Locked { .. }) => {
            assert!(way != "open_shared", "those that share a store wait for its creation");
            false
        }
        Err(error) => panic!("{way}: a loser is told: {error}"),
    }
}

#[test]
fn threads_that_create_a_store_at_once_find_one() -> TestResult {
    const THREADS: usize = 8;
    for round in 0..60 {
        let way = WAYS[round % WAYS.len()];
        let path = ScratchFile::new()?;
        if round % 2 == 1 {
            fs::write(&path, "")?;
        }
        let barrier = Barrier::new(THREADS);
        let count: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let opened = open_by(way, &path);
                        // Nobody closes it before all have tried.
                        barrier.wait();
                        won(way, &opened)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| usize::from(thread.join().expect("a thread"))).sum()
        });
        let expected = if way == "open_shared" { THREADS } else { 1 };
        assert_eq!(count, expected, "{way}: so many have it");
        assert!(others(&path)?.is_empty(), "something is left");
        open(&path)?.check()?.into_result()?;
    }
    Ok(())
}

#[test]
fn processes_that_create_a_store_at_once_find_one() -> TestResult {
    if let Some(path) = std::env::var_os(CHILD) {
        let way = std::env::var("FLAGSTONE_WAY")?;
        println!("\nready");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        let opened = open_by(&way, Path::new(&path));
        println!("\n{}", if won(&way, &opened) { "won" } else { "lost" });
        std::io::stdin().read_line(&mut line)?;
        return Ok(());
    }
    for round in 0..15 {
        let way = WAYS[round % WAYS.len()];
        let path = ScratchFile::new()?;
        let mut children = Vec::new();
        for _ in 0..4 {
            let mut command = child(&this_test!(), CHILD, &path);
            command.env("FLAGSTONE_WAY", way).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn()?;
            let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
            children.push((child, lines));
        }
        for (_, lines) in &mut children {
            assert!(lines.map_while(std::result::Result::ok).any(|line| line == "ready"));
        }
        for (child, _) in &mut children {
            writeln!(child.stdin.as_mut().expect("a pipe"), "go")?;
        }
        let mut count = 0;
        for (_, lines) in &mut children {
            let mut lines = lines.map_while(std::result::Result::ok);
            let told = lines.find(|line| line == "won" || line == "lost");
            count += u32::from(told.expect("a child has failed, see above") == "won");
        }
        for (mut child, _) in children {
            drop(child.stdin.take());
            child.wait()?;
        }
        assert_eq!(count, if way == "open_shared" { 4 } else { 1 }, "{way}");
        assert!(others(&path)?.is_empty(), "something is left");
    }
    Ok(())
}

/// Runs a child of this test that creates a store, under `strace`, which interferes with its
/// calls.
fn injected(path: &Path, way: &str, calls: &[&str]) -> TestResult<Option<Output>> {
    injected_with(path, way, calls, &[])
}

/// Does the same with more arguments to `strace`.
fn injected_with(
    path: &Path,
    way: &str,
    calls: &[&str],
    arguments: &[&std::ffi::OsStr],
) -> TestResult<Option<Output>> {
    if let Err(error) = Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        println!("SKIP[strace]: {error}");
        return Ok(None);
    }
    let creator = test_of(std::any::type_name_of_val(&a_child_creates_a_store));
    let child = child(&creator, CHILD, path);
    // A child that repeats a call for ever must fail, and not hang.
    let mut strace = Command::new("timeout");
    strace
        .args(["-s", "KILL", "60", "strace", "-f", "-qq", "-o"])
        .arg(path.with_extension("calls"));
    let names = calls.iter().map(|call| call.split(':').next().unwrap_or_default());
    strace.args(["-e", &format!("trace={}", names.collect::<Vec<_>>().join(","))]);
    for call in calls {
        strace.args(["-e", &format!("inject={call}")]);
    }
    strace.args(arguments).arg(child.get_program()).args(child.get_args());
    Ok(Some(strace.env(CHILD, path).env("FLAGSTONE_WAY", way).output()?))
}

/// Creates a store, writes to it, and reports the result, for the tests below.
#[test]
fn a_child_creates_a_store() -> TestResult {
    let Some(path) = std::env::var_os(CHILD) else { return Ok(()) };
    let path = Path::new(&path);
    let work = || -> Result<()> {
        let store = open_by(&std::env::var("FLAGSTONE_WAY").unwrap_or_default(), path)?;
        for number in 0..20u64 {
            store.update(|tx| tx.alloc_slice_copy(&[number; 4000]).map(drop))?;
        }
        store.checkpoint()?;
        let held = store.read()?;
        store.update(|tx| tx.alloc(1u64).map(drop))?;
        drop(held);
        store.check()?.into_result()?;
        let unclean = path.with_extension("unclean");
        while let Err(error) = fs::copy(path, &unclean) {
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
        }
        open(&unclean)?.close()?;
        fs::remove_file(&unclean).expect("to remove it");
        store.close()
    };
    match work() {
        Ok(()) => println!("\nmade"),
        Err(error) => println!("\nfailed {error}"),
    }
    Ok(())
}

fn told(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().filter(|line| *line == "made" || line.starts_with("failed "));
    lines.next_back().unwrap_or("nothing").to_string()
}

/// Creates a store in this way while `strace` interferes with the calls, if there is an `strace`;
/// expects that nothing else is left.
fn created_under(way: &str, calls: &[&str]) -> TestResult<Option<ScratchFile>> {
    let path = ScratchFile::new()?;
    let Some(output) = injected(&path, way, calls)? else { return Ok(None) };
    assert_eq!(told(&output), "made", "{way}, {calls:?}: {output:?}");
    assert!(others(&path)?.is_empty(), "{way}, {calls:?}: something is left");
    open_with(&path, &OpenOptions::new().create(false))?.check()?.into_result()?;
    Ok(Some(path))
}

/// Calls of the whole life of a store, beginning with the first ones in `open`.
#[test]
fn a_call_that_a_signal_interrupts_is_repeated() -> TestResult {
    const CALLS: [&str; 15] = [
        "fallocate",
        "ftruncate",
        "openat",
        "flock",
        "fcntl",
        "msync",
        "fdatasync",
        "fsync",
        "fadvise64",
        "linkat",
        "statx",
        "fstatfs",
        "statfs",
        "pwrite64",
        "pread64",
    ];
    // With larger pages, no log is written through a mapping.
    let is_made_here = |call: &&str| *call != "msync" || testkit::machine_page_bytes() == 4096;
    for call in CALLS.into_iter().filter(is_made_here) {
        let mut is_made = false;
        for way in WAYS {
            // The loader and the probes of the standard library do not handle this error.
            let when = match call {
                "openat" | "pread64" => "12..100+3",
                "statx" => "3..100+3",
                _ => "1..100+2",
            };
            let inject = format!("{call}:error=EINTR:when={when}");
            let Some(path) = created_under(way, &[&inject])? else { return Ok(()) };
            is_made |= fs::read_to_string(path.with_extension("calls"))?.contains("(INJECTED)");
        }
        assert!(is_made, "{call}: none was interrupted");
    }
    Ok(())
}

/// The system cannot sync folders, or not this one.
#[test]
fn a_store_can_be_created_in_a_folder_that_cannot_be_synced() -> TestResult {
    for error in ["EINVAL", "EOPNOTSUPP", "EACCES"] {
        for way in WAYS {
            // The first call is for the file.
            let call = format!("fsync:error={error}:when=2+");
            created_under(way, &[&call])?;
        }
    }
    Ok(())
}

/// An error of the system is reported as such, with the file's path, and not as damage.
#[test]
fn a_call_that_fails_at_opening_is_not_reported_as_damage() -> TestResult {
    let path = ScratchFile::new()?;
    let (closed, unclean) = (path.beside("closed"), path.beside("unclean"));
    let store = open(&closed)?;
    store.update(|tx| tx.alloc_slice_copy(&[7u64; 9000]).map(drop))?;
    fs::copy(&closed, &unclean)?;
    drop(store);
    let calls = [("pread64", "EIO"), ("statx", "EIO"), ("mmap", "ENOMEM"), ("fstatfs", "EIO")];
    for way in WAYS.into_iter().chain(["open_read_only"]) {
        for (call, error) in calls {
            let mut failures = 0;
            for when in 1..12 {
                fs::copy(&unclean, &path)?;
                let inject = format!("{call}:error={error}:when={when}+");
                let at = ["-P".as_ref(), path.as_os_str()];
                let Some(output) = injected_with(&path, way, &[&inject], &at)? else {
                    return Ok(());
                };
                let told = told(&output);
                let Some(told) = told.strip_prefix("failed ") else { break };
                failures += 1;
                let place = format!("{way}, {inject}: {told}");
                assert!(told.starts_with(&*path.to_string_lossy()), "{place}");
                for word in ["damaged", "truncated", "not a flagstone store", "empty"] {
                    assert!(!told.contains(word), "{place}");
                }
            }
            println!("{way}: {call} failed {failures} times");
        }
    }
    Ok(())
}

#[test]
fn a_failing_sync_of_the_folder_is_reported_once() -> TestResult {
    for (way, when) in [("open", "2"), ("open_shared", "2"), ("open", "1")] {
        let path = ScratchFile::new()?;
        let call = format!("fsync:error=EIO:when={when}");
        let Some(output) = injected(&path, way, &[&call])? else { return Ok(()) };
        let told = told(&output);
        assert!(told.contains("the store is made"), "{told}");
        assert!(told.contains("power cut") && told.contains("open it again"), "{told}");
        open_with(&path, &OpenOptions::new().create(false))?.check()?.into_result()?;
        assert!(others(&path)?.is_empty());
    }
    Ok(())
}

#[test]
fn a_store_can_be_created_in_a_folder_that_cannot_be_read() -> TestResult {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o333))?;
    let path = folder.path().join("store");
    as_nobody(|| {
        open(&path)?.close()?;
        open(&path)?.close()
    })?;
    Ok(())
}

#[test]
fn without_descriptors_nothing_is_created() -> TestResult {
    if let Some(folder) = std::env::var_os(CHILD) {
        let folder = Path::new(&folder);
        let mut too_few = 0;
        let mut taken = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            taken.push(file);
            if taken.len() == 5000 {
                return Err("there is no limit".into());
            }
        }
        for free in 0.. {
            let path = folder.join(format!("store{free}"));
            let opened = open(&path);
            match &opened {
                Ok(_) => break,
                Err(error) => {
                    assert!(error.to_string().contains("Too many open files"), "{error}");
                    too_few = free;
                }
            }
            drop(opened);
            let is_there = path.exists();
            taken.pop();
            if is_there {
                taken.truncate(taken.len().saturating_sub(10));
                open(&path)?.check()?.into_result()?;
            }
            if taken.is_empty() {
                return Err("it needs all descriptors".into());
            }
        }
        println!("{too_few} descriptors were too few");
        assert!(too_few >= 1);
        let left = fs::read_dir(folder)?.flatten().map(|entry| entry.file_name());
        let left: Vec<_> =
            left.filter(|name| !name.to_string_lossy().starts_with("store")).collect();
        assert!(left.is_empty(), "{left:?}");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let child = child(&this_test!(), CHILD, folder.path());
    let mut limited = Command::new("sh");
    let run = "ulimit -n 64; exec \"$0\" \"$@\"";
    limited.args(["-c", run]).arg(child.get_program()).args(child.get_args());
    expect_one_passed(&limited.env(CHILD, folder.path()).output()?);
    Ok(())
}

/// Kills the child at each of the calls that create a store.
#[test]
fn a_process_killed_while_it_creates_a_store_leaves_nothing_behind() -> TestResult {
    let (mut killed, mut unfinished) = (0, 0);
    for is_empty_file in [false, true] {
        for call in ["pwrite64", "fallocate", "fdatasync", "linkat", "fsync", "flock"] {
            for when in [1, 2, 3, 20] {
                let path = ScratchFile::new()?;
                if is_empty_file {
                    fs::write(&path, "")?;
                }
                let call = format!("{call}:signal=KILL:when={when}");
                let Some(output) = injected(&path, "open", &[&call])? else { return Ok(()) };
                killed += u32::from(output.status.signal() == Some(9));
                assert!(others(&path)?.is_empty(), "{call}: something is left");
                let inode = fs::metadata(&path).ok().map(|found| found.ino());
                if let Err(error) = open_with(&path, &OpenOptions::new().create(false)) {
                    let is_known = matches!(
                        error.kind(),
                        ErrorKind::NoSuchFile { .. }
                            | ErrorKind::EmptyFile { .. }
                            | ErrorKind::Unfinished { .. }
                    );
                    assert!(is_known, "{call}: {error}");
                    unfinished += u32::from(matches!(error.kind(), ErrorKind::Unfinished { .. }));
                }
                open(&path)?.check()?.into_result()?;
                let now = Some(fs::metadata(&path)?.ino());
                assert!(inode.is_none() || inode == now, "{call}: it is another file");
            }
        }
    }
    println!("{killed} were killed, {unfinished} left an unfinished file");
    assert!(killed > 20 && unfinished > 3, "{killed} {unfinished}");
    Ok(())
}

/// Where files must have names, the next process that creates a store cleans up.
#[test]
fn abandoned_drafts_are_removed_by_the_next_creation() -> TestResult {
    let path = ScratchFile::new()?;
    let draft = |number: u64| path.beside(&format!(".flagstone.{number:016x}.new"));
    // A file without a name cannot be given one here, so the store uses a named draft, in which
    // it is killed: while the draft is empty, unfinished, and whole.
    let kills = ["fallocate:signal=KILL:when=2", "fdatasync:signal=KILL:when=3"];
    for kill in kills.into_iter().chain(["renameat2:signal=KILL:when=1"]) {
        let Some(output) = injected(&path, "open", &["linkat:error=EPERM", kill])? else {
            return Ok(());
        };
        // The drafts of the others are gone.
        assert_eq!(others(&path)?.len(), 1, "{kill}: {output:?}");
        assert!(!path.exists());
    }
    fs::write(draft(1), "")?;
    fs::write(draft(2), vec![0; 100_000])?;
    fs::write(draft(3), "torn")?;
    let held = fs::File::create(draft(4))?;
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive)?;
    // A store in use, which merely has the name of a draft.
    let used = open(&path.beside("used"))?;
    used.update(|tx| tx.root_or_insert_with("one", || 1u64).map(drop))?;
    used.close()?;
    fs::write(draft(1), "")?;
    fs::rename(path.beside("used"), draft(5))?;
    let innocent = [".flagstone.12.new", ".flagstone.0123456789ABCDEF.new", "flagstone.new"];
    innocent.iter().try_for_each(|name| fs::write(path.beside(name), ""))?;
    fs::create_dir(draft(6))?;
    std::os::unix::fs::symlink(draft(4), draft(7))?;
    open(&path.beside("last"))?.close()?;
    let mut left: Vec<_> = fs::read_dir(path.folder())?
        .map(|entry| entry.map(|entry| entry.file_name().into_string().expect("a name")))
        .collect::<std::io::Result<_>>()?;
    left.retain(|name| !name.starts_with("store") && name != "last");
    left.sort();
    let name = |number: u64| format!(".flagstone.{number:016x}.new");
    let mut expected = [4, 5, 6, 7].map(name).to_vec();
    expected.extend(innocent.map(String::from));
    expected.sort();
    assert_eq!(left, expected);
    assert!(held.metadata()?.nlink() == 1);
    Ok(())
}

#[test]
fn stores_are_created_without_unnamed_files_and_links() -> TestResult {
    let calls: [&[&str]; 4] = [
        &["linkat:error=ENOENT:when=1"],
        &["linkat:error=ENOENT:when=1..2"],
        &["linkat:error=EPERM"],
        &["linkat:error=EPERM", "renameat2:error=EINVAL"],
    ];
    for way in WAYS {
        for calls in calls {
            created_under(way, calls)?;
        }
    }
    Ok(())
}

/// Another program swaps one store for the other, again and again.
#[test]
fn a_file_that_is_replaced_while_it_is_opened_is_open_once() -> TestResult {
    let path = ScratchFile::new()?;
    open(&path)?.close()?;
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let ordering = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| -> TestResult {
        scope.spawn(|| {
            let copy = path.beside("copy");
            while !is_over.load(ordering) {
                fs::copy(&path, &copy).and_then(|_| fs::rename(&copy, &path)).expect("to replace");
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        let tried = (0..300).try_for_each(|_| match open(&path) {
            Ok(store) => store.close(),
            // A copy taken during a close is not always a store.
            Err(error) if matches!(error.kind(), ErrorKind::Io { .. }) => {
                panic!("replacing is told as a failure: {error}")
            }
            Err(_) => Ok(()),
        });
        is_over.store(true, ordering);
        Ok(tried?)
    })?;
    assert_refused!(refused_twice(&path), Locked { .. });
    Ok(())
}

fn refused_twice(path: &Path) -> Result<Store> {
    let _ = fs::remove_file(path);
    let _store = open(path)?;
    Err(refusal(open(path)))
}
