//! Opening, and recovery after a crash.
//!
//! 1. Choose the newest valid superblock (`recovery`).
//! 2. Apply the records from its position to an image, in private memory (`recovery`).
//! 3. If the store was not closed cleanly: write those records again and sync, because after a
//!    failed flush the page cache may show bytes that the disk does not have. Then write the pages
//!    that they changed, then both superblocks with a new epoch, so that no dropped record can
//!    reappear.
//!
//! A store that was closed cleanly stays untouched until the first write.

use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError};

use zerocopy::little_endian::U64;

use super::checkpoint::point_to;
use super::format_store::clear_mark;
use super::recovery::{self, Newest, OnDamage, Recovered, open_ring};
use super::{
    Access, Checkpointer, Core, EndOfLog, LogState, ReplayHorizon, Settings, Writer, lock,
};
use crate::disk::{Disk, FileSize};
use crate::error::{Result, io_error};
use crate::format::PAGE_BYTES;
use crate::format::coordination::Event;
use crate::format::superblock::Superblock;
use crate::image::{Checkpointed, Image, PageSet, Pool, open_image};
use crate::log::{LogSource, Tail};
use crate::map::ForkGuard;
use crate::mutation::Mutation;
use crate::sync::Mutex;
use crate::workspace::Workspace;

/// The state of a store as found on opening.
struct State {
    source: LogSource,
    newest: Newest,
    image: Image,
    end: EndOfLog,
}

impl Core {
    /// Opens the store on `disk`; `path` is for messages.
    pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path, settings: Settings) -> Result<Self> {
        let on_damage = if settings.salvage { OnDamage::GoOn } else { OnDamage::Refuse };
        let recovered = Recovered::read(
            Arc::clone(&disk),
            path,
            settings.link_checks,
            on_damage,
            settings.mutation,
        )?;
        let growth = FileSize::new(disk, path)
            .map_err(|source| io_error("look at the file's length", path)(source))?;
        Self::assemble(recovered, Arc::new(growth), path, settings)
    }

    fn assemble(
        recovered: Recovered,
        growth: Arc<FileSize>,
        path: &Path,
        settings: Settings,
    ) -> Result<Self> {
        let Recovered { source, newest, image, pages, end, .. } = recovered;
        // If a power cut has left one superblock, persist the state to write the other again.
        let is_at_rest = newest.block.is_clean() && newest.both_valid;
        let core = Self::from_state(State { source, newest, image, end }, growth, path, settings);
        if core.settings.access == Access::Read {
            return Ok(core);
        }
        clear_mark(&*core.disk)
            .map_err(|error| core.io_error("end the store's creation", error))?;
        if !is_at_rest {
            core.persist_recovered_state(&pages, end)?;
        }
        Ok(core)
    }

    /// Opens the store as its newest superblock names it, in a process that attaches to others.
    /// Applies no record and writes nothing.
    pub(super) fn attach_core(
        disk: Arc<dyn Disk>,
        growth: Arc<FileSize>,
        path: &Path,
        settings: Settings,
    ) -> Result<Self> {
        let newest = recovery::choose(&*disk, path, settings.mutation)?;
        let Newest { block, .. } = &newest;
        let from = Checkpointed::of(block);
        let image = open_image(&*disk, from, settings.image_traits(block))?;
        let ring = open_ring(&*disk, block, settings.mutation);
        let ring = Arc::new(ring.map_err(|error| io_error("map the log", path)(error))?);
        let (position, prev_checksum) = (from.position, block.prev_checksum.get());
        let end = EndOfLog { position, prev_checksum, heap_bytes: from.heap_bytes };
        let source = LogSource { ring, disk };
        let mut core =
            Self::from_state(State { source, newest, image, end }, growth, path, settings);
        // The first process has done what a first transaction does.
        core.writer.get_mut().unwrap_or_else(PoisonError::into_inner).has_begun = true;
        core.checkpointer.get_mut().unwrap_or_else(PoisonError::into_inner).begun = true;
        Ok(core)
    }

    fn from_state(state: State, growth: Arc<FileSize>, path: &Path, settings: Settings) -> Self {
        let State { source, newest, image, end } = state;
        let (LogSource { ring, disk }, Newest { slot, block, .. }) = (source, newest);
        let longest = block.heap_bytes.get().max(image.heap_bytes());
        let from = Checkpointed::of(&block);
        let max_record_bytes = ring.max_record_bytes().into();
        let mut tail = Tail::new(ring, block.epoch.get(), end.position, end.prev_checksum);
        tail.start = from.position;
        let log = LogState {
            tail,
            ends: ReplayHorizon::new(longest),
            heap_bytes: end.heap_bytes,
            checkpoint: end.position,
            no_move_before: 0,
        };
        let workspace = Workspace::new(image, Arc::clone(&disk), Arc::clone(&growth));
        let writer = Writer { workspace, record: Vec::new(), has_begun: false };
        Self {
            path: path.to_path_buf(),
            disk,
            growth,
            hash_key: block.hash_key,
            writer: Mutex::new(writer),
            pool: Mutex::new(Pool::new(from, settings.image_traits(&block))),
            checkpointer: Mutex::new(Checkpointer { image: None, last: block, slot, begun: false }),
            flush_leader: Default::default(),
            settings,
            log: Mutex::new(log),
            visible: end.position.into(),
            durable: end.position.into(),
            readers_untold: Default::default(),
            poison: OnceLock::new(),
            birth: ForkGuard::here(),
            event: Event::default(),
            sharing: None,
            replayed_bytes: end.position - from.position,
            max_record_bytes,
        }
    }

    /// Performs step 3.
    fn persist_recovered_state(&self, pages: &PageSet, end: EndOfLog) -> Result<()> {
        let writer = self.lock_writer();
        let mut checkpointer = lock(&self.checkpointer);
        let from = checkpointer.last.position.get();
        if !self.mutation(Mutation::RecordsNotRewritten) {
            self.rewrite_records(from, end.position)?;
        }
        if !self.mutation(Mutation::RecoveredSuperblockBeforeHeap) {
            self.write_pages(&writer.workspace, pages)?;
        }
        self.begin_epoch_at(&mut checkpointer, end)?;
        if self.mutation(Mutation::RecoveredSuperblockBeforeHeap) {
            self.write_pages(&writer.workspace, pages)?;
        }
        self.free_log(&checkpointer, end.position)
    }

    /// Writes the accepted records again, block by block, and syncs.
    pub(super) fn rewrite_records(&self, from: u64, to: u64) -> Result<()> {
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

    /// Makes both superblocks name a new epoch, before the first append.
    pub(super) fn begin_epoch(&self, checkpointer: &mut Checkpointer) -> Result<()> {
        checkpointer.begun |= self.mutation(Mutation::CleanFlagKept);
        if checkpointer.begun {
            return Ok(());
        }
        let end = self.end_of_log();
        self.begin_epoch_at(checkpointer, end)
    }

    /// Writes both superblocks with a new epoch. The newest is overwritten first: if the page cache
    /// showed one that the disk does not have, the other remains a complete state until this one is
    /// durable. If the other one is damaged, usually torn by a power cut, it is written first: a
    /// cut at this point must not tear the only good one.
    fn begin_epoch_at(&self, checkpointer: &mut Checkpointer, end: EndOfLog) -> Result<()> {
        let epoch = match self.mutation(Mutation::EpochKept) {
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
