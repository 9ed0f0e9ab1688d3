//! Where elements lie, and what a check knows about them.
//!
//! **Owns** these words, in which collections tell the walk what to visit. **Must not know** how
//! the walk goes on from there.

/// Adjacent elements.
#[derive(Clone, Copy)]
pub(super) struct Range {
    /// The start of the first element.
    pub(super) start: u64,
    /// The end of the last element.
    pub(super) end: u64,
    /// The distance in bytes from one element to the next.
    pub(super) stride: u64,
    pub(super) plan: usize,
    /// The number of the type that names their parts.
    pub(super) owner: u32,
    /// The start of the value of that type, if it is not each element.
    pub(super) base: Option<u64>,
    pub(super) liveness: Liveness,
}

/// What is known about an element.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// It is an object.
    Object,
    /// A collection has it in use.
    Owned,
    /// A link points to it.
    Linked,
}

/// A part of a value, for reporting its position.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The number of the value's type.
    pub(super) owner: u32,
    /// The start of the value.
    pub(super) base: u64,
    /// The start of the part.
    pub(super) at: u64,
}

impl Place {
    /// Returns the place of a whole value.
    pub(super) fn whole(owner: u32, at: u64) -> Self {
        Self { owner, base: at, at }
    }

    /// Returns the part that begins `bytes` after this one.
    pub(super) fn plus(self, bytes: u64) -> Self {
        Self { at: self.at.saturating_add(bytes), ..self }
    }
}
