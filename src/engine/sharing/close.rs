//! Detaches from a store that other processes may have open.

use super::attach::lock_door;
use crate::disk::Lock;
use crate::engine::Core;
use crate::error::Result;

impl Core {
    /// Detaches from the store; the last process brings the file to rest. The thread of
    /// `serve_others` must keep running until [`release_slot`](Self::release_slot).
    pub(crate) fn detach(&self) -> Result<()> {
        let Some(sharing) = &self.sharing else { return self.close() };
        self.expect_own_process()?;
        self.expect_connected(sharing)?;
        lock_door(&*sharing.coordination, &self.path)?;
        self.close_if_last()
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

    fn close_if_last(&self) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let failed = |error| self.io_error("see whether another process has the store", error);
        if sharing.coordination.is_shared().map_err(failed)? {
            return Ok(());
        }
        let _turn = self.join_write_lock()?;
        self.close()
    }
}
