//! Flagstone: a persistent heap of plain structs in one mapped file.


pub mod persist;

pub use flagstone_derive::persist;
pub use persist::{Link, Persist, Pointee};
