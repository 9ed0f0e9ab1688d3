//! The pages of a heap, and the allocator's records about them.
//!
//! **Owns** the passes over segments, descriptors, sums and free lists. **Must not know** what
//! objects hold (`objects`).

pub(super) mod chunks;
pub(super) mod descriptors;
pub(super) mod free_lists;
