//! Promise: where the disk is full, whoever needs space gets an error; the
//! transaction can be rolled back, the store works on within what it has, and
//! everything that was committed is there afterwards.
//!
//! A limit on the length of files stands in for a full disk, in a child since it
//! holds for a process; the same runs on a small tmpfs where one can be mounted.

mod common;

use std::path::Path;
use std::process::Command;

use common::{TestResult, assert_refused, child, open, open_with};
use flagstone::{
    Durability, ErrorKind, Link, OpenOptions, Report, Result, Store, WriteTx, persist,
};

const CHILD: &str = "FLAGSTONE_FULL_DISK";
const MOST_BYTES: u64 = 4 << 20;

/// A list of what was committed, newest first.
#[persist]
struct Entry {
    number: u64,
    bytes: Link<[u8]>,
    next: Link<Entry>,
}

fn push(tx: &mut WriteTx<'_>, number: u64, len: usize) -> Result<()> {
    let next = tx.root::<Entry>("list")?;
    let bytes = tx.alloc_slice((0..len).map(|_| number as u8))?;
    let entry = tx.alloc(Entry { number, bytes, next })?;
    tx.set_root("list", entry)
}

/// Entries that are there, each whole, and the value of the large array.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    entries: u64,
    value: u64,
}

fn state(store: &Store) -> Result<State> {
    let tx = store.read()?;
    let mut at = tx.root::<Entry>("list")?;
    let mut numbers = Vec::new();
    while let Some(entry) = tx.get(at)? {
        assert!(tx.at(entry.bytes)?.iter().all(|byte| *byte == entry.number as u8));
        numbers.push(entry.number);
        at = entry.next;
    }
    let entries = numbers.len() as u64;
    assert!(numbers.into_iter().eq((0..entries).rev()), "entries are missing");
    let values = tx.at(tx.root::<[u64]>("values")?)?;
    assert!(values.iter().all(|value| *value == values[0]), "half of a transaction");
    Ok(State { entries, value: values[0] })
}

fn is_full<T>(result: &Result<T>) -> bool {
    matches!(result, Err(error) if matches!(error.kind(), ErrorKind::NoSpace { .. }))
}

/// That the store is in order, and holds what it must.
#[track_caller]
fn expect_sound(store: &Store, expected: State) {
    assert_eq!(state(store).expect("the state"), expected);
    store.check().and_then(Report::into_result).expect("no finding");
}

/// Commits entries of `len` bytes until there is no space for another.
fn fill(store: &Store, state: &mut State, len: usize) -> Result<()> {
    loop {
        let pushed = store.update(|tx| push(tx, state.entries, len));
        state.entries += u64::from(pushed.is_ok());
        expect_sound(store, *state);
        match pushed {
            Ok(()) => {}
            full if is_full(&full) => return Ok(()),
            failed => return failed,
        }
    }
}

/// Everything that is to be tried on a disk without space.
fn try_all(path: &Path) -> Result<()> {
    let options = OpenOptions::new().log_bytes(64 * 1024).durability(Durability::Deferred);
    let store = open_with(path, &options)?;
    store.update(|tx| {
        let values = tx.alloc_slice_copy(&[0u64; 200_000])?;
        tx.set_root("values", values)
    })?;
    let mut state = State::default();
    for len in [50_000, 3000, 10] {
        fill(&store, &mut state, len)?;
    }
    refuse_what_needs_space(&store)?;
    expect_sound(&store, state);
    change_what_needs_none(&store).expect("no space is needed");
    expect_sound(&store, state);
    go_on_after_a_refusal(&store, state.entries - 1).expect("space was freed");
    expect_sound(&store, state);
    store.close()?;
    let store = open(path)?;
    expect_sound(&store, state);
    store.close()
}

fn values(tx: &WriteTx<'_>) -> Result<Link<[u64]>> {
    tx.root("values")
}

fn refuse_what_needs_space(store: &Store) -> Result<()> {
    for bytes in [MOST_BYTES, 1 << 30, 100 << 30] {
        let claim = (0..bytes as usize).map(|_| 0u8);
        assert_refused!(store.write()?.alloc_slice(claim), NoSpace { .. });
    }
    // A change that is larger than the log lies beside it until it is done.
    let changed = store.update(|tx| tx.at_mut(values(tx)?).map(|all| all.fill(7)));
    assert_refused!(changed, NoSpace { .. });
    Ok(())
}

/// Many laps of the log, which would like to be longer.
fn change_what_needs_none(store: &Store) -> Result<()> {
    for value in (1..=2000).chain([0]) {
        store.update(|tx| {
            let some = values(tx)?.prefix(200).expect("as many");
            tx.at_mut(some).map(|some| some.fill(value))
        })?;
    }
    Ok(())
}

/// A transaction that was refused space may be taken back to a savepoint or go
/// on as it is, and use what it frees.
fn go_on_after_a_refusal(store: &Store, number: u64) -> Result<()> {
    let mut tx = store.write()?;
    let savepoint = tx.savepoint()?;
    assert!(is_full(&push(&mut tx, number + 1, MOST_BYTES as usize)));
    tx.rollback_to(savepoint)?;
    assert_refused!(tx.alloc_slice((0..MOST_BYTES as usize).map(|_| 0u8)), NoSpace { .. });
    let list = tx.root::<Entry>("list")?;
    let freed = tx.at(list)?.bytes;
    tx.free(freed)?;
    let bytes = tx.alloc_slice((0..freed.len() as usize).map(|_| number as u8))?;
    tx.at_mut(list)?.bytes = bytes;
    tx.commit()
}

/// Fills a disk of `MOST_BYTES` at `path`, and looks at what is there.
fn fill_and_look_again(path: &Path) -> TestResult {
    try_all(path)?;
    let store = open(path)?;
    state(&store)?;
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn a_limit_of_the_files_length_is_a_full_disk() -> TestResult {
    if let Some(path) = std::env::var_os(CHILD) {
        return fill_and_look_again(Path::new(&path));
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let child = child("a_limit_of_the_files_length_is_a_full_disk", CHILD, &path);
    // The limit counts blocks of 1024 bytes. It comes with a signal, which a
    // program that sets such a limit ignores.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", MOST_BYTES / 1024);
    let mut limited = Command::new("bash");
    limited.args(["-c", &script, "limited"]).arg(child.get_program()).args(child.get_args());
    assert!(limited.env(CHILD, &path).status()?.success(), "the child failed, see above");
    let store = open(&path)?;
    let State { entries, .. } = state(&store)?;
    store.update(|tx| push(tx, entries, MOST_BYTES as usize))?;
    Ok(())
}

/// A small file system in memory, gone when it is dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount() -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={MOST_BYTES}"), "tmpfs"]);
        let done = mount.arg(folder.path()).output()?;
        match done.status.success() {
            true => Ok(Self(folder)),
            false => Err(String::from_utf8_lossy(&done.stderr).trim().into()),
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_small_file_system_is_a_full_disk() -> TestResult {
    match Tmpfs::mount() {
        Ok(tmpfs) => fill_and_look_again(&tmpfs.0.path().join("store"))?,
        Err(reason) => println!("SKIP[tmpfs]: {reason}"),
    }
    Ok(())
}
