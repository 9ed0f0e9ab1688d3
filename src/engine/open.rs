//! Opening, and recovery after a crash.
//!
//! 1. Choose the newest valid superblock.
//! 2. Apply the records from its position to an image, in private memory.
//! 3. If the store was not closed in order: write those records once more and
//!    sync, because after a failed flush the page cache may show what the disk
//!    does not have; write the pages that they changed; then both superblocks,
//!    with a new epoch, so that nothing that was dropped can come back.
//!
//! A store that was closed in order is left as it is until the first write.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use zerocopy::little_endian::U64;

use super::{Checkpointer, Core, EndOfLog, HeapEnds, LogState, Settings, Writer, lock};
use crate::disk::{Disk, Growth};
use crate::error::{ErrorKind, Result};
use crate::format::heap::{PageKind, RegionRef};
use crate::format::superblock::{HALF_MADE, MAGIC, SLOT_OFFSETS_BYTES, Superblock, Unusable};
use crate::format::{COORDINATION_BYTES, FORMAT_VERSION, HEAP_START_BYTES, PAGE_BYTES};
use crate::image::{Checkpointed, Image, PageSet, Pool, open_image};
use crate::log::{LogSource, RecoveredLog, Ring, Tail, recover};
use crate::plant::{Plant, Planted};
use crate::workspace::Workspace;

use super::checkpoint::point_to;

/// The newest superblock.
struct Newest {
    /// The slot to write first: its own, or the other one if that is damaged.
    slot: usize,
    block: Superblock,
}

/// What reading the log left behind.
struct Replayed {
    image: Image,
    pages: PageSet,
    end: EndOfLog,
}

impl Core {
    /// Opens the store on `disk`; `path` is for messages.
    pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path, settings: Settings) -> Result<Self> {
        let failed = |action| move |source| io_error(path, action, source);
        let file_bytes = disk.len_bytes().map_err(failed("look at the file's length"))?;
        let Newest { slot, block } = choose_superblock(&*disk, path, file_bytes, settings.planted)?;
        expect_length(path, file_bytes, &block)?;
        let ring = open_ring(&*disk, &block, settings.planted).map_err(failed("map the log"))?;
        let source = LogSource { ring: Arc::new(ring), disk: Arc::clone(&disk) };
        let replayed = replay(&source, path, &block, &settings)?;
        let growth =
            Growth::new(Arc::clone(&disk), path).map_err(failed("look at the file's length"))?;
        let newest = Newest { slot, block };
        Self::assemble(source, Arc::new(growth), path, settings, newest, replayed)
    }

    fn assemble(
        source: LogSource,
        growth: Arc<Growth>,
        path: &Path,
        settings: Settings,
        newest: Newest,
        replayed: Replayed,
    ) -> Result<Self> {
        let Newest { slot, block } = newest;
        let (LogSource { ring, disk }, end) = (source, replayed.end);
        let was_closed = block.is_clean();
        let longest = block.heap_bytes.get().max(replayed.image.heap_bytes());
        let from =
            Checkpointed { position: block.position.get(), heap_bytes: block.heap_bytes.get() };
        let longest_record_bytes = ring.longest_record_bytes().into();
        let mut tail = Tail::new(ring, block.epoch.get(), end.position, end.chain);
        tail.start = from.position;
        let log = LogState {
            tail,
            ends: HeapEnds::new(longest),
            heap_bytes: end.heap_bytes,
            checkpoint: end.position,
            no_move_before: 0,
        };
        let workspace = Workspace::new(replayed.image, Arc::clone(&disk), Arc::clone(&growth));
        let writer = Writer { workspace, record: Vec::new(), has_begun: false };
        let core = Self {
            path: path.to_path_buf(),
            disk,
            growth,
            writer: Mutex::new(writer),
            pool: Mutex::new(Pool::new(from, settings.image_traits(&block))),
            checkpointer: Mutex::new(Checkpointer { image: None, last: block, slot, begun: false }),
            sync: Mutex::new(()),
            settings,
            log: Mutex::new(log),
            visible: end.position.into(),
            durable: end.position.into(),
            poison: OnceLock::new(),
            longest_record_bytes,
        };
        if !was_closed {
            core.make_recovered_state_last(&replayed.pages, end)?;
        }
        Ok(core)
    }

    /// Step 3.
    fn make_recovered_state_last(&self, pages: &PageSet, end: EndOfLog) -> Result<()> {
        let writer = self.lock_writer();
        let mut checkpointer = lock(&self.checkpointer);
        let from = checkpointer.last.position.get();
        if !self.planted(Plant::RecordsNotRewritten) {
            self.rewrite_records(from, end.position)?;
        }
        if !self.planted(Plant::RecoveredSuperblockBeforeHeap) {
            self.write_pages(&writer.workspace, pages)?;
        }
        self.begin_epoch_at(&mut checkpointer, end)?;
        if self.planted(Plant::RecoveredSuperblockBeforeHeap) {
            self.write_pages(&writer.workspace, pages)?;
        }
        self.free_log(&checkpointer, end.position);
        Ok(())
    }

    /// Writes the accepted records once more, block by block, and syncs.
    fn rewrite_records(&self, from: u64, to: u64) -> Result<()> {
        let ring = self.log_source().ring;
        let mut block = vec![0; PAGE_BYTES as usize];
        let mut at = from / PAGE_BYTES * PAGE_BYTES;
        let rewrite = |at: u64, block: &mut [u8]| {
            ring.load(at, block)?;
            self.disk.write_at(ring.file_offset(at), block)
        };
        while at < to {
            let rewritten = rewrite(at, &mut block);
            rewritten.map_err(|error| self.poisoned_by("write recovered records", error))?;
            at += PAGE_BYTES;
        }
        self.sync_heap("sync recovered records")
    }

    /// Makes both superblocks name a fresh epoch, before the first append.
    pub(super) fn begin_epoch(&self, checkpointer: &mut Checkpointer) -> Result<()> {
        checkpointer.begun |= self.planted(Plant::CleanFlagKept);
        if checkpointer.begun {
            return Ok(());
        }
        let end = self.end_of_log();
        self.begin_epoch_at(checkpointer, end)
    }

    /// The newest superblock is written over itself first: should the page
    /// cache have shown one that the disk does not have, the other is still a
    /// complete state until this one is safe. Where the other one is damaged, torn
    /// by a power cut as a rule, that one is written first: a cut now must not
    /// tear the only good one.
    fn begin_epoch_at(&self, checkpointer: &mut Checkpointer, end: EndOfLog) -> Result<()> {
        let epoch = match self.planted(Plant::EpochKept) {
            false => U64::new(self.random()?),
            true => checkpointer.last.epoch,
        };
        let renew = |block: &mut Superblock| {
            block.epoch = epoch;
            point_to(block, end);
        };
        self.rewrite_superblock(checkpointer, renew)?;
        self.write_superblock(checkpointer, renew)?;
        lock(&self.log).tail.epoch = epoch.get();
        checkpointer.begun = true;
        Ok(())
    }
}

/// Step 2.
fn replay(
    source: &LogSource,
    path: &Path,
    block: &Superblock,
    settings: &Settings,
) -> Result<Replayed> {
    let disk = &*source.disk;
    let from = Checkpointed { position: block.position.get(), heap_bytes: block.heap_bytes.get() };
    let mut image = open_image(disk, from, settings.image_traits(block))?;
    let mut pages = PageSet::default();
    let mut heap_bytes = from.heap_bytes;
    let mut found = RecoveredLog { end: from.position, chain: block.chain.get(), attested: None };
    if !block.is_clean() {
        found = recover(source, block.epoch.get(), found.end, found.chain, |header, body| {
            heap_bytes = image.apply(disk, header, body, &mut pages)?.unwrap_or(heap_bytes);
            Ok(())
        })?;
    }
    if let Some(attested) = found.attested.filter(|_| !settings.salvage) {
        let (position, path) = (found.end, path.to_path_buf());
        let offset = source.ring.file_offset(position);
        return Err(ErrorKind::LogDamaged { path, position, offset, attested }.into());
    }
    image.settle(heap_bytes)?;
    expect_log_is_hole(&image, block)?;
    image.set_position(found.end);
    let end = EndOfLog { position: found.end, chain: found.chain, heap_bytes };
    Ok(Replayed { image, pages, end })
}

/// The log changes under every image, so each must know it as a region that no
/// reference may touch.
fn expect_log_is_hole(image: &Image, block: &Superblock) -> Result<()> {
    let page = (block.log_offset.get() - HEAP_START_BYTES) / PAGE_BYTES;
    let pages = block.log_bytes.get() / PAGE_BYTES;
    let named = image.header()?.log;
    let is_log = |region: &RegionRef| {
        (u64::from(region.page.get()), u64::from(region.pages.get())) == (page, pages)
    };
    // What is hidden as a log must be one.
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

fn open_ring(disk: &dyn Disk, block: &Superblock, planted: Planted) -> std::io::Result<Ring> {
    Ring::new(disk, block.log_offset.get(), block.log_bytes.get(), block.log_base.get(), planted)
}

fn expect_length(path: &Path, found_bytes: u64, block: &Superblock) -> Result<()> {
    let log_end = block.log_offset.get() + block.log_bytes.get();
    let heap_end = HEAP_START_BYTES + block.heap_bytes.get();
    for (what, expected_bytes) in [("the log", log_end), ("the heap", heap_end)] {
        if found_bytes < expected_bytes {
            let path = path.to_path_buf();
            let short = ErrorKind::Truncated { path, what, expected_bytes, found_bytes };
            return Err(short.into());
        }
    }
    Ok(())
}

/// Step 1: the slot and content of the newest superblock that can be used.
fn choose_superblock(
    disk: &dyn Disk,
    path: &Path,
    file_bytes: u64,
    planted: Planted,
) -> Result<Newest> {
    let mut head = read_head(disk, path, file_bytes)?;
    if planted.has(Plant::SuperblockChecksumIgnored) {
        head.chunks_mut(PAGE_BYTES as usize).take(2).for_each(Superblock::seal);
    }
    let [first, second] = SLOT_OFFSETS_BYTES
        .map(|offset| Superblock::parse(&head[offset as usize..][..PAGE_BYTES as usize]));
    // A store of another version must not be written, even if one of its
    // superblocks happens to be readable.
    let alone = |slot, block, unusable: &Unusable| {
        let other = slot ^ usize::from(!planted.has(Plant::GoodSuperblockFirst));
        foreign(path, unusable).map_or(Ok(Newest { slot: other, block }), Err)
    };
    let newest = |slot, block| {
        let slot = slot ^ usize::from(planted.has(Plant::OlderSuperblockFirst));
        Ok(Newest { slot, block })
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

/// Why a superblock is none of this program's, though it may be sound.
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

fn read_head(disk: &dyn Disk, path: &Path, file_bytes: u64) -> Result<Vec<u8>> {
    let path_buf = || path.to_path_buf();
    if file_bytes == 0 {
        return Err(ErrorKind::EmptyFile { path: path_buf() }.into());
    }
    let len = file_bytes.min(HEAP_START_BYTES);
    let mut head = vec![0; len as usize];
    disk.read_at(0, &mut head).map_err(|source| io_error(path, "read the superblocks", source))?;
    if len == HEAP_START_BYTES {
        return Ok(head);
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
    if head[COORDINATION_BYTES as usize..].starts_with(&HALF_MADE) {
        return ErrorKind::HalfMade { path: path_buf };
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

fn io_error(path: &Path, action: &'static str, source: std::io::Error) -> crate::Error {
    ErrorKind::Io { action, path: path.to_path_buf(), source }.into()
}
