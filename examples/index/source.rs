//! The files that are indexed: found, read, and told whether they changed.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flagstone::persist;
use walkdir::WalkDir;
use xxhash_rust::xxh3::xxh3_64;

use crate::failure::{Failure, on_file};

/// A NUL within so many first bytes makes a file binary, as for git.
const HEAD_BYTES: u64 = 8192;

/// How old a change must be before its time is trusted: a later one within the
/// same tick of a file system's clock (up to two seconds) would not show.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells that a file is as it was.
#[persist]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub size_bytes: u64,
    /// Time of the last change: seconds, nanoseconds; or [`UNSETTLED`].
    modified: [i64; 2],
    content_hash: u64,
}

/// The time of a change that was too young to be trusted.
const UNSETTLED: [i64; 2] = [i64::MIN, 0];

impl Stamp {
    /// The stamp of `content`, which was read after `metadata`: a change in
    /// between makes the time wrong, and so the file is looked at again.
    pub fn of(metadata: &Metadata, content: &[u8]) -> Self {
        let modified = [metadata.mtime(), metadata.mtime_nsec()];
        let age =
            metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        let is_settled = age.is_some_and(|age| age > SETTLED);
        Self {
            size_bytes: content.len() as u64,
            modified: if is_settled { modified } else { UNSETTLED },
            content_hash: xxh3_64(content),
        }
    }

    /// Whether size and time alone show that the file is as it was.
    pub fn is_time_of(&self, metadata: &Metadata) -> bool {
        let modified = [metadata.mtime(), metadata.mtime_nsec()];
        self.size_bytes == metadata.size() && self.modified == modified
    }

    /// Whether both are of the same content.
    pub fn is_content_of(&self, other: &Self) -> bool {
        self.size_bytes == other.size_bytes && self.content_hash == other.content_hash
    }

    /// Whether the file at `path` still has this content. Its bytes are read
    /// only if its time does not tell.
    pub fn holds_for(&self, path: &Path, metadata: &Metadata) -> Result<bool, Failure> {
        if self.is_time_of(metadata) {
            return Ok(true);
        }
        if self.size_bytes != metadata.size() {
            return Ok(false);
        }
        let content = std::fs::read(path).map_err(on_file("read the file", path))?;
        Ok(self.is_content_of(&Self::of(metadata, &content)))
    }
}

/// The bytes of a text file; `None` for a binary one, whose rest is not read.
pub fn read_text(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let mut file = File::open(path).map_err(on_file("open the file", path))?;
    let mut content = Vec::new();
    let head = (&mut file).take(HEAD_BYTES).read_to_end(&mut content);
    head.map_err(on_file("read the file", path))?;
    if content.contains(&0) {
        return Ok(None);
    }
    let rest = file.read_to_end(&mut content);
    rest.map_err(on_file("read the file", path))?;
    Ok(Some(content))
}

/// One path for each file, however it is named: absolute, without links in it.
/// A path that no longer leads anywhere is made absolute alone, so that it can
/// name what was once there.
pub fn resolved(path: &Path) -> Result<PathBuf, Failure> {
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(error) if is_gone(&error) => {
            std::path::absolute(path).map_err(on_file("make an absolute path of", path))
        }
        Err(error) => Err(on_file("follow the path", path)(error)),
    }
}

/// Whether there is no file at `path` any more, as far as can be told.
pub fn is_vanished(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(found) => !found.is_file(),
        Err(error) => is_gone(&error),
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// The file `root`, or the files under the folder `root`, in the order of
/// their names. Links in a folder are not followed, as by `grep -r`. What
/// cannot be looked at is handed to `on_error`.
pub fn files_under(
    root: &Path,
    mut on_error: impl FnMut(Failure),
) -> Result<Vec<PathBuf>, Failure> {
    let metadata = root.metadata().map_err(on_file("look at", root))?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(Failure::NeitherFileNorFolder(root.to_path_buf()));
    }
    let mut files = Vec::new();
    for entry in WalkDir::new(root).sort_by_file_name() {
        match entry {
            Ok(entry) if entry.file_type().is_file() => files.push(entry.into_path()),
            Ok(_) => {}
            Err(error) => on_error(walk_failure(root, error)),
        }
    }
    Ok(files)
}

fn walk_failure(root: &Path, error: walkdir::Error) -> Failure {
    let path = error.path().unwrap_or(root).to_path_buf();
    let source = error.into_io_error();
    // The other kind is a loop of links, and links are not followed.
    let source = source.unwrap_or_else(|| std::io::Error::other("a loop of links"));
    on_file("look at", &path)(source)
}
