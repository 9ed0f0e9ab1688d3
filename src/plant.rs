//! Faults that can be planted into the protocol, to show that the tests notice.
//!
//! **Owns** the list of faults, and which one a store has. **Must not know** what
//! each one does: that is one line where the protocol does the right thing.
//!
//! No store has one unless it was asked for with `OpenOptions::plant`, which is
//! there with the feature `sim` alone. Without it [`Planted::has`] is a constant.

/// A fault of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Plant {
    /// A durable commit returns without an `msync` of its record.
    AcknowledgeBeforeFlush,
    /// A checkpoint writes and syncs both superblocks, and then the heap's pages.
    SuperblockBeforeHeap,
}

/// The fault that a store has, or none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    #[cfg(any(test, feature = "sim"))]
    fault: Option<Plant>,
}

impl Planted {
    /// One fault.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn one(fault: Plant) -> Self {
        Self { fault: Some(fault) }
    }

    /// Whether the store has this fault.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has(self, fault: Plant) -> bool {
        self.fault == Some(fault)
    }

    /// No store has a fault.
    #[cfg(not(any(test, feature = "sim")))]
    pub(crate) const fn has(self, _fault: Plant) -> bool {
        false
    }
}
