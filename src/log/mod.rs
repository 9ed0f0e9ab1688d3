//! The redo log: an endless sequence of records in a ring of bytes.
//!
//! **Owns** where a position lies in the ring, how records follow each other,
//! and which bytes a flush has to cover. **Must not know** what the entries of
//! a record mean, images, or who waits for a flush.
//!
//! # Invariants
//!
//! `L1` Records never wrap, begin at multiples of 8, and leave either no byte
//! of their 4 KiB block or room for a header: so the rest of a block, or of
//! the ring, can always be skipped by a record. `L2` The bytes of
//! `[start, appended)` are never stored to again. `L3` Before a flush the block
//! is filled up, so that the next append begins a new one: a torn write cannot
//! touch what was durable. `L4` A record is whole before `appended` moves past
//! it. `L5` `visible` is the largest position such that every record before it
//! is durable or deferred.

mod recovery_scan;
mod ring;
mod tail;

pub(crate) use recovery_scan::{RecoveredLog, scan};
pub(crate) use ring::{LogSource, READING, Ring};
pub(crate) use tail::{Append, Tail};
