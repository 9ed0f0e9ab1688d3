//! The log's ring, which another process may have moved.
//!
//! **Owns** `ring_seq` of the page. A reader looks at it after it has loaded which position it is to
//! reach, and again after it has read: a ring that the log has left holds what was appended before, and
//! its region is overwritten only after the number has changed (docs/design/log-length.md).

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::fence;

use super::state::Sharing;
use crate::engine::core::Core;
use crate::engine::recovery::open_ring;
use crate::error::Result;
use crate::format::superblock::Superblock;
use crate::log::{LogSource, Ring};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::lock;

impl Core {
    /// Returns the log in a ring that holds all that was visible before this call.
    pub(in crate::engine) fn follow_ring(&self, sharing: &Sharing) -> Result<LogSource> {
        let seq = sharing.page().ring_seq.load(SeqCst);
        self.expect_connected(sharing)?;
        let source = self.log_source();
        // This process's own move changes the ring first.
        if source.ring.seq() >= seq {
            return Ok(source);
        }
        // Both superblocks name the ring of this number, or a later one that holds the same.
        let (block, _) = self.read_superblock()?;
        let ring = self.ring_of(&block, seq)?;
        let mut log = lock(&self.log);
        if log.tail.ring.seq() < seq {
            self.max_record_bytes.store(ring.max_record_bytes(), Relaxed);
            log.tail.ring = Arc::new(ring);
        }
        drop(log);
        Ok(self.log_source())
    }

    /// Has the log go on in the ring that `block` names, which a process may have moved it to that died
    /// before it could tell. With the write lock, before anything is appended.
    pub(super) fn take_over_ring(&self, sharing: &Sharing, block: &Superblock) -> Result<()> {
        let seq = sharing.page().ring_seq.load(SeqCst) + 1;
        let ring = self.ring_of(block, seq)?;
        let mut log = lock(&self.log);
        self.max_record_bytes.store(ring.max_record_bytes(), Relaxed);
        log.tail.ring = Arc::new(ring);
        drop(log);
        self.publish_ring()
    }

    /// Tells other processes that the log has moved to this one's ring.
    pub(in crate::engine) fn publish_ring(&self) -> Result<()> {
        let seq = lock(&self.log).tail.ring.seq();
        self.publish_ring_seq(seq)
    }

    pub(in crate::engine) fn publish_ring_seq(&self, seq: u64) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        sharing.page().ring_seq.store(seq, SeqCst);
        // Before anything overwrites the region that the log has left.
        fence(SeqCst);
        self.expect_connected(sharing)
    }

    fn ring_of(&self, block: &Superblock, seq: u64) -> Result<Ring> {
        let ring = open_ring(&*self.disk, &self.path, block, self.settings.mutation)?;
        Ok(ring.numbered(seq))
    }
}
