//! How a program accesses a store.

use crate::engine::random_from_bytes;

/// How a program accesses a store, which decides how much the system reads when a page of the file
/// is not in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessPattern {
    /// `Random` if the store is longer than half of the memory that this process may use (that of
    /// the machine, or of its control group), else `Normal`.
    #[default]
    Auto,
    /// Reads the pages that are used, and no others. Iterators over collections, and
    /// [`Store::check`](super::Store::check), still have pages read ahead.
    Random,
    /// Reads the pages around as well, as many as the device's read-ahead says. Of a store that is
    /// much larger than memory, each access to a page may drop hundreds of others from memory.
    Normal,
}

impl AccessPattern {
    /// Returns the length from which on a store is accessed at random.
    pub(super) fn random_from_bytes(self) -> u64 {
        match self {
            Self::Auto => random_from_bytes(),
            Self::Random => 0,
            Self::Normal => u64::MAX,
        }
    }
}
