//! Holes of a file, such as a sparse copy has. Their space is not allocated yet, and a mapping
//! cannot report a failed allocation as an error.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::retry::uninterrupted;
use super::system::{allocate, write_zeros};

/// Returns whether the file may have holes, from its inode alone. A file with as many blocks as
/// its length needs has none, or so few that the blocks of its extent map hide them.
pub(super) fn may_have_holes(file: &File) -> io::Result<bool> {
    let found = uninterrupted(|| file.metadata())?;
    // A nameless file is in memory that has no size limit.
    Ok(found.nlink() > 0 && found.blocks() * 512 < found.len())
}

/// Allocates the space for all holes in `range`, which stay zeros. Returns whether there was one.
pub(super) fn fill(file: &File, range: Range<u64>) -> io::Result<bool> {
    let mut were_holes = false;
    for hole in (Holes { file, range }) {
        let hole = hole?;
        match allocate(file, hole.start, hole.end) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, hole.start, hole.end)?,
            filled => filled?,
        }
        were_holes = true;
    }
    Ok(were_holes)
}

/// Writes zeros to all holes in `range`.
pub(super) fn zero(file: &File, range: Range<u64>) -> io::Result<()> {
    for hole in (Holes { file, range }) {
        let hole = hole?;
        write_zeros(file, hole.start, hole.end)?;
    }
    Ok(())
}

/// The holes in a range of a file.
pub(super) struct Holes<'a> {
    pub(super) file: &'a File,
    pub(super) range: Range<u64>,
}

impl Iterator for Holes<'_> {
    type Item = io::Result<Range<u64>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        let hole = next_hole(self.file, self.range.clone());
        self.range.start = hole.as_ref().map_or(self.range.end, |hole| hole.end);
        Some(hole).filter(|hole| hole.as_ref().map_or(true, |hole| !hole.is_empty()))
    }
}

/// Returns the first hole in a range, or an empty one at its end if the range has no hole.
fn next_hole(file: &File, range: Range<u64>) -> io::Result<Range<u64>> {
    let start = uninterrupted(|| seek(file, SeekFrom::Hole(range.start)))?.min(range.end);
    let data = uninterrupted(|| match seek(file, SeekFrom::Data(start)) {
        // Past the last data of the file.
        Err(Errno::NXIO) => Ok(range.end),
        data => data,
    });
    let end = data?.min(range.end);
    Ok(start..end)
}
