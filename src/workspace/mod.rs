//! The write transaction's image: tracks its changes and rolls them back.
//!
//! **Owns** the writer's image, the dirty lines with their before-images, the savepoints, and the
//! body of the record built from them. **Must not know** who allocates pages, what a type is, or
//! how a record becomes durable.
//!
//! # Invariants
//!
//! `W1` A line is marked dirty, and its before-image saved, before its first change in each
//! savepoint level; a page taken into use counts as dirty. `W2` Restoring the before-images in
//! reverse order gives the state at which the level began. `W3` A page that is taken into use is
//! zeroed first, in this image and, through the record, in all others. `W4` A body names every word
//! in which the heap differs from the state before the transaction, page sums included. `W5` Page
//! 0, the heap's header, changes through `header_mut` alone. Images take their length from it, and
//! the location of the log, which changes under all of them. If it belonged to an object, or to an
//! array that the file names, a program's plain store to it could expose the log like any
//! other region.

mod build_record;
mod dirty;

use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::disk::{Disk, FileSize};
use crate::error::{ErrorKind, Result};
use crate::format::{LINE_BYTES, LINES_PER_PAGE, PAGE_BYTES};
use crate::image::{Image, PageSet};

pub(crate) use build_record::RecordBody;
use dirty::DirtyLines;

/// Capacity for before-images that is kept from one transaction to the next.
const MAX_SAVED_KEPT: usize = 4096;

/// The bytes of a line before it changed.
struct BeforeImage {
    line: u64,
    bytes: [u8; LINE_BYTES as usize],
}

/// The lengths of the lists at a savepoint.
#[derive(Clone, Copy, Debug, Default)]
struct SavepointMark {
    /// Distinguishes this level from earlier ones at the same depth.
    serial: u64,
    saved: usize,
    fresh: usize,
    released: usize,
}

/// A point in a transaction to roll back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LevelId {
    depth: usize,
    serial: u64,
}

/// The writer's image and the changes of its transaction.
pub(crate) struct Workspace {
    image: Image,
    disk: Arc<dyn Disk>,
    growth: Arc<FileSize>,
    dirty: DirtyLines,
    saved: Vec<BeforeImage>,
    /// Pages taken into use.
    fresh: Vec<u64>,
    /// Pages released.
    released: Vec<u64>,
    levels: Vec<SavepointMark>,
    last_level: u64,
}

impl std::ops::Deref for Workspace {
    type Target = Image;

    #[inline]
    fn deref(&self) -> &Image {
        &self.image
    }
}

impl Workspace {
    pub(crate) fn new(image: Image, disk: Arc<dyn Disk>, growth: Arc<FileSize>) -> Self {
        Self {
            image,
            disk,
            growth,
            dirty: DirtyLines::default(),
            saved: Vec::new(),
            fresh: Vec::new(),
            released: Vec::new(),
            levels: Vec::new(),
            last_level: 0,
        }
    }

    /// Returns the image, from which the caller takes exclusive references into dirty lines.
    #[inline]
    pub(crate) fn image_mut(&mut self) -> &mut Image {
        &mut self.image
    }

    /// Saves the lines of `[offset, offset + len_bytes)` before they change; refuses those of the
    /// heap's header (W5).
    #[inline]
    pub(crate) fn mark_dirty(&mut self, offset: u64, len_bytes: u64) -> Result<()> {
        if offset < PAGE_BYTES && len_bytes > 0 {
            return Err(header_is_no_object(offset));
        }
        self.mark_lines_dirty(offset, len_bytes)
    }

    #[inline]
    fn mark_lines_dirty(&mut self, offset: u64, len_bytes: u64) -> Result<()> {
        if len_bytes == 0 {
            return Ok(());
        }
        let last = offset.saturating_add(len_bytes - 1) / LINE_BYTES;
        for line in offset / LINE_BYTES..=last {
            if self.dirty.is_clean(line) {
                self.save(line)?;
            }
        }
        Ok(())
    }

    fn save(&mut self, line: u64) -> Result<()> {
        let bytes = *self.image.line(line)?;
        self.saved.push(BeforeImage { line, bytes });
        self.dirty.mark_dirty(line);
        self.image.touch(line / LINES_PER_PAGE);
        Ok(())
    }

    /// Returns one of flagstone's own structs for writing.
    #[inline]
    pub(crate) fn pod_mut<T>(&mut self, what: &'static str, offset: u64) -> Result<&mut T>
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable,
    {
        self.mark_dirty(offset, size_of::<T>() as u64)?;
        self.marked_pod(what, offset)
    }

    fn marked_pod<T>(&mut self, what: &'static str, offset: u64) -> Result<&mut T>
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable,
    {
        let bytes = self.image.bytes_mut(what, offset, size_of::<T>() as u64)?;
        T::mut_from_bytes(bytes)
            .map_err(|_| ErrorKind::corrupt(what, offset, "an aligned place", offset))
    }

    /// Returns bytes that flagstone itself owns, for writing.
    pub(crate) fn bytes_mut(
        &mut self,
        what: &'static str,
        offset: u64,
        len_bytes: u64,
    ) -> Result<&mut [u8]> {
        self.mark_dirty(offset, len_bytes)?;
        self.image.bytes_mut(what, offset, len_bytes)
    }

    /// Returns a field of the heap's header for writing; the caller has validated the new value.
    pub(crate) fn header_mut<T>(&mut self, offset: usize) -> Result<&mut T>
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable,
    {
        self.mark_lines_dirty(offset as u64, size_of::<T>() as u64)?;
        self.marked_pod("heap header", offset as u64)
    }

    /// Makes the heap at least `heap_bytes` long in file and memory. The caller updates the heap's
    /// header, and then calls `adopt_length`.
    pub(crate) fn extend(&mut self, heap_bytes: u64) -> Result<()> {
        self.growth.reserve(heap_bytes)?;
        self.image.extend(&*self.disk, heap_bytes)
    }

    /// Sees to it that the file has space for pages that are about to be taken into use.
    pub(crate) fn fill_holes(&self, page: u64, count: u64) -> Result<()> {
        self.growth.fill_holes(page * PAGE_BYTES, (page + count) * PAGE_BYTES)
    }

    /// Makes the heap long enough for pages at its end, and sees to it that they have space. It fails for
    /// lack of space before the caller changes anything.
    pub(crate) fn reserve_pages(&mut self, page: u64, count: u64) -> Result<()> {
        self.extend((page + count) * PAGE_BYTES)?;
        self.fill_holes(page, count)
    }

    /// Takes the bounds from the heap's header after it has changed.
    pub(crate) fn adopt_length(&mut self) -> Result<()> {
        self.image.refresh_view()
    }

    /// Takes pages into use and zeroes them (W3).
    pub(crate) fn take_pages(&mut self, page: u64, count: u64) -> Result<()> {
        let what = "page taken into use";
        if page == 0 {
            return Err(header_is_no_object(0));
        }
        // Check before any page is recorded: a record must not name a page that no image can
        // change.
        self.image.bytes(what, page * PAGE_BYTES, count * PAGE_BYTES)?;
        for page in page..page + count {
            if self.dirty.is_released(page) {
                // The page was in use before this transaction or savepoint, so its old bytes belong
                // to that state.
                self.mark_dirty(page * PAGE_BYTES, PAGE_BYTES)?;
            }
            if self.dirty.set_fresh(page) {
                self.fresh.push(page);
            }
            self.image.touch(page);
        }
        self.image.bytes_mut(what, page * PAGE_BYTES, count * PAGE_BYTES)?.fill(0);
        Ok(())
    }

    /// Records that pages are no longer in use.
    pub(crate) fn release_pages(&mut self, page: u64, count: u64) {
        for page in page..page + count {
            self.dirty.set_released(page);
            self.released.push(page);
        }
    }

    /// Begins a level that `rollback_to` can return to.
    pub(crate) fn savepoint(&mut self) -> LevelId {
        self.last_level += 1;
        self.levels.push(SavepointMark {
            serial: self.last_level,
            saved: self.saved.len(),
            fresh: self.fresh.len(),
            released: self.released.len(),
        });
        self.dirty.forget_lines();
        LevelId { depth: self.levels.len(), serial: self.last_level }
    }

    /// Restores the state at which a level began; the level stays open.
    pub(crate) fn rollback_to(&mut self, id: LevelId) -> Result<()> {
        let level = id.depth.checked_sub(1).and_then(|index| self.levels.get(index)).copied();
        let Some(level) = level.filter(|level| level.serial == id.serial) else {
            return Err(ErrorKind::SavepointGone.into());
        };
        self.levels.truncate(id.depth);
        self.restore(level)
    }

    /// Restores the state before the transaction.
    pub(crate) fn rollback(&mut self) -> Result<()> {
        if self.saved.is_empty() && self.fresh.is_empty() && self.levels.is_empty() {
            return Ok(());
        }
        self.restore(SavepointMark::default())?;
        self.finish();
        Ok(())
    }

    fn restore(&mut self, level: SavepointMark) -> Result<()> {
        // The transaction may have shortened the heap past lines that it had changed.
        self.image.widen_view();
        for saved in self.saved.drain(level.saved..).rev() {
            let line = saved.line * LINE_BYTES;
            self.image.bytes_mut("saved line", line, LINE_BYTES)?.copy_from_slice(&saved.bytes);
        }
        for page in self.fresh.drain(level.fresh..) {
            self.dirty.clear_fresh(page);
        }
        self.released.truncate(level.released);
        self.dirty.forget_lines();
        self.image.refresh_view()
    }

    /// Ends the transaction: its changes are now the current state.
    pub(crate) fn finish(&mut self) {
        self.saved.clear();
        self.saved.shrink_to(MAX_SAVED_KEPT);
        self.fresh.clear();
        self.released.clear();
        self.levels.clear();
        self.dirty.clear();
    }

    /// Releases memory between transactions, in at most `count` runs of pages, except `keep`, those
    /// that changed after the last checkpoint. Returns whether more are left.
    pub(crate) fn release_runs(&mut self, keep: &PageSet, count: usize) -> std::io::Result<bool> {
        self.image.release_runs(keep, count)
    }
}

#[cold]
fn header_is_no_object(offset: u64) -> crate::error::Error {
    let expected = "one behind the heap's header";
    ErrorKind::corrupt("place to change", offset, expected, "one in it")
}
