//! Pages of a store's file without a block of their own, on a full disk: shared with a copy
//! (reflink), below an overlayfs, or holes. Children use the store, so a signal is detected.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use flagstone::{Durability, ErrorKind, OpenOptions, Result, Store, WriteTx};
use rustix::mount::{MountFlags, mount};

use super::{Ballast, Entry, push, state};
use testkit::power::Test;
use testkit::power::scratch_fs::{Bench, Kind, Mounted, copy_sparse, mount_memory, probe};
use testkit::scratch::{self, open_read_only};
use testkit::{TestResult, assert_refused, child, open, open_with};

/// The environment variable with a child's task and its store.
const ACT: &str = "FLAGSTONE_BLOCKS";
const ACTOR: &str = "a child of the tests of blocks";
/// More commits than any of these disks has space for.
const MAX_COMMITS: u64 = 1_000_000;

pub fn tests() -> Vec<Test> {
    let test = |name: String, kind: Kind, run: fn(Kind) -> TestResult| Test {
        name,
        probe: Box::new(move || probe(kind)),
        run: Box::new(move || run(kind)),
    };
    let mut tests = Vec::new();
    let shares = "shared with a copy that is taken while the store is open:";
    for (way, run) in [
        ("deferred commits", (|_| a_copy_meanwhile("commit")) as fn(Kind) -> TestResult),
        ("commits of both kinds", |_| a_copy_meanwhile("mix")),
        ("durable commits", |_| a_copy_meanwhile("sync")),
        ("a store of several", |_| a_copy_meanwhile("share")),
    ] {
        tests.push(test(format!("{shares} {way}"), Kind::Xfs, run));
    }
    tests.push(test("a copy is opened".into(), Kind::Xfs, |_| a_copy_that_is_opened()));
    let name = "a process that is cut off holds up others for its readers alone";
    tests.push(test(name.into(), Kind::Xfs, |_| one_is_cut_off()));
    for kind in [Kind::Ext4, Kind::Xfs, Kind::Btrfs] {
        tests.push(test(format!("an overlayfs over {}", kind.name()), kind, below_an_overlay));
    }
    for kind in [Kind::Ext4, Kind::Xfs] {
        tests.push(test(format!("holes on {}", kind.name()), kind, holes_on));
        tests.push(test(format!("punched pages on {}", kind.name()), kind, punched_on));
    }
    tests.push(test("holes on tmpfs".into(), Kind::Ext4, |_| holes_in_memory()));
    let actor: fn() -> TestResult = || std::env::var_os(ACT).map_or(Ok(()), |_| act());
    tests.push(Test { name: ACTOR.into(), probe: Box::new(|| Ok(())), run: Box::new(actor) });
    tests
}

/// A child that does `what` with the store at `path`, step by step: it reports its progress, and
/// waits for permission to continue.
struct Actor {
    child: Child,
    said: Box<dyn BufRead>,
}

impl Actor {
    fn start(what: &str, path: &Path) -> TestResult<Self> {
        let mut command: Command = child(ACTOR, ACT, path);
        command.env("FLAGSTONE_ACT", what).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let said = Box::new(BufReader::new(child.stdout.take().ok_or("no output")?));
        Ok(Self { child, said })
    }

    /// Returns the next number that the child reports.
    fn hear(&mut self) -> TestResult<u64> {
        let mut lines = String::new();
        let mut begin = 0;
        while self.said.read_line(&mut lines)? > 0 {
            // The test program may have begun the line.
            if let Some((_, number)) = lines[begin..].split_once("SAID ") {
                return Ok(number.trim().parse()?);
            }
            begin = lines.len();
        }
        Err(format!("a child ended with {}: {lines}", self.child.wait()?).into())
    }

    fn go_on(&mut self) -> TestResult {
        let input = self.child.stdin.as_mut().ok_or("no input")?;
        Ok(input.write_all(b"\n")?)
    }

    fn end(mut self) -> TestResult {
        drop(self.child.stdin.take());
        let ended = self.child.wait()?;
        if ended.success() { Ok(()) } else { Err(format!("a child ended with {ended}").into()) }
    }
}

fn say(number: u64) -> TestResult {
    println!("SAID {number}");
    Ok(std::io::stdout().flush()?)
}

fn wait() -> TestResult {
    std::io::stdin().lines().next().transpose()?;
    Ok(())
}

fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024).durability(Durability::Deferred)
}

fn open_shared(path: &Path) -> Result<Store> {
    scratch::open_shared(path, &options())
}

fn push_next(tx: &mut WriteTx<'_>) -> Result<()> {
    let last = tx.root::<Entry>("list")?;
    let number = tx.get(last)?.map_or(0, |entry| entry.number + 1);
    push(tx, number, 10)
}

fn commit(store: &Store) -> Result<()> {
    store.update(push_next)
}

fn make(path: &Path) -> TestResult {
    let store = open_with(path, &options())?;
    store.update(|tx| {
        let values = tx.alloc_slice_copy(&[0u64; 20_000])?;
        tx.set_root("values", values)
    })?;
    Ok(store.close()?)
}

/// Checks that an operation failed for lack of space, now or earlier.
fn expect_no_space<T: Debug>(result: Result<T>) -> TestResult {
    let error = result.err().ok_or("there was space after all")?;
    match error.kind() {
        ErrorKind::Io { .. }
        | ErrorKind::NoSpace { .. }
        | ErrorKind::Poisoned { .. }
        | ErrorKind::CommitUnknown { .. } => Ok(()),
        _ => Err(format!("not the error of a full disk: {error}").into()),
    }
}

fn act() -> TestResult {
    let path = PathBuf::from(std::env::var_os(ACT).ok_or("no path")?);
    match std::env::var("FLAGSTONE_ACT")?.as_str() {
        "commit" => commit_till_it_fails(open_with(&path, &options())?, |_, store| commit(store)),
        "mix" => commit_till_it_fails(open_with(&path, &options())?, |number, store| {
            commit(store)?;
            if number % 7 == 6 { store.sync() } else { Ok(()) }
        }),
        "sync" => commit_till_it_fails(open_with(&path, &options())?, |_, store| {
            commit(store)?;
            store.sync()
        }),
        "share" => commit_till_it_fails(open_shared(&path)?, |_, store| commit(store)),
        "read while cut off" => read_while_cut_off(&path),
        "try" => try_all_ways(&path),
        "hold" => {
            let store = open_with(&path, &options())?;
            look(&store)?;
            say(0)?;
            wait()?;
            change_some(&store)?;
            say(0)
        }
        "leave" => {
            let store = open_with(&path, &options())?;
            for _ in 0..20 {
                commit(&store)?;
            }
            say(20)?;
            std::process::exit(0)
        }
        other => Err(format!("unknown act {other}").into()),
    }
}

/// Makes some commits and, when told to, more until one fails. Reports their number.
fn commit_till_it_fails(store: Store, commit: impl Fn(u64, &Store) -> Result<()>) -> TestResult {
    let mut commits = 0;
    while commits < 3 {
        commit(commits, &store)?;
        commits += 1;
    }
    say(commits)?;
    wait()?;
    let failed = loop {
        match commit(commits, &store) {
            Ok(()) if commits > MAX_COMMITS => return Err("the disk does not fill up".into()),
            Ok(()) => commits += 1,
            failed => break failed,
        }
    };
    eprintln!("after {commits} commits: {failed:?}");
    expect_no_space(failed)?;
    // Nothing further may kill the process, whether it succeeds or not.
    let _ = store.checkpoint();
    let _ = store.sync();
    let _ = store.close();
    say(commits)
}

/// Checks that the store holds what was acknowledged, and at most one more commit for each
/// process whose last commit was not.
fn expect_commits(path: &Path, acknowledged: u64, processes: u64) -> TestResult {
    let store = open(path)?;
    let found = state(&store)?.entries;
    if !(acknowledged..=acknowledged + processes).contains(&found) {
        return Err(format!("{acknowledged} were acknowledged, and {found} are there").into());
    }
    store.check()?.into_result()?;
    commit(&store)?;
    Ok(store.close()?)
}

fn reflink(from: &Path, to: &Path) -> TestResult {
    let copied = Command::new("cp").arg("--reflink=always").args([from, to]).status()?;
    if copied.success() { Ok(()) } else { Err("cp --reflink=always".into()) }
}

fn a_copy_meanwhile(act: &str) -> TestResult {
    let bench = Bench::new()?;
    let mounted = bench.mount_new(Kind::Xfs)?;
    let path = mounted.path().join("store");
    make(&path)?;
    let count = if act == "share" { 2 } else { 1 };
    let mut actors = Vec::new();
    for _ in 0..count {
        actors.push(Actor::start(act, &path)?);
    }
    for actor in &mut actors {
        actor.hear()?;
    }
    reflink(&path, &mounted.path().join("copy"))?;
    let ballast = Ballast::take_all(mounted.path())?;
    let mut commits = 0;
    for actor in &mut actors {
        actor.go_on()?;
        commits += actor.hear()?;
    }
    for actor in actors {
        actor.end()?;
    }
    ballast.remove()?;
    expect_commits(&path, commits, count)?;
    // The copy has the state of the time when it was made, and is a store too.
    expect_commits(&mounted.path().join("copy"), 3 * count, 0)?;
    mounted.unmount()
}

fn a_copy_that_is_opened() -> TestResult {
    let bench = Bench::new()?;
    let mounted = bench.mount_new(Kind::Xfs)?;
    let (path, copy) = (mounted.path().join("store"), mounted.path().join("copy"));
    make(&path)?;
    reflink(&path, &copy)?;
    let mut actor = Actor::start("commit", &copy)?;
    actor.hear()?;
    let ballast = Ballast::take_all(mounted.path())?;
    actor.go_on()?;
    let commits = actor.hear()?;
    actor.end()?;
    ballast.remove()?;
    expect_commits(&copy, commits, 1)?;
    expect_commits(&path, 0, 0)?;
    mounted.unmount()
}

/// Commits in a shared store until its disk is full, with a snapshot that stays pinned until the
/// test says otherwise.
fn read_while_cut_off(path: &Path) -> TestResult {
    let store = open_shared(path)?;
    let snapshot = store.read()?;
    commit(&store)?;
    say(1)?;
    wait()?;
    let failed = commit(&store);
    // Space for the page where processes meet may have been there, and none for the log.
    if failed.is_ok() || store.read().is_ok() {
        return say(FOUND_SPACE);
    }
    expect_no_space(failed)?;
    expect_no_space(commit(&store))?;
    assert!(snapshot.root::<Entry>("list")?.is_null(), "the snapshot has changed");
    assert!(store.read().is_err(), "what is begun now would not be known to the others");
    say(0)?;
    wait()?;
    assert!(snapshot.root::<Entry>("list")?.is_null(), "the snapshot has changed");
    let values = snapshot.root::<[u64]>("values")?;
    assert!(snapshot.at(values)?.iter().all(|value| *value == 0));
    drop(snapshot);
    say(0)?;
    wait()?;
    drop(store);
    Ok(())
}

/// What a child reports that found space on a disk that is full.
const FOUND_SPACE: u64 = u64::MAX;

/// One process finds no block for the coordination page; then there is space again.
///
/// xfs gives a file more blocks than one page needs when it copies one. If the living process wrote
/// just then, these serve the other one too, and it is tried again.
fn one_is_cut_off() -> TestResult {
    for _ in 0..10 {
        if was_cut_off()? {
            return Ok(());
        }
    }
    Err("there was always space after all".into())
}

fn was_cut_off() -> TestResult<bool> {
    let bench = Bench::new()?;
    let mounted = bench.mount_new(Kind::Xfs)?;
    let path = mounted.path().join("store");
    make(&path)?;
    let mut actor = Actor::start("read while cut off", &path)?;
    actor.hear()?;
    let store = open_shared(&path)?;
    commit(&store)?;
    reflink(&path, &mounted.path().join("copy"))?;
    let ballast = Ballast::take_all(mounted.path())?;
    actor.go_on()?;
    let is_cut_off = actor.hear()? != FOUND_SPACE;
    ballast.remove()?;
    if !is_cut_off {
        actor.end()?;
        store.close()?;
        mounted.unmount()?;
        return Ok(false);
    }
    commit(&store)?;
    assert_eq!(store.read()?.at(store.read()?.root::<Entry>("list")?)?.number, 2);
    // Its reader still uses pages of the file.
    let refused = store.checkpoint();
    let is_in_the_way =
        |error: &flagstone::Error| matches!(error.kind(), ErrorKind::ProcessUnresponsive { .. });
    assert!(refused.as_ref().is_err_and(is_in_the_way), "{refused:?}");
    commit(&store)?;
    actor.go_on()?;
    actor.hear()?;
    store.checkpoint()?;
    commit(&store)?;
    actor.go_on()?;
    actor.end()?;
    store.close()?;
    expect_commits(&path, 5, 0)?;
    mounted.unmount()?;
    Ok(true)
}

fn overlay(below: &Path, at: &Path) -> TestResult<Mounted> {
    for name in ["lower", "upper", "work"] {
        std::fs::create_dir_all(below.join(name))?;
    }
    std::fs::create_dir_all(at)?;
    let part = |name: &str| below.join(name).display().to_string();
    let (lower, upper, work) = (part("lower"), part("upper"), part("work"));
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let options = std::ffi::CString::new(options)?;
    mount("overlay", at, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .map_err(|error| format!("mount an overlayfs: {error}"))?;
    Ok(Mounted::at(at))
}

fn below_an_overlay(kind: Kind) -> TestResult {
    for act in ["commit", "mix", "share"] {
        let bench = Bench::new()?;
        let mounted = bench.mount_new(kind)?;
        let below = mounted.path();
        std::fs::create_dir(below.join("lower"))?;
        make(&below.join("lower/store"))?;
        let over = overlay(below, &bench.path("over"))?;
        let path = over.path().join("store");
        let mut actor = Actor::start(act, &path)?;
        actor.hear()?;
        if kind != Kind::Ext4 {
            reflink(&below.join("upper/store"), &below.join("copy"))?;
        }
        let ballast = Ballast::take_all(below)?;
        rustix::fs::syncfs(std::fs::File::open(below)?)?;
        actor.go_on()?;
        let commits = actor.hear()?;
        actor.end()?;
        ballast.remove()?;
        expect_commits(&path, commits, 1)?;
        over.unmount()?;
        mounted.unmount()?;
    }
    Ok(())
}

/// Tries all ways to open a store on a disk that may be full. Reports how many of them worked.
fn try_all_ways(path: &Path) -> TestResult {
    let mut worked = 0;
    let mut note = |way: &str, result: Result<()>| match result {
        Ok(()) => {
            worked += 1;
            Ok(())
        }
        failed => {
            eprintln!("{way}: {failed:?}");
            expect_no_space(failed)
        }
    };
    note("to read", open_read_only(path).and_then(|store| look(&store)))?;
    note("shared", open_shared(path).and_then(|store| look_and_change(&store)))?;
    note("alone", open(path).and_then(|store| look_and_change(&store)))?;
    note("alone, deferred", open_with(path, &options()).and_then(|store| look_and_change(&store)))?;
    say(worked)
}

fn look(store: &Store) -> Result<()> {
    let found = state(store)?;
    assert!(found.entries >= 20, "{found:?}");
    store.check().map(drop)
}

fn look_and_change(store: &Store) -> Result<()> {
    look(store)?;
    for value in 1..=50 {
        store.update(|tx| {
            let link = tx.root::<[u64]>("values")?;
            tx.at_mut(link).map(|all| all.fill(value))
        })?;
        commit(store)?;
    }
    store.sync()
}

/// Makes changes that fit into the log, whose space was allocated when the store was opened.
fn change_some(store: &Store) -> Result<()> {
    for value in (1..=4).chain([0]) {
        store.update(|tx| {
            let some = tx.root::<[u64]>("values")?.prefix(200).expect("as many");
            tx.at_mut(some).map(|some| some.fill(value))
        })?;
    }
    store.sync()
}

/// Returns a store left by a dead process, with holes where it is zero.
fn leave_sparse(bench: &Bench, folder: &Path) -> TestResult<PathBuf> {
    let left = bench.path("left");
    make(&left)?;
    let mut actor = Actor::start("leave", &left)?;
    actor.hear()?;
    actor.end()?;
    let sparse = folder.join("store");
    copy_sparse(&left, &sparse)?;
    std::fs::remove_file(&left)?;
    let found = std::fs::metadata(&sparse)?;
    use std::os::unix::fs::MetadataExt;
    assert!(found.blocks() * 512 < found.len() / 2, "it is not sparse");
    Ok(sparse)
}

fn holes_on(kind: Kind) -> TestResult {
    let bench = Bench::new()?;
    let mounted = bench.mount_new(kind)?;
    fill_with_holes(&bench, mounted.path())?;
    mounted.unmount()
}

/// Pages that closing gave back are taken again while the disk is full. That is an error of the
/// transaction, and not of a checkpoint after it.
fn punched_on(kind: Kind) -> TestResult {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new()?;
    let mounted = bench.mount_new(kind)?;
    let path = mounted.path().join("store");
    make(&path)?;
    let store = open_with(&path, &options())?;
    let large = store.update(|tx| tx.alloc_slice_copy(&[1u8; 2 << 20]))?;
    commit(&store)?;
    store.update(|tx| push(tx, 1, 3000))?;
    store.checkpoint()?;
    store.update(|tx| tx.free(large))?;
    store.close()?;
    let found = std::fs::metadata(&path)?;
    assert!(found.blocks() * 512 + (1 << 20) < found.len(), "nothing was given back: {found:?}");
    let ballast = Ballast::take_all(mounted.path())?;
    let store = open_with(&path, &options())?;
    assert_refused!(store.update(|tx| push(tx, 2, 1 << 20)), NoSpace { .. });
    // What needs no page goes on, and checkpoints do.
    for value in 1..100 {
        store.update(|tx| {
            let some = tx.root::<[u64]>("values")?.prefix(200).expect("as many");
            tx.at_mut(some).map(|some| some.fill(value))
        })?;
        store.checkpoint()?;
    }
    store.update(|tx| {
        let all = tx.root::<[u64]>("values")?;
        tx.at_mut(all).map(|all| all.fill(0))
    })?;
    ballast.remove()?;
    store.update(|tx| push(tx, 2, 1 << 20))?;
    store.close()?;
    expect_commits(&path, 3, 0)?;
    mounted.unmount()
}

fn holes_in_memory() -> TestResult {
    let bench = Bench::new()?;
    let mounted = mount_memory(&bench.folder("small")?, 16 << 20)?;
    fill_with_holes(&bench, mounted.path())?;
    let over = bench.path("over");
    let over = overlay(mounted.path(), &over)?;
    let sparse = leave_sparse(&bench, over.path())?;
    let ballast = Ballast::take_all(mounted.path())?;
    try_in_a_child(&sparse)?;
    ballast.remove()?;
    over.unmount()?;
    mounted.unmount()
}

fn try_in_a_child(sparse: &Path) -> TestResult<u64> {
    let mut actor = Actor::start("try", sparse)?;
    let worked = actor.hear()?;
    actor.end()?;
    Ok(worked)
}

fn fill_with_holes(bench: &Bench, folder: &Path) -> TestResult {
    let sparse = leave_sparse(bench, folder)?;
    let ballast = Ballast::take_all(folder)?;
    let worked = try_in_a_child(&sparse)?;
    assert!(worked < 4, "the disk was not full");
    // The full disk has done no harm.
    ballast.remove()?;
    assert_eq!(try_in_a_child(&sparse)?, 4, "with space, each way to open it works");
    std::fs::remove_file(&sparse)?;
    // If there is space for the holes at the opening, none is needed later.
    let sparse = leave_sparse(bench, folder)?;
    let mut actor = Actor::start("hold", &sparse)?;
    actor.hear()?;
    let ballast = Ballast::take_all(folder)?;
    actor.go_on()?;
    actor.hear()?;
    actor.end()?;
    ballast.remove()?;
    expect_commits(&sparse, 20, 0)?;
    Ok(std::fs::remove_file(&sparse)?)
}
