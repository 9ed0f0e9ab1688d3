//! A store that several processes write, one at a time.
//!
//! **Owns** this process's view of the others: its slot, its share of the write lock, and its
//! answers to barriers. docs/design/sharing.md argues the protocol
//! step by step.
//!
//! # Invariants
//!
//! `P1` Every change of the file happens under the write lock, which one process holds at a time;
//! the threads of that process share it. `P2` When the write lock is released, everything appended
//! is visible, and the page holds the log's end. `P3` A snapshot
//! is taken at what is visible after the slot says that its process may hold one; and a process that
//! says so acknowledges a barrier when its snapshots behind it have pages of their own. So whoever
//! writes pages, all visible, need not ask a process that does not say so. `P4`
//! The log is not overwritten from the page's `start` on; `start` is at most the older superblock's
//! position. `P5` `lock_holder` is 0 only if the last holder released the write lock in order. `P6`
//! A process acts on what it read from the page only after it has checked that the page is the
//! shared one (`cut_off`).

mod attach;
mod barrier;
pub(super) mod blocked;
mod catch_up;
mod cut_off;
mod hold;
mod holds;
mod members;
mod ring;
pub(in crate::engine) mod snapshot;
pub(super) mod state;
mod takeover;
mod write_lock;

pub use members::{ProcessInfo, SnapshotInfo};
pub(crate) use write_lock::WriteLock;
