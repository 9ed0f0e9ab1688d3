//! Which pages records change, by a scan of the log.
//!
//! **Must not know** how pages are noted (`dirty_pages`): for tests, this is the definition to compare
//! with.

use super::core::Core;
use crate::error::{ErrorKind, Result};
use crate::format::record::{Entries, Entry};
use crate::format::{LINES_PER_PAGE, PAGE_BYTES};
use crate::image::PageSet;
use crate::log::LogSource;
#[cfg(any(test, feature = "sim"))]
use crate::sync::lock;

impl Core {
    /// Returns the pages that are noted as changed, and those that the log's records from the newest
    /// superblock's position on change. The caller has just begun a transaction, so this process
    /// knows of all records, and nobody overwrites them.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn noted_and_scanned_pages(&self) -> Result<[PageSet; 2]> {
        let from = self.lock_checkpointer().last.position.get();
        let (noted, end) = {
            let log = lock(&self.log);
            (log.dirty.all(), log.tail.appended)
        };
        Ok([noted, self.scan_changed_pages(&self.log_source(), from, end)?])
    }

    /// Returns the pages that the records from `from` to `to` change. Applies none.
    pub(super) fn scan_changed_pages(
        &self,
        source: &LogSource,
        from: u64,
        to: u64,
    ) -> Result<PageSet> {
        let mut pages = PageSet::default();
        let file_pages = self.file_bytes()? / PAGE_BYTES;
        source.each_piece(from, to, |piece| {
            for entry in Entries::new(piece.entries).flatten() {
                let (page, count) = changed_by(entry);
                if count > file_pages || page > file_pages {
                    let at = piece.header.position.get();
                    return Err(ErrorKind::corrupt("log record", at, "pages of the file", page));
                }
                pages.insert_range(page, count);
            }
            Ok(())
        })?;
        Ok(pages)
    }
}

/// Returns the pages that an entry makes private; pages written in place are not among them.
fn changed_by(entry: Entry<'_>) -> (u64, u64) {
    match entry {
        Entry::Line { line, .. } => (line / LINES_PER_PAGE, 1),
        Entry::Zero { page, count } => (page, count),
        Entry::Bulk { .. } => (0, 0),
    }
}
