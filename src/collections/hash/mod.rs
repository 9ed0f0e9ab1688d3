//! Hash maps and sets.
//!
//! **Owns** the layout of a hash table in the heap, and how it grows. **Must not
//! know** how keys are hashed and stored (`key`), nor how blocks are found.
//!
//! # Design
//!
//! Linear hashing over *shards*. The low bits of a key's hash choose a shard
//! through a directory. A shard is an open-addressing table of some tens of
//! kilobytes with its own blocks: up to three of entries, and one with a byte
//! (*tag*) for each slot. Blocks of entries have few sizes; with one block of
//! arbitrary size for each shard, a fifth of the file was holes. The upper half of
//! the hash chooses the group of 16 slots where a probe begins. The probe compares
//! the group's tags at once, visits the entries whose tag matches the hash, and
//! goes on to the next group if no slot was empty.
//!
//! A full shard moves to blocks about a fifth larger. When the number of entries
//! exceeds the target for the number of shards, one shard is split in two; the
//! number of shards determines which one. An insert therefore moves at most one or
//! two shards, the file's space is well used at every size, and nothing depends on
//! the order of inserts.
//!
//! # Invariants
//!
//! `H1` An entry lies in the shard that its hash chooses, in the first group from
//! its home on that had a free slot; no slot of the groups before it has been empty
//! since. `H2` Slots without an entry are zero, so a walk over an allocation by its
//! type description finds no stale link. `H3` No number from the file is trusted: a
//! probe ends after visiting each group once, and blocks are validated before they
//! are changed.

mod capacity;
mod control;
mod entry;
mod iter;
mod layout;
mod lookup;
mod map;
mod map_mut;
mod set;
mod shard;
mod sizing;
mod split;
mod table;

pub use entry::{Entry, OccupiedEntry, VacantEntry};
pub use iter::{Iter, Keys, Values};
pub use map::{HashMap, HashMapReader};
pub use set::HashSet;
