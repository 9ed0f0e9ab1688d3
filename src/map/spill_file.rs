//! A file that takes over pages of an image, so that they need no memory.
//!
//! **Owns** the order of its steps, and with it the proof that no byte behind a reference changes
//! (docs/design/spilling.md). **Must not know** which pages are worth it, nor whose file it is.
//!
//! Not to be confused with the entries of a transaction that is longer than the log, which are
//! "spilled" into the store's own file (`engine::spill`).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use super::{PrivateMap, machine_page_bytes};
use crate::mutation::{ActiveMutation, Mutation};

/// A nameless file of one image. Offsets in it are those in the image. A range that is mapped is never
/// written again.
pub(crate) struct SpillFile {
    file: File,
    /// Whether a write or a sync has failed. A file system may then take blocks for written that are not,
    /// and show zeros when a later sync has succeeded: nothing more is taken over.
    has_failed: AtomicBool,
}

impl SpillFile {
    /// Takes a file that is open for reading and writing, is empty, and that nobody else has.
    pub(crate) fn new(file: File) -> Self {
        Self { file, has_failed: AtomicBool::new(false) }
    }

    /// Has the file show `runs` of `map`, whose bytes do not change any more, in the place of whatever
    /// shows them now. No run overlaps another one, nor one of an earlier call.
    ///
    /// After an error, the first runs may have been taken over: returns how many, with the error. The
    /// others are as before.
    pub(crate) fn take_over(
        &self,
        map: &PrivateMap,
        runs: &[Range<u64>],
        mutation: ActiveMutation,
    ) -> (usize, io::Result<()>) {
        let (placed, result) = match self.copy(map, runs) {
            Ok(()) => self.place(map, runs, mutation),
            Err(error) => (0, Err(error)),
        };
        // The space comes back when the image is dropped, at the latest.
        for run in &runs[placed..] {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = retry_on_intr(|| fallocate(&self.file, flags, run.start, length(run)));
        }
        (placed, result)
    }

    /// Makes the file hold what the map shows in `runs`.
    fn copy(&self, map: &PrivateMap, runs: &[Range<u64>]) -> io::Result<()> {
        expect_allowed(runs)?;
        if self.has_failed.load(Relaxed) {
            return Err(Errno::IO.into());
        }
        for run in runs {
            // A full disk shows before anything is read. A file system that cannot reserve space says
            // so, or reports it at the write.
            let flags = FallocateFlags::empty();
            match retry_on_intr(|| fallocate(&self.file, flags, run.start, length(run))) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.write(map, runs).inspect_err(|_| self.has_failed.store(true, Relaxed))
    }

    fn write(&self, map: &PrivateMap, runs: &[Range<u64>]) -> io::Result<()> {
        for run in runs {
            let bytes = map.items::<u8>(run.start, length(run));
            let bytes = bytes.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            // The kernel reads them: a page that the disk cannot read is an error here, and no signal.
            self.file.write_all_at(bytes, run.start)?;
        }
        // Otherwise the kernel would drop pages that it cannot write, and show other bytes behind a
        // reference when they are read again.
        self.file.sync_data()
    }

    fn place(
        &self,
        map: &PrivateMap,
        runs: &[Range<u64>],
        mutation: ActiveMutation,
    ) -> (usize, io::Result<()>) {
        // Backwards, since there is nothing behind the last run.
        let shift =
            if mutation.has(Mutation::SpilledRunShifted) { machine_page_bytes() } else { 0 };
        for (placed, run) in runs.iter().enumerate() {
            // SAFETY: `copy` has made the file hold what the map shows there, on the disk as well, so
            // that the kernel finds it whenever it reads the page again. Nobody else has the file, and
            // this writes each range once, before it is mapped. The caller says that the map's
            // bytes do not change.
            if let Err(error) = unsafe { map.replace(run, &self.file, run.start - shift) } {
                return (placed, Err(error));
            }
        }
        (runs.len(), Ok(()))
    }
}

fn length(run: &Range<u64>) -> u64 {
    run.end.saturating_sub(run.start)
}

/// Refuses what the process may not write. The write would raise a signal, which ends a program that
/// has perhaps opened the store to read it.
fn expect_allowed(runs: &[Range<u64>]) -> io::Result<()> {
    let end = runs.iter().map(|run| run.end).max().unwrap_or(0);
    match getrlimit(Resource::Fsize).current {
        Some(most) if most < end => Err(Errno::FBIG.into()),
        _ => Ok(()),
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
    use crate::map::Excluded;
    use std::fs::OpenOptions;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    const RUN_BYTES: u64 = 64 * 1024;
    const RUNS: u64 = 32;
    const BYTES: u64 = RUNS * RUN_BYTES;
    const NONE: fn() -> ActiveMutation = ActiveMutation::default;

    /// A map of a file whose words are all different, with some private pages.
    fn map(folder: &tempfile::TempDir) -> (PrivateMap, File) {
        let path = folder.path().join("store");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = file.expect("a file");
        let words: Vec<u8> = (0..BYTES / 8).flat_map(u64::to_ne_bytes).collect();
        file.write_all_at(&words, HEAP_START_BYTES).expect("a write");
        let mut map = PrivateMap::of_file(&file, BYTES).expect("a map");
        map.set_view(BYTES, [Excluded::default(); 2]);
        let unit = machine_page_bytes();
        for page in (0..BYTES / unit).step_by(3) {
            map.freeze(page * unit, unit).expect("a copy");
        }
        (map, file)
    }

    fn file(folder: &tempfile::TempDir, options: &OpenOptions) -> SpillFile {
        let path = folder.path().join("spilled");
        File::create(&path).expect("a file");
        SpillFile::new(options.open(path).expect("a file"))
    }

    fn spill_file(folder: &tempfile::TempDir) -> SpillFile {
        file(folder, OpenOptions::new().read(true).write(true))
    }

    fn run(number: u64) -> Range<u64> {
        number * RUN_BYTES..(number + 1) * RUN_BYTES
    }

    #[track_caller]
    fn expect_unchanged(map: &PrivateMap) {
        let words = map.items::<u64>(0, BYTES / 8).expect("the words");
        assert!(words.iter().copied().eq(0..BYTES / 8));
    }

    /// Returns how many mappings the first `BYTES` of the map are.
    fn mappings(map: &PrivateMap) -> usize {
        let base = map.items::<u8>(0, 1).expect("a byte").as_ptr() as u64;
        let maps = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
        let starts =
            maps.lines().filter_map(|line| u64::from_str_radix(line.split('-').next()?, 16).ok());
        starts.filter(|start| (base..base + BYTES).contains(start)).count()
    }

    /// The file of the store changes afterwards, as by a checkpoint.
    #[test]
    fn no_byte_changes_while_others_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let ((map, store), spilled) = (map(&folder), spill_file(&folder));
        let (is_over, looks) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    expect_unchanged(&map);
                    looks.fetch_add(1, SeqCst);
                }
            });
            // Every second one, then the others, so that mappings are split and joined.
            for number in (0..RUNS).step_by(2).chain((1..RUNS).step_by(2)) {
                let (placed, result) = spilled.take_over(&map, &[run(number)], NONE());
                result.expect("it is taken over");
                assert_eq!(placed, 1);
                let seen = looks.load(SeqCst);
                while looks.load(SeqCst) == seen {
                    std::thread::yield_now();
                }
            }
            is_over.store(true, SeqCst);
        });
        assert_eq!(mappings(&map), 1, "neighbours are one mapping");
        store.write_all_at(&vec![7; BYTES as usize], HEAP_START_BYTES).expect("a write");
        expect_unchanged(&map);
    }

    #[test]
    fn each_part_that_stands_alone_takes_two_mappings() {
        let folder = tempfile::tempdir().expect("a folder");
        let ((map, _store), spilled) = (map(&folder), spill_file(&folder));
        let runs: Vec<_> = (1..RUNS - 1).step_by(2).map(run).collect();
        spilled.take_over(&map, &runs, NONE()).1.expect("they are taken over");
        assert_eq!(mappings(&map), 1 + 2 * runs.len());
    }

    #[test]
    fn after_a_failure_the_bytes_are_as_before() {
        let runs = [run(1), run(2), run(5)];
        // The copy fails; the file cannot be mapped.
        for options in [OpenOptions::new().read(true), OpenOptions::new().write(true)] {
            let folder = tempfile::tempdir().expect("a folder");
            let ((mut map, _store), spilled) = (map(&folder), file(&folder, options));
            let (placed, result) = spilled.take_over(&map, &runs, NONE());
            assert_eq!((placed, result.is_err()), (0, true));
            expect_unchanged(&map);
            map.release_memory(0, machine_page_bytes()).expect("it is still one mapping");
        }
    }

    #[test]
    fn ranges_that_no_reference_may_touch_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let ((mut map, _store), spilled) = (map(&folder), spill_file(&folder));
        let hole = Excluded { start: run(3).start, end: run(3).start + PAGE_BYTES };
        map.set_view(BYTES - PAGE_BYTES, [hole, Excluded::default()]);
        for number in [3, RUNS - 1, RUNS] {
            assert!(spilled.take_over(&map, &[run(number)], NONE()).1.is_err(), "{number}");
        }
        map.set_view(BYTES, [Excluded::default(); 2]);
        expect_unchanged(&map);
    }

    #[test]
    fn a_map_in_pieces_neither_moves_nor_gives_pages_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let ((mut map, _store), spilled) = (map(&folder), spill_file(&folder));
        spilled.take_over(&map, &[run(4)], NONE()).1.expect("it is taken over");
        assert!(map.freeze(run(4).start, machine_page_bytes()).is_err(), "it cannot be written");
        map.freeze(run(5).start, RUN_BYTES).expect("the page beside it can");
        assert!(map.release_memory(0, machine_page_bytes()).is_err());
        assert!(map.resize(2 * BYTES).is_err());
        expect_unchanged(&map);
    }
}
