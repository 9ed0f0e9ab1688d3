//! A nameless file in memory. It replaces a store's file where that must not be mapped or written.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{MemfdFlags, Mode};

use super::file::FileDisk;
use super::interface::Disk;
use super::lock::LockedFile;

/// Bytes copied at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// Makes an empty file in memory, which vanishes with the last of its mappings. `path` is for
/// messages.
pub(crate) fn anonymous(path: &Path) -> io::Result<FileDisk> {
    let file = File::from(rustix::fs::memfd_create("flagstone", MemfdFlags::CLOEXEC)?);
    // Keep other programs that find the descriptor in `/proc` from opening it by mistake.
    rustix::fs::fchmod(&file, Mode::empty())?;
    // One description suffices: memory has no write errors that one user could take from the
    // other.
    let log = file.try_clone()?;
    let heap = LockedFile::exclusive(file, path).map_err(io::Error::other)?;
    Ok(FileDisk::nameless(heap, log, path))
}

/// Makes an anonymous file with the bytes of `from`. Takes memory for everything that is not zero.
pub(crate) fn copy_of(from: &dyn Disk) -> io::Result<FileDisk> {
    let copy = anonymous(from.path())?;
    let len_bytes = from.len_bytes()?;
    copy.set_len(len_bytes)?;
    let mut piece = Vec::new();
    let mut at = 0;
    while at < len_bytes {
        piece.resize((len_bytes - at).min(PIECE_BYTES) as usize, 0);
        from.read_at(at, &mut piece)?;
        if piece.iter().any(|byte| *byte != 0) {
            copy.write_at(at, &piece)?;
        }
        at += piece.len() as u64;
    }
    Ok(copy)
}
