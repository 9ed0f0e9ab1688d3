//! Maps and sets in the order of their keys: B+ trees.
//!
//! **Owns** the nodes, their links, and the order of the entries. **Must not
//! know** what keys and values mean beside their order, size and what they own.
//!
//! # Invariants
//!
//! `B1` A node's level is 0 for a leaf and one more than its children's for an
//! inner node; it has from one entry or child up to its capacity. `B2` Leaves
//! are linked in the order of their keys, and each names both neighbours. `B3`
//! The key between two children is above all keys before it and not above any
//! behind it. Where keys own memory it is a copy of the first key behind it, so
//! that it is never read after its memory was freed. `B4` Slots past a node's
//! length are zero.
//!
//! # What bounds each walk
//!
//! Down: the level falls by one at each step, from at most 32. Along the leaves:
//! each must name the one that the walk comes from, so the first leaf to come a
//! second time is the one where the walk began, which is looked for. Nothing
//! trusts the length that the map states.

mod bulk_load;
mod bulk_move;
mod entry;
mod iter;
mod layout;
mod map;
mod map_mut;
mod node;
mod node_mut;
mod rebalance;
mod retain;
mod set;
mod set_ops;
#[cfg(test)]
mod tests;
mod value;

pub use entry::{Entry, OccupiedEntry, VacantEntry};
pub use iter::KeyRange;
pub use map::{BTreeMap, Iter, Keys, Values};
pub use set::{BTreeSet, SetIter};
pub use set_ops::SetPair;
