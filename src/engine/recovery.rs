//! Reads the last state of a store from its file, without changing a byte of it.
//!
//! 1. Choose the newest valid superblock.
//! 2. Apply the records from its position to an image, in private memory.
//!
//! Opening continues from here (`open`); read-only inspection uses the same code.

use std::path::Path;
use std::sync::Arc;

use super::EndOfLog;
use crate::disk::Disk;
use crate::error::{ErrorKind, Result, io_error};
use crate::format::heap::{PageKind, RegionRef};
use crate::format::superblock::{MAGIC, SLOT_OFFSETS_BYTES, Superblock, Unusable, is_half_made};
use crate::format::{FORMAT_VERSION, HEAP_START_BYTES, PAGE_BYTES};
use crate::image::{Checkpointed, Image, ImageTraits, LinkChecks, PageSet, open_image};
use crate::log::{LogSource, RecoveredLog, Ring, scan};
use crate::mutation::{ActiveMutation, Mutation};

/// The newest superblock.
pub(super) struct Newest {
    /// The slot to write first: its own, or the other one if the other is damaged.
    pub(super) slot: usize,
    pub(super) block: Superblock,
    /// Whether the other superblock is valid as well.
    pub(super) both_valid: bool,
}

impl Newest {
    /// Returns the slot that holds this superblock.
    pub(super) fn own_slot(&self) -> usize {
        self.slot ^ usize::from(!self.both_valid)
    }
}

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
        tests: LinkChecks,
        on_damage: OnDamage,
        mutation: ActiveMutation,
    ) -> Result<Self> {
        let failed = |action| move |source| io_error(action, path)(source);
        let newest = choose(&*disk, path, mutation)?;
        if !newest.block.is_clean() {
            // Before any of the file is mapped.
            disk.start_afresh().map_err(failed("sync what was left in memory"))?;
        }
        let filled = disk.fill_holes(newest.block.log_offset.get(), newest.block.log_bytes.get());
        filled.map_err(failed("take space for holes of the file (is it a sparse copy?)"))?;
        let ring = open_ring(&*disk, &newest.block, mutation).map_err(failed("map the log"))?;
        let source = LogSource { ring: Arc::new(ring), disk };
        let traits = ImageTraits { tests, hash_key: newest.block.hash_key };
        let state = replay(source, newest, traits)?;
        if let Some(proven_durable) =
            state.found.proven_durable.filter(|_| on_damage == OnDamage::Refuse)
        {
            let path = path.to_path_buf();
            let LogEnd { position, offset, .. } = state.log_end();
            return Err(ErrorKind::LogDamaged { path, position, offset, proven_durable }.into());
        }
        state.finish_replay()
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

pub(super) fn open_ring(
    disk: &dyn Disk,
    block: &Superblock,
    mutation: ActiveMutation,
) -> std::io::Result<Ring> {
    Ring::new(disk, block.log_offset.get(), block.log_bytes.get(), block.log_base.get(), mutation)
}

/// Checks that the file is long enough for what `block` names. Reads the length after the
/// superblock: another process that shares the store may have grown both.
fn expect_length(disk: &dyn Disk, path: &Path, block: &Superblock) -> Result<()> {
    let log_end = block.log_offset.get() + block.log_bytes.get();
    let heap_end = HEAP_START_BYTES + block.heap_bytes.get();
    let found_bytes = settled_len_bytes(disk, path, log_end.max(heap_end))?;
    for (what, expected_bytes) in [("the log", log_end), ("the heap", heap_end)] {
        if found_bytes < expected_bytes {
            let path = path.to_path_buf();
            let short = ErrorKind::Truncated { path, what, expected_bytes, found_bytes };
            return Err(short.into());
        }
    }
    Ok(())
}

/// Returns the newest superblock, provided that the file is long enough for what it names.
pub(super) fn choose(disk: &dyn Disk, path: &Path, mutation: ActiveMutation) -> Result<Newest> {
    let newest = choose_superblock(disk, path, mutation)?;
    expect_length(disk, path, &newest.block)?;
    Ok(newest)
}

/// Refuses a file that is not a store, or is incomplete, before anything acts on it. Does not check
/// the log.
pub(crate) fn expect_store(disk: &dyn Disk, path: &Path, mutation: ActiveMutation) -> Result<()> {
    choose(disk, path, mutation).map(drop)
}

fn settled_len_bytes(disk: &dyn Disk, path: &Path, wanted_bytes: u64) -> Result<u64> {
    let length = disk.settled_len_bytes(wanted_bytes);
    length.map_err(|error| io_error("look at the file's length", path)(error))
}

/// Performs step 1: returns the newest usable superblock and the slot to write first.
fn choose_superblock(disk: &dyn Disk, path: &Path, mutation: ActiveMutation) -> Result<Newest> {
    let mut head = read_head(disk, path)?;
    if mutation.has(Mutation::SuperblockChecksumIgnored) {
        head.chunks_mut(PAGE_BYTES as usize).take(2).for_each(Superblock::seal);
    }
    let [first, second] = SLOT_OFFSETS_BYTES
        .map(|offset| Superblock::parse(&head[offset as usize..][..PAGE_BYTES as usize]));
    // A store of another version must not be written, even if one of its superblocks happens to be
    // readable.
    let alone = |slot, block, unusable: &Unusable| {
        let other = slot ^ usize::from(!mutation.has(Mutation::GoodSuperblockFirst));
        let newest = Newest { slot: other, block, both_valid: false };
        foreign(path, unusable).map_or(Ok(newest), Err)
    };
    let newest = |slot, block| {
        let slot = slot ^ usize::from(mutation.has(Mutation::OlderSuperblockFirst));
        Ok(Newest { slot, block, both_valid: true })
    };
    match (first, second) {
        (Ok(a), Ok(b)) if b.generation > a.generation => newest(1, b),
        (Ok(a), Ok(_)) => newest(0, a),
        (Ok(a), Err(unusable)) => alone(0, a, &unusable),
        (Err(unusable), Ok(b)) => alone(1, b, &unusable),
        (Err(a), Err(b)) => Err(no_superblock(path, &head, &a, &b)),
    }
    .map_err(Into::into)
}

/// Returns the error for a superblock that is intact but from another version or byte order.
fn foreign(path: &Path, unusable: &Unusable) -> Option<ErrorKind> {
    let path = path.to_path_buf();
    match *unusable {
        Unusable::Version(found) => {
            Some(ErrorKind::UnknownVersion { path, found, known: FORMAT_VERSION })
        }
        Unusable::ByteOrder => Some(ErrorKind::ForeignByteOrder { path }),
        _ => None,
    }
}

/// Reads the pages before the heap.
pub(crate) fn read_head(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    let path_buf = || path.to_path_buf();
    let file_bytes = settled_len_bytes(disk, path, HEAP_START_BYTES)?;
    if file_bytes == 0 {
        return Err(ErrorKind::EmptyFile { path: path_buf() }.into());
    }
    let len = file_bytes.min(HEAP_START_BYTES);
    let mut head = vec![0; len as usize];
    disk.read_at(0, &mut head).map_err(|source| io_error("read the superblocks", path)(source))?;
    if len == HEAP_START_BYTES {
        return Ok(head);
    }
    if is_half_made(&head) {
        return Err(ErrorKind::Unfinished { path: path_buf() }.into());
    }
    let begins_with_magic =
        |offset| head.get(offset as usize..).is_some_and(|head| head.starts_with(&MAGIC));
    if SLOT_OFFSETS_BYTES.into_iter().any(begins_with_magic) {
        let (found_bytes, expected_bytes) = (file_bytes, HEAP_START_BYTES);
        return Err(ErrorKind::TooShort { path: path_buf(), found_bytes, expected_bytes }.into());
    }
    Err(not_a_store(path, &head).into())
}

fn no_superblock(path: &Path, head: &[u8], first: &Unusable, second: &Unusable) -> ErrorKind {
    let path_buf = path.to_path_buf();
    if is_half_made(head) {
        return ErrorKind::Unfinished { path: path_buf };
    }
    if (first, second) == (&Unusable::Magic, &Unusable::Magic) {
        return not_a_store(path, head);
    }
    if let Some(foreign) = foreign(path, first).or_else(|| foreign(path, second)) {
        return foreign;
    }
    if let (&Unusable::VersionOrDamage(found), Unusable::VersionOrDamage(_)) = (first, second) {
        return ErrorKind::UnknownVersion { path: path_buf, found, known: FORMAT_VERSION };
    }
    let (first, second) = (first.to_string(), second.to_string());
    ErrorKind::SuperblocksDamaged { path: path_buf, first, second }
}

fn not_a_store(path: &Path, head: &[u8]) -> ErrorKind {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let found = text(&head[..head.len().min(MAGIC.len())]);
    ErrorKind::NotAStore { path: path.to_path_buf(), expected: text(&MAGIC), found }
}
