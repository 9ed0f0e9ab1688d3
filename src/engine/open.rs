//! Opening, with recovery after a crash, and the clean close.
//!
//! 1. Choose the newest valid superblock, find the log's end, and survey its records (`recovery`).
//! 2. Apply them to an image, in private memory, unless that would take too much of it.
//! 3. If the store was not closed cleanly, make that state durable; apply the records meanwhile, if
//!    that is still to be done (`rounds`).
//!
//! A store that was closed cleanly stays untouched until the first write. A close completes the
//! heap, empties the log, punches free pages out of the file, and cuts it to the heap's length.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::checkpoint_progress::CheckpointProgress;
use super::core::Core;
use super::dirty_pages::DirtyPages;
use super::format_store::clear_mark;
use super::poison::Poison;
use super::recovery::{OnDamage, Recovered, open_ring};
use super::replay_horizon::ReplayHorizon;
use super::settings::{Access, Settings};
use super::sharing::blocked::Patience;
use super::state::{Checkpointer, EndOfLog, LogState, Writer};
use super::superblocks::{Newest, choose};
use crate::disk::{Disk, FileSize};
use crate::error::{Result, io_error};
use crate::format::coordination::Event;
use crate::image::{Account, Checkpointed, Image, Pool, Spiller, Use, open_image};
use crate::log::LogSource;
use crate::map::ForkGuard;
use crate::mutation::Mutation;
use crate::sync::{Mutex, unpoisoned};
use crate::workspace::{RecordBody, Workspace};

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
        let recovered = Recovered::find(
            Arc::clone(&disk),
            path,
            settings.link_checks,
            on_damage,
            settings.mutation,
        )?;
        let growth = FileSize::new(disk, path, settings.max_file_bytes, settings.mutation);
        let growth = Arc::new(growth.map_err(io_error("look at the file's length", path))?);
        match settings.access {
            Access::Read => Self::open_to_read(recovered, growth, path, settings),
            Access::Write => Self::open_to_write(recovered, growth, path, settings),
        }
    }

    fn open_to_read(
        mut recovered: Recovered,
        growth: Arc<FileSize>,
        path: &Path,
        settings: Settings,
    ) -> Result<Self> {
        recovered.replay_within(path, settings.budget.bytes())?;
        let Recovered { source, newest, mut image, end, .. } = recovered;
        image.set_random_from(settings.random_from_bytes);
        // No transaction begins, so the writer's image stays without records, which take memory.
        let from = Checkpointed::of(&newest.block);
        let unused = open_image(&*source.disk, from, settings.image_traits(&newest.block))?;
        let state = State { source, newest, image: unused, end };
        let core = Self::from_state(state, growth, path, settings);
        // No checkpoint gives its pages back, so nobody waits for that.
        image.charge_to(&core.account, Use::Held);
        core.pool.begin_with(image);
        Ok(core)
    }

    fn open_to_write(
        mut recovered: Recovered,
        growth: Arc<FileSize>,
        path: &Path,
        settings: Settings,
    ) -> Result<Self> {
        if recovered.surveyed.private_pages <= settings.round_pages {
            recovered.replay()?;
        }
        let Recovered { source, newest, image, surveyed, end, .. } = recovered;
        // If a power cut has left one superblock, persist the state to write the other again.
        let is_at_rest = newest.block.is_clean() && newest.both_valid;
        let core = Self::from_state(State { source, newest, image, end }, growth, path, settings);
        clear_mark(&*core.disk).map_err(core.io_error("end the store's creation"))?;
        if !is_at_rest {
            core.persist_recovered_state(&surveyed, end)?;
        }
        Ok(core)
    }

    /// Opens the store as its newest superblock names it, in a process that attaches to others.
    /// Applies no record and writes nothing. The log had moved `ring_seq` times, at least.
    pub(super) fn attach_core(
        disk: Arc<dyn Disk>,
        growth: Arc<FileSize>,
        path: &Path,
        settings: Settings,
        ring_seq: u64,
    ) -> Result<Self> {
        let newest = choose(&*disk, path, settings.mutation)?;
        let Newest { block, .. } = &newest;
        let from = Checkpointed::of(block);
        let image = open_image(&*disk, from, settings.image_traits(block))?;
        let ring = open_ring(&*disk, path, block, settings.mutation)?.numbered(ring_seq);
        let source = LogSource { ring: Arc::new(ring), disk };
        let (position, prev_checksum) = (from.position, block.prev_checksum.get());
        let end = EndOfLog { position, prev_checksum, heap_bytes: from.heap_bytes };
        let mut core =
            Self::from_state(State { source, newest, image, end }, growth, path, settings);
        // The first process has done what a first transaction does.
        unpoisoned(core.writer.get_mut()).has_begun = true;
        unpoisoned(core.checkpointer.get_mut()).begun = true;
        Ok(core)
    }

    fn from_state(state: State, growth: Arc<FileSize>, path: &Path, settings: Settings) -> Self {
        let State { source, newest, mut image, end } = state;
        image.set_random_from(settings.random_from_bytes);
        let (LogSource { ring, disk }, Newest { slot, block, .. }) = (source, newest);
        let longest = block.heap_bytes.get().max(image.heap_bytes()).max(end.heap_bytes);
        let from = Checkpointed::of(&block);
        let max_record_bytes = ring.max_record_bytes().into();
        let ends = ReplayHorizon::new(longest);
        // Pages that recovery changed are written before anything else can begin.
        let dirty = DirtyPages::new(end.position);
        let log = LogState::new(ring, block.epoch.get(), from.position, end, ends, dirty);
        let account = Account::new(Arc::clone(&settings.budget));
        image.charge_to(&account, Use::Writer);
        let workspace = Workspace::new(image, Arc::clone(&disk), Arc::clone(&growth));
        let body = RecordBody::default();
        let writer = Writer { workspace, body, has_begun: false };
        let (limits, mutation) = (settings.spill_limits, settings.mutation);
        let pool = Pool::new(
            from,
            settings.image_traits(&block),
            Arc::clone(&account),
            settings.max_held_images,
            Spiller::new(Arc::clone(&disk), Arc::clone(&account), limits, mutation),
            mutation,
        );
        Self {
            path: path.to_path_buf(),
            disk,
            growth,
            hash_key: block.hash_key,
            writer: Mutex::new(writer),
            pool,
            checkpointer: Mutex::new(Checkpointer { image: None, last: block, slot, begun: false }),
            flush_leader: Default::default(),
            settings,
            log: Mutex::new(log),
            log_freed: Default::default(),
            visible: end.position.into(),
            durable: end.position.into(),
            checkpointed: from.position.into(),
            released_at: u64::MAX.into(),
            account,
            progress: CheckpointProgress::default(),
            readers_unreported: Default::default(),
            pace: Default::default(),
            deferred: Default::default(),
            poison: Poison::none(path),
            fork_guard: ForkGuard::here(),
            opened_at: SystemTime::now(),
            event: Event::default(),
            sharing: None,
            replayed_bytes: end.position - from.position,
            max_record_bytes,
        }
    }

    /// Brings the file to rest, and gives back the space of these free pages. Writes nothing if
    /// nothing changed since the store was opened.
    pub(crate) fn close(&self, free: &[(u64, u64)]) -> Result<()> {
        self.expect_own_process()?;
        let mut checkpointer = self.lock_checkpointer();
        if !checkpointer.begun {
            return Ok(());
        }
        self.pool.expect_no_reader();
        if self.mutation(Mutation::CleanBeforeCheckpoint) {
            self.mark_clean(&mut checkpointer)?;
        }
        self.in_order(
            Mutation::PunchedBeforeCheckpoint,
            || self.run_checkpoint(&mut checkpointer, Patience::Full),
            || {
                self.punch(free);
                Ok(())
            },
        )?;
        self.mark_clean(&mut checkpointer)?;
        self.cut_to_heap(checkpointer.last.heap_bytes.get())?;
        checkpointer.begun = false;
        Ok(())
    }
}
