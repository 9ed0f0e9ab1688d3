//! Reads the last state of a store from its file, without changing a byte of it.
//!
//! 1. Choose the newest valid superblock (`superblocks`).
//! 2. Find the log's end from its position on, and survey the records: all can be applied, and the
//!    log gets to the superblock's reach.
//! 3. Apply the records to an image, in private memory.
//!
//! Opening continues from here (`open`), and applies more records than memory is to hold by itself
//! (`rounds`); read-only inspection uses the same code.

use std::path::Path;
use std::sync::Arc;

use super::settings::random_from_bytes;
use super::state::EndOfLog;
use super::superblocks::{Newest, choose};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result, io_error};
use crate::format::heap::{PageKind, RegionRef};
use crate::format::superblock::Superblock;
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
use crate::image::{
    Checkpointed, Image, ImageTraits, LinkChecks, PageSet, Survey, Surveyed, Touched, open_image,
};
use crate::log::{LogSource, RecoveredLog, Ring, scan};
use crate::mutation::{ActiveMutation, Mutation};

/// Policy for a damaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDamage {
    Refuse,
    /// Continue from the state before the damage.
    GoOn,
}

/// The last state of a store: an image, and the records that lead from it to that state.
pub(crate) struct Recovered {
    pub(super) source: LogSource,
    pub(super) newest: Newest,
    /// At the superblock's position until the records are applied.
    pub(crate) image: Image,
    /// What applying them will change and read.
    pub(super) surveyed: Surveyed,
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
    /// Performs steps 1 and 2 for the store on `disk`; `path` is for messages.
    pub(crate) fn find(
        disk: Arc<dyn Disk>,
        path: &Path,
        link_checks: LinkChecks,
        on_damage: OnDamage,
        mutation: ActiveMutation,
    ) -> Result<Self> {
        let newest = choose_from_disk(&*disk, path, mutation)?;
        fill_holes_of_log(&*disk, path, &newest.block)?;
        let source = open_log(disk, path, &newest.block, mutation)?;
        let traits = ImageTraits {
            link_checks,
            hash_key: newest.block.hash_key,
            random_from_bytes: random_from_bytes(),
        };
        let (mut recovered, survey) = survey(source, newest, traits)?;
        recovered.refuse_damaged_log(path, on_damage, mutation)?;
        expect_log_region(survey.log_regions(), &recovered.newest.block)?;
        recovered.surveyed = survey.finish(recovered.end.heap_bytes)?;
        Ok(recovered)
    }

    /// Performs step 3, whatever memory it takes.
    pub(crate) fn replay(&mut self) -> Result<()> {
        self.replay_with(&mut PageSet::default())
    }

    /// Performs step 3 in at most `budget_bytes` of private memory.
    pub(super) fn replay_within(&mut self, path: &Path, budget_bytes: u64) -> Result<()> {
        let needed_bytes = self.surveyed.private_pages * PAGE_BYTES;
        self.replay_with(&mut WithinBudget { path, needed_bytes, budget_bytes })
    }

    fn replay_with(&mut self, touched: &mut impl Touched) -> Result<()> {
        self.image.set_random_from(0);
        self.image.will_need_pages(self.surveyed.pages.iter());
        let (block, end) = (&self.newest.block, self.end.position);
        replay(&mut self.image, &self.source, block, end, touched)?;
        self.image.set_random_from(random_from_bytes());
        Ok(())
    }

    /// Refuses a log of which the superblock's reach, or a later record, proves that it lost durable
    /// records. Without those up to the reach, pages of the heap stay newer than the log's end, and
    /// no policy makes a state of them.
    fn refuse_damaged_log(
        &self,
        path: &Path,
        on_damage: OnDamage,
        mutation: ActiveMutation,
    ) -> Result<()> {
        let reach = self.newest.block.reach.get();
        let can_salvage = self.found.end >= reach || mutation.has(Mutation::ReachIgnored);
        let proven_durable = match self.found.proven_durable {
            _ if !can_salvage => reach,
            Some(proven_durable) if on_damage == OnDamage::Refuse => proven_durable,
            _ => return Ok(()),
        };
        let path = path.to_path_buf();
        let LogEnd { position, offset, .. } = self.log_end();
        Err(ErrorKind::LogDamaged { path, position, offset, proven_durable, can_salvage }.into())
    }

    pub(crate) fn log_end(&self) -> LogEnd {
        let RecoveredLog { end: position, is_torn, .. } = self.found;
        LogEnd { position, offset: self.source.ring.file_offset(position), is_torn }
    }
}

/// Has the system forget what it holds of the file, before any of it is mapped, and chooses the
/// superblock from what the disk has: after a failed flush the page cache may show other bytes.
fn choose_from_disk(disk: &dyn Disk, path: &Path, mutation: ActiveMutation) -> Result<Newest> {
    let shown = choose(disk, path, mutation)?;
    if shown.block.is_clean() {
        return Ok(shown);
    }
    disk.start_afresh().map_err(io_error("sync what was left in memory", path))?;
    match mutation.has(Mutation::CachedReachTrusted) {
        true => Ok(shown),
        false => choose(disk, path, mutation),
    }
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
    let ring = open_ring(&*disk, path, block, mutation)?;
    Ok(LogSource { ring: Arc::new(ring), disk })
}

/// Maps the ring that a superblock names.
pub(super) fn open_ring(
    disk: &dyn Disk,
    path: &Path,
    block: &Superblock,
    mutation: ActiveMutation,
) -> Result<Ring> {
    let (offset, len_bytes) = (block.log_offset.get(), block.log_bytes.get());
    let ring = Ring::new(disk, offset, len_bytes, block.log_base.get(), mutation);
    ring.map_err(io_error("map the log", path))
}

/// Performs the survey of step 2.
fn survey(source: LogSource, newest: Newest, traits: ImageTraits) -> Result<(Recovered, Survey)> {
    let block = &newest.block;
    let from = Checkpointed::of(block);
    let image = open_image(&*source.disk, from, traits)?;
    let mut survey = Survey::of(&image)?;
    let mut heap_bytes = from.heap_bytes;
    let mut found = RecoveredLog::none(from.position, block.prev_checksum.get());
    if !block.is_clean() {
        found = scan(&source, block, |piece| {
            heap_bytes = piece.header.heap_bytes.get();
            survey.add(piece)
        })?;
    }
    let end = EndOfLog { position: found.end, prev_checksum: found.prev_checksum, heap_bytes };
    let surveyed = Surveyed::default();
    Ok((Recovered { source, newest, image, surveyed, end, found }, survey))
}

/// Applies the records up to `end` to an image of the state that `block` names. From here on the
/// heap's header is trusted.
pub(super) fn replay(
    image: &mut Image,
    source: &LogSource,
    block: &Superblock,
    end: u64,
    touched: &mut impl Touched,
) -> Result<()> {
    image.advance(source, end, touched)?;
    let regions = image.header()?.log;
    expect_log_region(regions, block)?;
    // A region that is hidden as a log must be one.
    let is_log_page = |page| image.page_kind(page).is_ok_and(|kind| kind == PageKind::Log);
    let is_log = |region: &RegionRef| {
        let (first, pages) = (u64::from(region.page.get()), u64::from(region.pages.get()));
        pages == 0 || is_log_page(first) && is_log_page(first + pages - 1)
    };
    if regions.iter().all(is_log) { Ok(()) } else { Err(other_regions(regions, block)) }
}

/// Checks that one of the regions that the heap's header names is the log, or begins with it. The
/// log changes under every image, so each image must know it as a region that no reference may
/// touch.
fn expect_log_region(regions: [RegionRef; 2], block: &Superblock) -> Result<()> {
    let (first, pages) = log_pages(block);
    let begins_with_log = |region: &RegionRef| {
        u64::from(region.page.get()) == first && u64::from(region.pages.get()) >= pages
    };
    if regions.iter().any(begins_with_log) { Ok(()) } else { Err(other_regions(regions, block)) }
}

/// Returns the first page of the log in the heap, and their number.
fn log_pages(block: &Superblock) -> (u64, u64) {
    let page = (block.log_offset.get() - HEAP_START_BYTES) / PAGE_BYTES;
    (page, block.log_bytes.get() / PAGE_BYTES)
}

#[cold]
fn other_regions(regions: [RegionRef; 2], block: &Superblock) -> Error {
    let (page, pages) = log_pages(block);
    let expected = format!("the log at page {page}, {pages} pages");
    ErrorKind::corrupt("log regions in the heap's header", 0, expected, format!("{regions:?}"))
}

/// Refuses to replay in more memory than the budget.
struct WithinBudget<'a> {
    path: &'a Path,
    needed_bytes: u64,
    budget_bytes: u64,
}

impl Touched for WithinBudget<'_> {
    fn note(&mut self, _first: u64, _count: u64) {}

    fn limit_memory(&mut self, image: &mut Image) -> Result<()> {
        if image.private_bytes() <= self.budget_bytes {
            return Ok(());
        }
        let Self { path, needed_bytes, budget_bytes } = *self;
        let path = path.to_path_buf();
        Err(ErrorKind::ReplayNeedsMemory { path, needed_bytes, budget_bytes }.into())
    }
}
