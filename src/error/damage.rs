//! Which errors say that a store is damaged, and how the most common one is made.

use std::fmt;

use super::{Error, ErrorKind};

impl ErrorKind {
    /// Whether it says that a store is damaged.
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

    /// A structure that contradicts itself.
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
