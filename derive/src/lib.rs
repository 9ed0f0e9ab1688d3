//! The `#[persist]` attribute of flagstone.
