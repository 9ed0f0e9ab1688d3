//! Classifies the errors that mean damage, and builds the most common one.

use std::fmt;

use super::{Error, ErrorKind};

impl ErrorKind {
    /// Returns whether this error means that a store is damaged.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::TooShort { .. }
                | Self::SuperblocksDamaged { .. }
                | Self::Truncated { .. }
                | Self::LogDamaged { .. }
                | Self::Corrupt { .. }
        )
    }

    /// Builds the error for a structure that contradicts itself.
    #[cold]
    pub(crate) fn corrupt(
        what: &'static str,
        offset: u64,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        Self::Corrupt { what, offset, expected: expected.to_string(), found: found.to_string() }
            .into()
    }
}
