//! Promise: on a full disk, any operation that needs space gets an error. The transaction can be
//! rolled back, the store continues within the space it has, and everything that was committed is
//! there afterwards.
//!
//! A limit on the length of files simulates a full disk, in a child since it applies to the
//! process. The same runs use small file systems where they can be mounted; those get free space
//! again at the end. A page of the file without a block of its own, shared with a copy or a hole,
//! also causes an error and not a signal (`blocks`).

mod blocks;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use flagstone::{
    Durability, ErrorKind, Link, OpenOptions, Report, Result, Store, WriteTx, persist,
};
use rustix::fs::{FallocateFlags, fallocate, statvfs, syncfs};
use testkit::power::Test;
use testkit::power::scratch_fs::{Bench, Kind, mount_memory, probe};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, assert_refused, child, open, open_with};

const CHILD: &str = "FLAGSTONE_FULL_DISK";
const LIMIT: &str = "a limit of the file's length";
const MAX_BYTES: u64 = 4 << 20;

/// A list of the committed entries, newest first.
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

/// The number of entries, each intact, and the value of the large array.
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

/// Checks that the store is intact and holds the expected state.
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

/// Tries everything on a disk without space.
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
    for bytes in [MAX_BYTES, 1 << 30, 100 << 30] {
        let claim = (0..bytes as usize).map(|_| 0u8);
        assert_refused!(store.write()?.alloc_slice(claim), NoSpace { .. });
    }
    // A change that exceeds the log occupies extra space until it commits.
    let changed = store.update(|tx| tx.at_mut(values(tx)?).map(|all| all.fill(7)));
    assert_refused!(changed, NoSpace { .. });
    Ok(())
}

/// Makes many laps of the log, which would grow if it could.
fn change_what_needs_none(store: &Store) -> Result<()> {
    for value in (1..=2000).chain([0]) {
        store.update(|tx| {
            let some = values(tx)?.prefix(200).expect("as many");
            tx.at_mut(some).map(|some| some.fill(value))
        })?;
    }
    Ok(())
}

/// A transaction that was refused space may roll back to a savepoint or continue as it is, and
/// use the memory that it frees.
fn go_on_after_a_refusal(store: &Store, number: u64) -> Result<()> {
    let mut tx = store.write()?;
    let savepoint = tx.savepoint()?;
    assert!(is_full(&push(&mut tx, number + 1, MAX_BYTES as usize)));
    tx.rollback_to(savepoint)?;
    assert_refused!(tx.alloc_slice((0..MAX_BYTES as usize).map(|_| 0u8)), NoSpace { .. });
    let list = tx.root::<Entry>("list")?;
    let freed = tx.at(list)?.bytes;
    tx.free(freed)?;
    let bytes = tx.alloc_slice((0..freed.len() as usize).map(|_| number as u8))?;
    tx.at_mut(list)?.bytes = bytes;
    tx.commit()
}

/// Fills a disk of `MAX_BYTES` at `path`, and examines the result.
fn fill_and_look_again(path: &Path) -> TestResult {
    try_all(path)?;
    let store = open(path)?;
    state(&store)?;
    store.check()?.into_result()?;
    Ok(())
}

fn a_limit_of_the_files_length() -> TestResult {
    if let Some(path) = std::env::var_os(CHILD) {
        return fill_and_look_again(Path::new(&path));
    }
    let path = ScratchFile::new()?;
    let child = child(LIMIT, CHILD, &path);
    // The limit counts blocks of 1024 bytes. It raises a signal, which a program that sets such a
    // limit ignores.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", MAX_BYTES / 1024);
    let mut limited = Command::new("bash");
    limited.args(["-c", &script, "limited"]).arg(child.get_program()).args(child.get_args());
    limited.env(CHILD, &path).stdout(Stdio::null());
    assert!(limited.status()?.success(), "the child failed, see above");
    let store = open(&path)?;
    let State { entries, .. } = state(&store)?;
    store.update(|tx| push(tx, entries, MAX_BYTES as usize))?;
    Ok(())
}

/// Another file, which takes all the space of a disk except `left_bytes`.
struct Ballast<'a> {
    folder: &'a Path,
}

impl<'a> Ballast<'a> {
    fn leave(folder: &'a Path, left_bytes: u64) -> TestResult<Self> {
        let ballast = Self { folder };
        let file = File::create(ballast.path())?;
        // The file system's own overhead for the file shows only afterwards.
        let mut len = 0;
        while let Some(more @ 1..) = free_bytes(folder)?.checked_sub(left_bytes) {
            fallocate(&file, FallocateFlags::empty(), len, more)?;
            len += more;
        }
        Ok(ballast)
    }

    /// Takes all available space.
    fn take_all(folder: &'a Path) -> TestResult<Self> {
        let ballast = Self { folder };
        let file = File::create(ballast.path())?;
        let mut len = 0;
        let mut before = None;
        // xfs frees what it has reserved or removed with a delay, and by then takes less.
        while before != Some(len) {
            before = Some(len);
            for piece in [16 << 20, 1 << 20, 64 << 10, 4 << 10] {
                while fallocate(&file, FallocateFlags::empty(), len, piece).is_ok() {
                    len += piece;
                }
            }
            syncfs(&file)?;
        }
        Ok(ballast)
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.join("ballast")
    }

    fn remove(self) -> TestResult {
        // Truncated first: xfs frees the space of a removed file with a delay.
        File::options().write(true).open(self.path())?.set_len(0)?;
        Ok(std::fs::remove_file(self.path())?)
    }
}

fn free_bytes(folder: &Path) -> TestResult<u64> {
    let found = statvfs(folder)?;
    Ok(found.f_bavail * found.f_frsize)
}

/// Fills the file system of a folder with a store, then frees space again.
fn fill_a_file_system(folder: &Path) -> TestResult {
    refuse_a_new_store(folder)?;
    let ballast = Ballast::leave(folder, MAX_BYTES)?;
    let path = folder.join("store");
    fill_and_look_again(&path)?;
    let store = open(&path)?;
    let mut state = state(&store)?;
    fill(&store, &mut state, 3000)?;
    refuse_what_needs_space(&store)?;
    ballast.remove()?;
    store.update(|tx| push(tx, state.entries, MAX_BYTES as usize))?;
    state.entries += 1;
    expect_sound(&store, state);
    store.close()?;
    expect_sound(&open(&path)?, state);
    Ok(())
}

/// If there is no space for a new store, nothing is left of it.
fn refuse_a_new_store(folder: &Path) -> TestResult {
    let ballast = Ballast::leave(folder, 256 * 1024)?;
    let before = names(folder)?;
    assert_refused!(open(&folder.join("new")), Io { .. });
    assert_eq!(names(folder)?, before);
    ballast.remove()
}

fn names(folder: &Path) -> TestResult<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort();
    Ok(names)
}

fn a_small_tmpfs() -> TestResult {
    let bench = Bench::new()?;
    let mounted = mount_memory(&bench.folder("small")?, 4 * MAX_BYTES)?;
    fill_a_file_system(mounted.path())?;
    mounted.unmount()
}

fn a_small_disk(kind: Kind) -> TestResult {
    let bench = Bench::new()?;
    let mounted = bench.mount_new(kind)?;
    fill_a_file_system(mounted.path())?;
    mounted.unmount()
}

/// btrfs never overwrites data in place, so on a full disk even a commit that does not extend the
/// file may fail. The store is then poisoned; nothing that was acknowledged is lost, and
/// reopening works once there is space again.
fn a_full_disk_that_copies_on_write() -> TestResult {
    let bench = Bench::new()?;
    let mounted = bench.mount_new(Kind::Btrfs)?;
    let (folder, path) = (mounted.path(), mounted.path().join("store"));
    let store = open(&path)?;
    store.update(|tx| {
        let values = tx.alloc_slice_copy(&[0u64; 1000])?;
        tx.set_root("values", values)
    })?;
    let ballast = Ballast::take_all(folder)?;
    let mut state = State::default();
    let failed = loop {
        match store.update(|tx| push(tx, state.entries, 3000)) {
            Ok(()) => state.entries += 1,
            full if is_full(&full) => break store.checkpoint(),
            failed => break failed,
        }
    };
    assert!(failed.is_err(), "a checkpoint needs space, too");
    expect_sound(&store, state);
    drop(store);
    ballast.remove()?;
    let store = open(&path)?;
    let found = self::state(&store)?;
    // A failed commit may or may not have happened.
    state.entries = found.entries.clamp(state.entries, state.entries + 1);
    expect_sound(&store, state);
    store.update(|tx| push(tx, state.entries, MAX_BYTES as usize))?;
    store.close()?;
    mounted.unmount()
}

/// What a reader holds stays in memory while there is no space for it, and is spilled afterwards.
fn a_reader_on_a_full_disk(kind: Kind) -> TestResult {
    const WORDS: u64 = (16 << 20) / 8;
    const LEFT_BYTES: u64 = 3 << 20;
    let bench = Bench::new()?;
    let mounted = bench.mount_new(kind)?;
    let folder = mounted.path();
    let options = OpenOptions::new().log_bytes(64 * 1024).durability(Durability::Deferred);
    // As many pages of any size, so that a checkpoint needs more runs than there is space for.
    let options = options.memory_budget_bytes(256 * testkit::machine_page_bytes());
    let options = options.max_spill_bytes(u64::MAX);
    let store = open_with(&folder.join("store"), &options)?;
    let table = store.update(|tx| tx.alloc_slice((0..WORDS as usize).map(|word| word as u64)))?;
    store.checkpoint()?;
    let held = store.read()?;
    let change = |first: u64| -> TestResult {
        for page in (first..WORDS / 512).step_by(16) {
            let at = table.index(page * 512).expect("an element");
            store.update(|tx| tx.at_mut(at).map(|word| *word = u64::MAX))?;
        }
        store.checkpoint()?;
        assert!(held.at(table)?.iter().copied().eq(0..WORDS), "the snapshot has changed");
        Ok(())
    };
    let ballast = Ballast::leave(folder, LEFT_BYTES)?;
    for first in 0..3 {
        change(first)?;
        let stats = store.stats()?;
        assert!(stats.is_spill_refused && stats.spilled_bytes == 0, "{stats:?}");
        assert!(stats.held_private_bytes > stats.memory_budget_bytes / 2, "{stats:?}");
    }
    assert!(free_bytes(folder)? >= LEFT_BYTES / 2, "what was reserved is given back");
    ballast.remove()?;
    change(3)?;
    let stats = store.stats()?;
    assert!(!stats.is_spill_refused && stats.spilled_bytes > WORDS / 2, "{stats:?}");
    assert_eq!(names(folder)?.iter().filter(|name| *name != "lost+found").count(), 1);
    drop(held);
    store.update(|tx| push(tx, 0, 10))?;
    assert_eq!(store.stats()?.spilled_bytes, 0);
    store.check()?.into_result()?;
    store.close()?;
    mounted.unmount()
}

pub fn tests() -> Vec<Test> {
    let test = |name: &str, probe: fn() -> TestResult, run: fn() -> TestResult| Test {
        name: name.to_string(),
        probe: Box::new(probe),
        run: Box::new(run),
    };
    let mut tests = vec![
        test(LIMIT, || Ok(()), a_limit_of_the_files_length),
        test("a small tmpfs", || Bench::new().map(drop), a_small_tmpfs),
        test("a small ext4", || probe(Kind::Ext4), || a_small_disk(Kind::Ext4)),
        test("a small xfs", || probe(Kind::Xfs), || a_small_disk(Kind::Xfs)),
        test("a full btrfs", || probe(Kind::Btrfs), a_full_disk_that_copies_on_write),
        test(
            "a reader on a full ext4",
            || probe(Kind::Ext4),
            || a_reader_on_a_full_disk(Kind::Ext4),
        ),
        test("a reader on a full xfs", || probe(Kind::Xfs), || a_reader_on_a_full_disk(Kind::Xfs)),
    ];
    tests.extend(blocks::tests());
    tests
}
