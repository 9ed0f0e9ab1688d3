//! Drafts: files that are completed under a temporary name next to their final one. They are used
//! where a file cannot be made without a name.
//!
//! The process that makes a draft holds its lock. A draft that nobody has locked was left by a
//! process that was killed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::lock::LockedFile;
use super::open_flags::read_and_write;
use super::retry::uninterrupted;
use super::system::FileId;
use crate::error::{ErrorKind, Result, io_error};
use crate::format::PAGE_BYTES;
use crate::format::superblock::{SLOT_OFFSETS_BYTES, Superblock, Unusable};

const PREFIX: &str = ".flagstone.";
const SUFFIX: &str = ".new";
/// The number of files in a folder that are searched for abandoned drafts.
const MAX_SCANNED: usize = 100_000;
/// The number of times that a draft may be removed while it is being made.
const MAX_TRIES: usize = 16;

/// A draft's name. It is removed on drop, unless the draft was renamed.
pub(super) struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Creates an empty draft in `folder`, and locks it.
    pub(super) fn new(folder: &Path, path: &Path) -> Result<(Self, LockedFile)> {
        for _ in 0..MAX_TRIES {
            let draft = Self { path: draft_path(folder).map_err(io_error("name a file", path))? };
            let file = read_and_write()
                .create_new(true)
                .open(&draft.path)
                .map_err(io_error("create the file (does its folder exist?)", path))?;
            if let Some(file) = draft.lock(file)? {
                return Ok((draft, file));
            }
        }
        let why = "another program keeps removing new files";
        Err(io_error("create the file", path)(io::Error::other(why)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Locks it. Returns `None` if another process removed it as abandoned before it was locked.
    fn lock(&self, file: File) -> Result<Option<LockedFile>> {
        let file = match LockedFile::exclusive(file, &self.path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::Locked { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_there =
            is_named(&self.path, &file).map_err(io_error("examine the new file", &self.path))?;
        Ok(is_there.then_some(file))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = uninterrupted(|| std::fs::remove_file(&self.path));
    }
}

fn draft_path(folder: &Path) -> io::Result<PathBuf> {
    let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    // Not derived from the file's name, which may already have the maximum length.
    Ok(folder.join(format!("{PREFIX}{random:016x}{SUFFIX}")))
}

fn is_draft(name: &str) -> bool {
    let number = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    number.is_some_and(|number| number.len() == 16 && number.bytes().all(is_digit))
}

fn is_named(path: &Path, file: &File) -> io::Result<bool> {
    Ok(FileId::at(path)? == Some(FileId::of(file)?))
}

/// Removes the drafts in `folder` that nobody has locked. Drafts that cannot be examined stay.
pub(super) fn remove_abandoned(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.take(MAX_SCANNED).flatten() {
        if entry.file_name().to_str().is_some_and(is_draft) {
            let _ = remove_if_abandoned(&entry.path());
        }
    }
}

fn remove_if_abandoned(draft: &Path) -> Result<()> {
    let failed = |error| io_error("examine an unfinished file", draft)(error);
    if !uninterrupted(|| std::fs::symlink_metadata(draft)).map_err(failed)?.is_file() {
        return Ok(());
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let mut options = read_and_write();
    let file = options.custom_flags(flags.bits() as i32).open(draft).map_err(failed)?;
    if uninterrupted(|| file.metadata()).map_err(failed)?.nlink() > 1 {
        // It already has its final name. Locking it would lock the store.
        return uninterrupted(|| std::fs::remove_file(draft)).map_err(failed);
    }
    let file = LockedFile::exclusive(file, draft)?;
    if is_named(draft, &file).map_err(failed)? && !was_used(&file) {
        uninterrupted(|| std::fs::remove_file(draft)).map_err(failed)?;
    }
    Ok(())
}

/// Returns whether it is a store that has been written to, under whatever name.
fn was_used(file: &File) -> bool {
    let mut page = [0; PAGE_BYTES as usize];
    SLOT_OFFSETS_BYTES.into_iter().any(|offset| {
        file.read_exact_at(&mut page, offset).is_ok()
            && match Superblock::parse(&page) {
                Ok(block) => !block.is_new(),
                // It cannot be told of a store of another version.
                Err(unusable) => matches!(unusable, Unusable::Version(_)),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_name_of_a_draft_is_one() {
        assert!(is_draft(".flagstone.0123456789abcdef.new"));
        for name in [
            "flagstone.0123456789abcdef.new",
            ".flagstone.0123456789abcde.new",
            ".flagstone.0123456789abcdef0.new",
            ".flagstone.0123456789ABCDEF.new",
            ".flagstone.0123456789abcdeg.new",
            ".flagstone.0123456789abcdef.new2",
            ".flagstone..new",
        ] {
            assert!(!is_draft(name), "{name}");
        }
    }
}
