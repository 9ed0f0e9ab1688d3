//! Hash maps and sets.
//!
//! **Owns** how a hash table lies in the heap and how it grows. **Must not
//! know** how keys are hashed and stored (`key`), nor how blocks are found.
//!
//! # How it is built
//!
//! Linear hashing over *shards*. The low bits of a key's hash choose a shard
//! through a directory; a shard is an open-addressing table of some tens of
//! kilobytes with blocks of its own: up to three of entries, and one with a byte
//! (*tag*) for each slot. Blocks of entries have few sizes, because with one block
//! of any size for each shard a fifth of the file was holes. The upper half of
//! the hash chooses a group of 16 slots where a probe begins; it compares the
//! group's tags at once, looks at the entries whose tag is the hash's, and goes on
//! to the next group if no slot was empty.
//!
//! A shard that is full moves to blocks about an eighth larger. When there are
//! more entries than the shards are there for, one shard is split in two: which
//! one is fixed by their number. So an insert moves one or two shards at most,
//! the file's room is in use at any size, and nothing depends on the order of
//! inserts.
//!
//! # Invariants
//!
//! `H1` An entry lies in the shard that its hash chooses, in the first group
//! from its home on that had room; no slot of the groups before has been empty
//! since. `H2` Slots without an entry are zero: whoever walks through an
//! allocation by its description finds no stale link. `H3` No number of the file
//! is trusted: probes end after each group once, and blocks are tested before
//! they are changed.

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
