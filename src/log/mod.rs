//! The redo log: an endless sequence of records in a ring of bytes.
//!
//! **Owns** the mapping of positions to the ring, the order of records, and the bytes that a flush
//! has to cover. **Must not know** the meaning of a record's entries, images, or who waits for a
//! flush.
//!
//! # Invariants
//!
//! `L1` Records never wrap, begin at multiples of 8, and leave either no byte of their 4 KiB block
//! or space for a header: so a record can always skip the rest of a block, or of the ring. `L2` The
//! bytes of `[start, appended)` are never stored to again. `L3` A flush first pads the block, so
//! the next append begins a new one: a torn write cannot touch durable bytes. `L4` A record is
//! whole before `appended` moves past it. `L5` `visible` is the largest position such that every
//! record before it is durable or deferred.

mod recovery_scan;
mod ring;
mod source;
mod tail;

pub(crate) use recovery_scan::{RecoveredLog, scan};
pub(crate) use ring::Ring;
pub(crate) use source::{LogSource, Piece, READING};
pub(crate) use tail::{Append, Tail};
