//! The file that takes over pages of an image (`map::SpillFile`): nameless, beside the store.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fchmod, openat};

use super::draft::Draft;
use super::file_system::{FileSystem, folder_of};
use super::retry::uninterrupted;
use crate::map::SpillFile;

/// Makes a file in the folder of the store's file `heap`. `None` if the folder may be in memory, or on
/// another machine. `path` is the name that the file was opened by.
pub(super) fn open_spill_file(heap: &File, path: &Path) -> io::Result<Option<SpillFile>> {
    let folder = folder_now(heap, path);
    if !FileSystem::at(&folder)?.saves_memory() {
        return Ok(None);
    }
    // Whatever the reason, a draft shows it too.
    let file = nameless(&folder).or_else(|_| draft_without_name(&folder, path))?;
    Ok(Some(SpillFile::new(file)))
}

/// Returns the folder in which the file is now: it may have been opened by a relative path, or through
/// a link.
fn folder_now(heap: &File, path: &Path) -> PathBuf {
    let now = std::fs::read_link(format!("/proc/self/fd/{}", heap.as_raw_fd()));
    let now = now.ok().filter(|now| now.is_absolute());
    folder_of(now.as_deref().unwrap_or(path)).to_path_buf()
}

fn nameless(folder: &Path) -> io::Result<File> {
    // Nobody may give it a name, nor open it by its number in `/proc`.
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    uninterrupted(|| openat(CWD, folder, flags, Mode::empty())).map(File::from)
}

/// Makes a file with a name and takes the name away. Of a process that is killed in between, a draft is
/// left, which the next creation of a store in the folder removes.
fn draft_without_name(folder: &Path, path: &Path) -> io::Result<File> {
    let (draft, file) = Draft::new(folder, path).map_err(io::Error::other)?;
    drop(draft);
    fchmod(&*file, Mode::empty())?;
    file.try_clone()
}

/// Makes a file in memory, for simulated disks.
#[cfg(any(test, feature = "sim"))]
pub(crate) fn spill_file_in_memory() -> io::Result<SpillFile> {
    let file = rustix::fs::memfd_create("flagstone", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(SpillFile::new(File::from(file)))
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::format::HEAP_START_BYTES;
    use crate::map::{Excluded, PrivateMap};
    use crate::mutation::ActiveMutation;
    use std::os::unix::fs::{FileExt, MetadataExt};

    /// Takes over a run with a file of either kind, and looks for what is left in the folder.
    #[test]
    fn the_file_has_no_name_and_ends_with_its_image() {
        for make in [nameless, |folder: &Path| draft_without_name(folder, folder)] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("store");
            let store = File::options().read(true).write(true).create_new(true).open(path);
            let store = store.expect("a file");
            store.write_all_at(&[7; 2 << 16], HEAP_START_BYTES).expect("a write");
            let mut map = PrivateMap::of_file(&store, 2 << 16).expect("a map");
            map.set_view(2 << 16, [Excluded::default(); 2]);
            let file = match make(folder.path()) {
                Ok(file) => file,
                // A file system without such files.
                Err(error) => {
                    println!("SKIP[the_file_has_no_name_and_ends_with_its_image]: {error}");
                    continue;
                }
            };
            let found = file.metadata().expect("its data");
            assert_eq!((found.nlink(), found.mode() & 0o777), (0, 0));
            let again = file.try_clone().expect("another descriptor");
            let (file, run) = (SpillFile::new(file), 0..1 << 16);
            let runs = std::slice::from_ref(&run);
            let (placed, result) = file.take_over(&map, runs, ActiveMutation::default());
            result.expect("it is taken over");
            assert_eq!(placed, 1);
            assert_eq!(again.metadata().expect("its data").len(), 1 << 16);
            assert_eq!(std::fs::read_dir(folder.path()).expect("names").count(), 1);
        }
    }

    #[test]
    fn the_folder_is_that_of_the_file_whatever_it_was_called() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = folder.path().canonicalize().expect("a path");
        let file = File::create(real.join("store")).expect("a file");
        assert_eq!(folder_now(&file, Path::new("store")), real);
        std::fs::remove_file(real.join("store")).expect("no name");
        assert_eq!(folder_now(&file, Path::new("store")), real);
    }

    #[test]
    fn there_is_none_in_memory() {
        let shm = Path::new("/dev/shm");
        let Ok(folder) = tempfile::tempdir_in(shm) else { return };
        let path = folder.path().join("store");
        let file = File::create(&path).expect("a file");
        if FileSystem::at(shm).is_ok_and(|found| !found.saves_memory()) {
            assert!(open_spill_file(&file, &path).expect("an answer").is_none());
        }
    }
}
