//! The lock that keeps two programs from opening the same store.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use fs2::FileExt;

use super::coordination::{Mode, lock_mode, unlock_all};
use super::retry::uninterrupted;
use crate::error::{ErrorKind, Result, io_error};

/// A file and its lock, which is advisory and belongs to the file, not to its name.
pub(super) struct LockedFile {
    file: File,
    /// The process that took the lock.
    owner: u32,
}

impl LockedFile {
    /// Locks the file if nobody else has the store open.
    pub(super) fn exclusive(file: File, path: &Path) -> Result<Self> {
        Self::taken(FileExt::try_lock_exclusive, file, path)
    }

    /// Locks the file if nobody else has the store open for writing.
    pub(super) fn for_reading(file: File, path: &Path) -> Result<Self> {
        Self::in_mode(Mode::Reading, file, path)
    }

    /// Locks the file if everybody else who has the store open shares it under the write lock.
    pub(super) fn for_sharing(file: File, path: &Path) -> Result<Self> {
        Self::in_mode(Mode::Sharing, file, path)
    }

    fn in_mode(mode: Mode, file: File, path: &Path) -> Result<Self> {
        let file = Self::taken(FileExt::try_lock_shared, file, path)?;
        match lock_mode(&file, mode).map_err(io_error("lock the file", path))? {
            true => Ok(file),
            false => Err(ErrorKind::Locked { path: path.to_path_buf() }.into()),
        }
    }

    fn taken(lock: fn(&File) -> io::Result<()>, file: File, path: &Path) -> Result<Self> {
        match uninterrupted(|| lock(&file)) {
            Ok(()) => Ok(Self { file, owner: std::process::id() }),
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => {
                Err(ErrorKind::Locked { path: path.to_path_buf() }.into())
            }
            Err(error) => Err(io_error("lock the file", path)(error)),
        }
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for LockedFile {
    /// Releases the lock at once. Closing the descriptor would do so only if no forked child
    /// holds a copy of it. A child that drops its copy must not release its parent's lock.
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let _ = unlock_all(&self.file);
            let _ = uninterrupted(|| FileExt::unlock(&self.file));
        }
    }
}
