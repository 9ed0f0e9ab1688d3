//! Opens a store that other processes may have open, and leaves it.
//!
//! The attach lock is held during either. The first process recovers the store as it would for itself
//! alone, and initializes the coordination page. Each later process takes a slot, and acquires the
//! write lock once to learn the rest. The last process to leave closes the store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::members::ms;
use super::state::{POLL_INTERVAL, Sharing};
use crate::deadline::Deadline;
use crate::disk::{Coordination, Disk, FileSize, Lock};
use crate::engine::core::Core;
use crate::engine::settings::Settings;
use crate::error::{ErrorKind, Result, io_error};
use crate::format::coordination::SLOTS;
use crate::format::{COORDINATION_BYTES, PAGE_BYTES};
use crate::sync::lock;

impl Core {
    /// Takes the attach lock and opens the store. [`finish_attach`](Self::finish_attach) must
    /// follow, while a thread runs `serve_others`.
    pub(crate) fn open_shared(
        disk: Arc<dyn Disk>,
        coordination: Box<dyn Coordination>,
        path: &Path,
        settings: Settings,
    ) -> Result<Self> {
        lock_attach(&*coordination, path)?;
        let is_shared = coordination.is_shared();
        match is_shared.map_err(io_error("lock the file for several processes", path))? {
            false => Self::open_first(disk, coordination, path, settings),
            true => Self::attach(disk, coordination, path, settings),
        }
    }

    fn open_first(
        disk: Arc<dyn Disk>,
        coordination: Box<dyn Coordination>,
        path: &Path,
        settings: Settings,
    ) -> Result<Self> {
        let mut core = Self::open(disk, path, settings)?;
        core.begin_epoch(&mut core.lock_checkpointer())?;
        // A copy of the file may have a hole there. On a full disk, a store through the mapping
        // would raise SIGBUS where a write returns an error.
        let written = core.disk.write_at(COORDINATION_BYTES, &[0; PAGE_BYTES as usize]);
        written.map_err(io_error("write the page where processes meet", path))?;
        coordination.page().reset();
        let sharing = Sharing::new(coordination, 0);
        sharing.claim(path)?;
        let (page, log) = (sharing.page(), lock(&core.log));
        page.visible.store(log.tail.visible(), SeqCst);
        page.start.store(log.tail.start, SeqCst);
        drop(log);
        core.publish_end(&sharing);
        sharing.count_first_hold();
        core.expect_connected(&sharing)?;
        core.sharing = Some(sharing);
        Ok(core)
    }

    fn attach(
        disk: Arc<dyn Disk>,
        coordination: Box<dyn Coordination>,
        path: &Path,
        settings: Settings,
    ) -> Result<Self> {
        let sharing = Sharing::claim_any(coordination, path)?;
        let growth =
            FileSize::new(Arc::clone(&disk), path, settings.max_file_bytes, settings.mutation);
        let growth = growth.map_err(io_error("look at the file's length", path))?;
        // Before the superblock is read: if the log moves in between, this process looks again.
        let seq = sharing.page().ring_seq.load(SeqCst);
        // The file is as long as the superblock says only until the others have cut it.
        let attach = || Self::attach_core(disk, Arc::new(growth), path, settings, seq);
        let mut core = sharing.announce_following(attach)?;
        core.sharing = Some(sharing);
        Ok(core)
    }

    /// Learns what the other processes did, and releases the attach lock.
    pub(crate) fn finish_attach(&self) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        drop(self.lock_write(Deadline::NEVER, || Ok(()))?);
        let opened = sharing.coordination.unlock(Lock::Attach);
        opened.map_err(self.io_error("unlock the file for others"))
    }

    /// Detaches from the store; the last process brings the file to rest. It calls `tidy` first, which
    /// returns the free pages whose space is given back. The thread of `serve_others` must keep
    /// running until [`release_slot`](Self::release_slot).
    pub(crate) fn detach(&self, tidy: impl FnOnce(&Self) -> Vec<(u64, u64)>) -> Result<()> {
        self.expect_own_process()?;
        let Some(sharing) = &self.sharing else {
            return self.close(&tidy(self));
        };
        self.expect_connected(sharing)?;
        lock_attach(&*sharing.coordination, &self.path)?;
        self.close_if_last(tidy)
    }

    /// Releases the slot. Nothing may use it afterwards, and no thread may serve others: it would
    /// acknowledge in the slot of the process that takes it next.
    pub(crate) fn release_slot(&self) {
        let Some(sharing) = &self.sharing else { return };
        // Closing the descriptor would do the same, unless a forked child has it too.
        for lock in [Lock::Slot(sharing.slot), Lock::Attach] {
            let _ = sharing.coordination.unlock(lock);
        }
    }

    fn close_if_last(&self, tidy: impl FnOnce(&Self) -> Vec<(u64, u64)>) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let is_shared = sharing.coordination.is_shared();
        if is_shared.map_err(self.io_error("see whether another process has the store"))? {
            return Ok(());
        }
        let _hold = self.join_write_lock()?;
        self.close(&tidy(self))
    }
}

/// Waits until no other process is opening or closing the store, and takes the attach lock.
fn lock_attach(coordination: &dyn Coordination, path: &Path) -> Result<()> {
    let begun = Instant::now();
    let failed = |error| io_error("lock the file to open or close it", path)(error);
    while !coordination.try_lock(Lock::Attach).map_err(failed)? {
        if begun.elapsed() > 2 * coordination.patience() {
            return Err(ErrorKind::Locked { path: path.to_path_buf() }.into());
        }
        crate::sync::sleep(POLL_INTERVAL);
    }
    Ok(())
}

impl Sharing {
    /// Takes the first free slot.
    fn claim_any(coordination: Box<dyn Coordination>, path: &Path) -> Result<Self> {
        let mut sharing = Self::new(coordination, 0);
        for slot in 0..SLOTS {
            sharing.slot = slot;
            if sharing.claim(path)? {
                return Ok(sharing);
            }
        }
        Err(ErrorKind::TooManyProcesses { path: path.to_path_buf(), most: SLOTS }.into())
    }

    /// Takes the slot if it is free; returns whether it was.
    fn claim(&self, path: &Path) -> Result<bool> {
        let taken = self.coordination.try_lock(Lock::Slot(self.slot));
        let taken = taken.map_err(io_error("lock the file for a process", path))?;
        if taken {
            self.own().reset(std::process::id());
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.own().opened_at_ms.store(ms(now), SeqCst);
        }
        Ok(taken)
    }
}
