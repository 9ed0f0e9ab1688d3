//! The log while another process blocks checkpoints: it holds a snapshot and does not acknowledge.
//!
//! The log grows then, up to a bound of its own, since commits go on and nothing frees it; when the
//! process goes on, the log gets its usual length again. **Must not know** how the log moves
//! (`log_move`), or who blocks (`sharing::blocked`).

use super::core::Core;
use super::log_region::{LogMove, LogStep};
use super::sharing::blocked::Patience;
use super::sharing::state::Sharing;
use super::state::LogState;
use crate::error::{Error, ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::format::superblock::LOG_BYTES;
use crate::sync::atomic::Ordering::Acquire;
use crate::sync::lock;

/// How much longer the log becomes at a time.
const GROWTH: u64 = 4;
/// How much longer it may become at a time, for a record that does not fit otherwise.
const MOST_GROWTH: u64 = 6;
/// It grows when so many eighths of it are used, if a process has blocked checkpoints for a while: not
/// for one that is slow. A record of a quarter of the log fits at any time then, with the skip before it.
const FILLED_EIGHTHS: u64 = 3;
/// It grows when so many are used, however shortly one has blocked them.
const SCARCE_EIGHTHS: u64 = 5;
/// This fraction of the log is for the record of its own move, while a process may come to block it. The
/// record is shorter: some 10 bytes for each page of the new region, which is six times as long at most.
pub(super) const SHARE_FOR_MOVE: u64 = 8;
/// Without a bound of the program, it takes at most this fraction of the disk's free space.
const SHARE_OF_FREE_SPACE: u64 = 8;

impl Core {
    /// Returns what is to be done for the log's length before a transaction begins, whose record might
    /// find no room. Nobody may know yet that a process blocks checkpoints: those that hold snapshots are
    /// asked, once while the log is as full. With the write lock and the writer's.
    #[inline]
    pub(crate) fn log_step_at_begin(&self) -> Option<LogStep> {
        self.sharing.as_ref().and_then(|sharing| self.log_step_of_shared(sharing))
    }

    fn log_step_of_shared(&self, sharing: &Sharing) -> Option<LogStep> {
        let asks = {
            let mut log = lock(&self.log);
            if log.log_move.makes_room() {
                // A record has found no room. By now a checkpoint may have made some.
                if self.is_still_blocked() {
                    return self.log_step(&mut log);
                }
                log.log_move = LogMove::None;
            }
            if !is_used(&log, FILLED_EIGHTHS) {
                return None;
            }
            let is_known = self.is_blocked() || log.holders_asked == log.tail.start;
            log.holders_asked = log.tail.start;
            let may_grow = || self.may_grow(log.tail.ring.len_bytes());
            !is_known && sharing.may_others_hold() && may_grow()
        };
        if asks {
            // What comes of it is noted, and the checkpoint that is due asks again.
            let _ = self.request_barrier(self.visible.load(Acquire), Patience::Short);
        }
        if !self.is_blocked() {
            return None;
        }
        self.log_step(&mut lock(&self.log))
    }

    /// Notes, after an append, that the log should be longer because checkpoints are blocked.
    pub(super) fn note_blocked_load(&self, log: &mut LogState) {
        if log.tail.appended < log.no_move_before || !self.is_blocked() {
            return;
        }
        let is_scarce = is_used(log, SCARCE_EIGHTHS);
        if is_scarce || is_used(log, FILLED_EIGHTHS) && self.is_blocked_for_long() {
            self.want_longer_log(log, 0);
        }
    }

    /// Returns whether a record of `len_bytes` leaves the room that the log's own move needs: should a
    /// process come to block checkpoints, the move would be the only way to more room.
    pub(super) fn leaves_way_out(&self, log: &LogState, len_bytes: u64) -> bool {
        let Some(sharing) = &self.sharing else { return true };
        let log_bytes = log.tail.ring.len_bytes();
        log.tail.fits_before(len_bytes, log_bytes / SHARE_FOR_MOVE)
            // This is the record of the move.
            || log.log_move.makes_room()
            || !sharing.may_others_hold()
            || !self.may_grow(log_bytes)
    }

    fn may_grow(&self, log_bytes: u64) -> bool {
        self.blocked_bound_bytes(log_bytes) >= 2 * log_bytes
    }

    /// Notes that the log should be longer, if its bound allows it; so long that a record of `len_bytes`
    /// fits, or as long as it can be for now.
    fn want_longer_log(&self, log: &mut LogState, len_bytes: u64) {
        let len = log.tail.ring.len_bytes();
        let wanted = (GROWTH * (len + len_bytes)).min(MOST_GROWTH * len);
        let bytes = wanted.min(self.blocked_bound_bytes(len));
        // Each move leaves a hole in the heap; less than doubling is not worth it.
        if bytes >= 2 * len && self.is_still_blocked() {
            log.log_move = LogMove::Wanted { bytes };
        }
    }

    /// Returns the length up to which a log of `len` bytes may grow.
    fn blocked_bound_bytes(&self, len: u64) -> u64 {
        let bound = self.settings.max_blocked_log_bytes.unwrap_or_else(|| {
            let free_bytes = self.growth.free_bytes().unwrap_or(0);
            (free_bytes.saturating_add(len) / SHARE_OF_FREE_SPACE).max(self.settings.max_log_bytes)
        });
        bound.min(*LOG_BYTES.end()) / PAGE_BYTES * PAGE_BYTES
    }

    /// Returns the error for a record that found no room, since a checkpoint failed with `error`. If a
    /// process blocks it, the log is to be longer for the next try, or has grown to its bound.
    #[cold]
    pub(super) fn no_room(&self, error: Error, len_bytes: u64) -> Error {
        let ErrorKind::ProcessUnresponsive { process, .. } = *error.kind() else { return error };
        if !self.is_still_blocked() {
            return error;
        }
        let mut log = lock(&self.log);
        let log_bytes = log.tail.ring.len_bytes();
        let bound_bytes = self.blocked_bound_bytes(log_bytes);
        if len_bytes > bound_bytes.max(log_bytes) / 4 {
            // Such a record needs a checkpoint, whatever the log's length is.
            return error;
        }
        self.want_longer_log(&mut log, len_bytes);
        if log.log_move.makes_room() {
            return error;
        }
        let (path, age) = (self.path.clone(), self.age_of_blocking_snapshot());
        ErrorKind::LogBlocked { path, process, age, log_bytes, bound_bytes }.into()
    }

    /// Notes the log's length before it grows for a process that blocks checkpoints.
    pub(super) fn note_growth(&self, log_bytes: u64) {
        if self.is_blocked() {
            self.note_usual_log_bytes(log_bytes);
        }
    }

    /// Returns whether the log is to become shorter: no process has blocked checkpoints for a while. Each
    /// growth takes a new region at the file's end, so one that comes and goes is not to cost one each
    /// time.
    pub(crate) fn is_shortening_due(&self) -> bool {
        self.usual_log_bytes() != 0 && self.is_calm()
    }

    /// Gives the log the length again that it had before checkpoints were blocked, after a checkpoint.
    /// With the write lock and the writer's: the log stays empty.
    pub(crate) fn shorten_blocked_log(&self) -> Result<()> {
        let usual = self.usual_log_bytes();
        if usual == 0 {
            return Ok(());
        }
        if lock(&self.log).tail.ring.len_bytes() > usual {
            self.run_checkpoint(&mut self.lock_checkpointer(), Patience::Short)?;
            self.shorten_log(usual / PAGE_BYTES)?;
        }
        self.forget_usual_log_bytes();
        Ok(())
    }
}

fn is_used(log: &LogState, eighths: u64) -> bool {
    log.tail.appended - log.tail.start >= log.tail.ring.len_bytes() / 8 * eighths
}
