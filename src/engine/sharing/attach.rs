//! Opens a store that other processes may have open.
//!
//! The attach lock is held meanwhile. The first process recovers the store as it would for itself
//! alone, and initializes the coordination page. Each later process takes a slot, and acquires the
//! write lock once to learn the rest.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use super::{POLL_INTERVAL, Sharing, TIMEOUT};
use crate::disk::{Coordination, Disk, FileSize, Lock};
use crate::engine::{Core, Settings, lock};
use crate::error::{ErrorKind, Result, io_error};
use crate::format::coordination::SLOTS;
use crate::format::{COORDINATION_BYTES, PAGE_BYTES};

impl Core {
    /// Takes the attach lock and opens the store. [`finish_attach`](Self::finish_attach) must
    /// follow, while a thread runs `serve_others`.
    pub(crate) fn open_shared(
        disk: Arc<dyn Disk>,
        coordination: Box<dyn Coordination>,
        path: &Path,
        settings: Settings,
    ) -> Result<Self> {
        lock_door(&*coordination, path)?;
        let failed = |error| io_error("lock the file for several processes", path)(error);
        match coordination.is_shared().map_err(failed)? {
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
        core.begin_epoch(&mut lock(&core.checkpointer))?;
        // A copy of the file may have a hole there. On a full disk, a store through the mapping
        // would raise SIGBUS where a write returns an error.
        let written = core.disk.write_at(COORDINATION_BYTES, &[0; PAGE_BYTES as usize]);
        written.map_err(|error| io_error("write the page where processes meet", path)(error))?;
        coordination.page().reset();
        let sharing = Sharing::new(coordination, 0);
        sharing.claim(path)?;
        let (page, log) = (sharing.page(), lock(&core.log));
        page.visible.store(log.tail.visible(), SeqCst);
        page.start.store(log.tail.start, SeqCst);
        drop(log);
        core.tell_end(&sharing);
        core.count_first_turn(&sharing);
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
        let failed = |error| io_error("look at the file's length", path)(error);
        let sharing = Sharing::claim_any(coordination, path)?;
        let growth = FileSize::new(Arc::clone(&disk), path).map_err(failed)?;
        let mut core = Self::attach_core(disk, Arc::new(growth), path, settings)?;
        core.sharing = Some(sharing);
        Ok(core)
    }

    /// Learns what the other processes did, and releases the attach lock.
    pub(crate) fn finish_attach(&self) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        drop(self.lock_write(|| Ok(()))?);
        let opened = sharing.coordination.unlock(Lock::Attach);
        opened.map_err(|error| self.io_error("unlock the file for others", error))
    }
}

/// Waits until no other process is opening or closing the store, and takes the attach lock.
pub(super) fn lock_door(coordination: &dyn Coordination, path: &Path) -> Result<()> {
    let begun = Instant::now();
    let failed = |error| io_error("lock the file to open or close it", path)(error);
    while !coordination.try_lock(Lock::Attach).map_err(failed)? {
        if begun.elapsed() > 2 * TIMEOUT {
            return Err(ErrorKind::Locked { path: path.to_path_buf() }.into());
        }
        std::thread::sleep(POLL_INTERVAL);
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
        let taken = taken.map_err(|error| io_error("lock the file for a process", path)(error))?;
        if taken {
            self.own().reset(std::process::id());
        }
        Ok(taken)
    }
}
