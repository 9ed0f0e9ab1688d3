//! Checks an open store.
//!
//! **Owns** the order of the steps. **Must not know** how the pages were read: the store passes
//! them on.

use crate::image::Image;

use super::report::Report;
use super::{passes, superblocks};

/// Checks the pages before the heap, and the heap as `image` shows it.
pub(crate) fn check(before_heap: &[u8], image: &Image) -> Report {
    let mut report = Report::default();
    superblocks::check(before_heap, &mut report);
    passes::check(image, &mut report);
    report
}
