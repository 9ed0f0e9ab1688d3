//! What a store knows of the pages that its file may lack, beside what its log says.

use crate::error::Result;
use crate::store::Store;

/// Heap pages that records have changed since the last checkpoint, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyPages {
    /// Those that the store has noted as the records were appended.
    pub noted: Vec<u64>,
    /// Those that a scan of the log finds.
    pub scanned: Vec<u64>,
}

/// Begins a write transaction, so that a store that is shared follows the other processes, and
/// returns the changed pages of all records.
///
/// # Errors
///
/// No transaction can begin, or the log cannot be read.
pub fn dirty_pages(store: &Store) -> Result<DirtyPages> {
    let [noted, scanned] = store.noted_and_scanned_pages()?.map(|pages| pages.iter().collect());
    Ok(DirtyPages { noted, scanned })
}
