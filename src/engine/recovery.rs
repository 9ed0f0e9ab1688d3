//! Reads the last state of a store from its file, without changing a byte of it.
//!
//! 1. Choose the newest valid superblock (`superblocks`).
//! 2. Apply the records from its position to an image, in private memory.
//!
//! Opening continues from here (`open`); read-only inspection uses the same code.

use std::path::Path;
use std::sync::Arc;

use super::state::EndOfLog;
use super::superblocks::{Newest, choose};
use crate::disk::Disk;
use crate::error::{ErrorKind, Result, io_error};
use crate::format::heap::{PageKind, RegionRef};
use crate::format::superblock::Superblock;
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
use crate::image::{Checkpointed, Image, ImageTraits, LinkChecks, PageSet, open_image};
use crate::log::{LogSource, RecoveredLog, Ring, scan};
use crate::mutation::ActiveMutation;

/// Policy for a damaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDamage {
    Refuse,
    /// Continue from the state before the damage.
    GoOn,
}

/// The last state of a store.
pub(crate) struct Recovered {
    pub(super) source: LogSource,
    pub(super) newest: Newest,
    pub(crate) image: Image,
    /// Pages that the log's records changed.
    pub(super) pages: PageSet,
    pub(super) end: EndOfLog,
    found: RecoveredLog,
}

/// The end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogEnd {
    pub(crate) position: u64,
    /// The same position as an offset in the file.
    pub(crate) offset: u64,
    /// Whether the bytes there look like an incomplete record.
    pub(crate) is_torn: bool,
}

impl Recovered {
    /// Reads the state on `disk`; `path` is for messages.
    pub(crate) fn read(
        disk: Arc<dyn Disk>,
        path: &Path,
        link_checks: LinkChecks,
        on_damage: OnDamage,
        mutation: ActiveMutation,
    ) -> Result<Self> {
        let newest = choose(&*disk, path, mutation)?;
        forget_unsynced_bytes(&*disk, path, &newest.block)?;
        fill_holes_of_log(&*disk, path, &newest.block)?;
        let source = open_log(disk, path, &newest.block, mutation)?;
        let traits = ImageTraits { link_checks, hash_key: newest.block.hash_key };
        let recovered = replay(source, newest, traits)?;
        recovered.refuse_damaged_log(path, on_damage)?;
        recovered.finish_replay()
    }

    /// Refuses a log of which a later record proves that it lost durable ones.
    fn refuse_damaged_log(&self, path: &Path, on_damage: OnDamage) -> Result<()> {
        match self.found.proven_durable {
            Some(proven_durable) if on_damage == OnDamage::Refuse => {
                let path = path.to_path_buf();
                let LogEnd { position, offset, .. } = self.log_end();
                Err(ErrorKind::LogDamaged { path, position, offset, proven_durable }.into())
            }
            _ => Ok(()),
        }
    }

    /// Finishes the replay after the last record; from here on the heap's header is trusted.
    fn finish_replay(mut self) -> Result<Self> {
        self.image.finish_replay(self.end.heap_bytes)?;
        expect_log_is_hole(&self.image, &self.newest.block)?;
        self.image.set_position(self.end.position);
        Ok(self)
    }

    pub(crate) fn log_end(&self) -> LogEnd {
        let RecoveredLog { end: position, is_torn, .. } = self.found;
        LogEnd { position, offset: self.source.ring.file_offset(position), is_torn }
    }
}

/// Has the system forget what it holds of the file, before any of it is mapped: after a failed
/// flush the page cache may show bytes that the disk does not have.
fn forget_unsynced_bytes(disk: &dyn Disk, path: &Path, block: &Superblock) -> Result<()> {
    if block.is_clean() {
        return Ok(());
    }
    disk.start_afresh().map_err(io_error("sync what was left in memory", path))
}

/// Gives the log blocks of the disk where a sparse copy of the file has holes.
fn fill_holes_of_log(disk: &dyn Disk, path: &Path, block: &Superblock) -> Result<()> {
    let filled = disk.fill_holes(block.log_offset.get(), block.log_bytes.get());
    filled.map_err(io_error("take space for holes of the file (is it a sparse copy?)", path))
}

/// Maps the log that `block` names.
pub(super) fn open_log(
    disk: Arc<dyn Disk>,
    path: &Path,
    block: &Superblock,
    mutation: ActiveMutation,
) -> Result<LogSource> {
    let (offset, len_bytes) = (block.log_offset.get(), block.log_bytes.get());
    let ring = Ring::new(&*disk, offset, len_bytes, block.log_base.get(), mutation);
    let ring = ring.map_err(io_error("map the log", path))?;
    Ok(LogSource { ring: Arc::new(ring), disk })
}

/// Performs step 2.
fn replay(source: LogSource, newest: Newest, traits: ImageTraits) -> Result<Recovered> {
    let (disk, block) = (&*source.disk, &newest.block);
    let from = Checkpointed::of(block);
    let mut image = open_image(disk, from, traits)?;
    let mut pages = PageSet::default();
    let mut heap_bytes = from.heap_bytes;
    let mut found = RecoveredLog::none(from.position, block.prev_checksum.get());
    if !block.is_clean() {
        found =
            scan(&source, block.epoch.get(), found.end, found.prev_checksum, |header, body| {
                heap_bytes = image.apply(disk, header, body, &mut pages)?.unwrap_or(heap_bytes);
                Ok(())
            })?;
    }
    let end = EndOfLog { position: found.end, prev_checksum: found.prev_checksum, heap_bytes };
    Ok(Recovered { source, newest, image, pages, end, found })
}

/// Checks that the heap's header names the log. The log changes under every image, so each image
/// must know it as a region that no reference may touch.
fn expect_log_is_hole(image: &Image, block: &Superblock) -> Result<()> {
    let page = (block.log_offset.get() - HEAP_START_BYTES) / PAGE_BYTES;
    let pages = block.log_bytes.get() / PAGE_BYTES;
    let named = image.header()?.log;
    let is_log = |region: &RegionRef| {
        (u64::from(region.page.get()), u64::from(region.pages.get())) == (page, pages)
    };
    // A region that is hidden as a log must be one.
    let is_log_page = |page| image.page_kind(page).is_ok_and(|kind| kind == PageKind::Log);
    let is_hole = |region: &RegionRef| {
        let (first, pages) = (u64::from(region.page.get()), u64::from(region.pages.get()));
        pages == 0 || is_log_page(first) && is_log_page(first + pages - 1)
    };
    if named.iter().any(is_log) && named.iter().all(is_hole) {
        return Ok(());
    }
    let expected = format!("the log at page {page}, {pages} pages");
    Err(ErrorKind::corrupt("log regions in the heap's header", 0, expected, format!("{named:?}")))
}
