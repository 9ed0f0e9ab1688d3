//! A file that belongs to one test, in a folder of its own, and the ways to open it whose safety
//! rests on that.

use std::ffi::OsStr;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use flagstone::{OpenOptions, Report, Store};
use tempfile::TempDir;

/// The path of a file in a new folder, which is removed when the value is dropped.
pub struct ScratchFile {
    folder: TempDir,
    path: PathBuf,
}

impl ScratchFile {
    /// Returns the path of a file that does not exist yet.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("store");
        Ok(Self { folder, path })
    }

    /// Creates the file with this content.
    pub fn with(bytes: &[u8]) -> io::Result<Self> {
        let file = Self::new()?;
        std::fs::write(&file, bytes)?;
        Ok(file)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of another file in the same folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }
}

impl Deref for ScratchFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for ScratchFile {
    fn as_ref(&self) -> &Path {
        self
    }
}

/// For the arguments of a command.
impl AsRef<OsStr> for ScratchFile {
    fn as_ref(&self) -> &OsStr {
        self.path.as_os_str()
    }
}

/// Opens a store that only the test's own processes use.
pub fn open_shared(path: &Path, options: &OpenOptions) -> flagstone::Result<Store> {
    // SAFETY: the path is in the test's own folder, and only stores change the file while it is
    // open.
    unsafe { options.open_shared(path) }
}

/// Opens a store that only the test uses, without write access.
pub fn open_read_only(path: &Path) -> flagstone::Result<Store> {
    read_only_with(path, &OpenOptions::new())
}

/// Opens such a store with options.
pub fn read_only_with(path: &Path, options: &OpenOptions) -> flagstone::Result<Store> {
    // SAFETY: the path is in the test's own folder, and nothing changes the file while it is open.
    unsafe { options.open_read_only(path) }
}

/// Checks a file that only the test uses.
pub fn check_file(path: &Path) -> flagstone::Result<Report> {
    // SAFETY: the path is in the test's own folder, and nothing changes the file meanwhile.
    unsafe { Store::check_file(path) }
}
