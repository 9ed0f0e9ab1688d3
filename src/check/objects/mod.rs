//! The objects that the roots reach.
//!
//! **Owns** the walk, the checks of each collection, and the comparison with what is allocated.
//! **Must not know** how types are described (`schema`), nor how pages are.

mod context;
mod elements;
mod hash;
pub(super) mod reachability;
mod sequences;
mod tree;
mod values;
mod walk;
