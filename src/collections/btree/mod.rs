//! Sorted maps and sets: B+ trees.
//!
//! **Owns** the nodes, their links, and the order of the entries. **Must not know**
//! more about keys and values than their order, their size and what they own.
//!
//! # Invariants
//!
//! `B1` A leaf has level 0, and an inner node has one level more than its children.
//! Every node has from one entry or child up to its capacity. `B2` Leaves are
//! linked in key order, and each names both neighbours. `B3` The key between two
//! children is above all keys before it and not above any key after it. Where keys
//! own memory, it is a copy of the first key after it, so it is never read after
//! that key's memory was freed. `B4` Slots past a node's length are zero.
//!
//! # Bounded walks
//!
//! Down the tree: the level falls by one at each step, from at most 32. Along the
//! leaves: each must name the one that the walk comes from, so the first leaf to
//! come a second time is the one where the walk began, and every walk checks for
//! that one. Nothing trusts the length in the header of the map.

mod bulk_load;
mod bulk_move;
mod entry;
mod iter;
mod layout;
mod map;
mod map_mut;
mod node;
mod node_mut;
mod prefix;
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
pub use prefix::{AsPrefix, Prefix, prefix};
pub use set::{BTreeSet, SetIter};
pub use set_ops::SetPair;
