//! Finds and reads the files to index, and detects whether they changed.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flagstone::persist;
use walkdir::WalkDir;
use xxhash_rust::xxh3::xxh3_64;

use crate::failure::{Failure, on_file};

/// A NUL within this many first bytes makes a file binary, as for git.
const HEAD_BYTES: u64 = 8192;

/// The minimum age of a change whose time is trusted: a later change within the same tick of a
/// file system's clock (up to two seconds) would not show.
const SETTLED: Duration = Duration::from_secs(2);

/// Identifies the version of a file.
#[persist]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub size_bytes: u64,
    /// Time of the last change: seconds, nanoseconds; or [`UNSETTLED`].
    modified: [i64; 2],
    content_hash: u64,
}

/// The time stored for a change that was too recent to be trusted.
const UNSETTLED: [i64; 2] = [i64::MIN, 0];

impl Stamp {
    /// Returns the stamp of `content`, which was read after `metadata`. After a change in
    /// between, the time does not match, so the file is checked again.
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

    /// Returns whether size and time alone prove that the file is unchanged.
    pub fn is_time_of(&self, metadata: &Metadata) -> bool {
        let modified = [metadata.mtime(), metadata.mtime_nsec()];
        self.size_bytes == metadata.size() && self.modified == modified
    }

    /// Returns whether both stamps are of the same content.
    pub fn is_content_of(&self, other: &Self) -> bool {
        self.size_bytes == other.size_bytes && self.content_hash == other.content_hash
    }

    /// Returns whether the file at `path` still has this content. Reads its bytes only if the
    /// time does not decide.
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

/// Returns the bytes of a text file, or `None` for a binary file, whose rest is not read.
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

/// Returns one path for each file, however it is named: absolute, without symbolic links. A path
/// that no longer exists is only made absolute, so it can name a file that was once there.
pub fn resolved(path: &Path) -> Result<PathBuf, Failure> {
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(error) if is_gone(&error) => {
            std::path::absolute(path).map_err(on_file("make an absolute path of", path))
        }
        Err(error) => Err(on_file("follow the path", path)(error)),
    }
}

/// Returns whether there is no longer a file at `path`, as far as can be determined.
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

/// Returns the file `root`, or the files under the folder `root`, in the order of their names.
/// Like `grep -r`, does not follow links in a folder. Passes each unreadable entry to `on_error`.
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
    // The only other kind is a loop of links, and links are not followed.
    let source = source.unwrap_or_else(|| std::io::Error::other("a loop of links"));
    on_file("look at", &path)(source)
}
