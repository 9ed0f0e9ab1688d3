//! Looking for damage: in an open store, and in a file that nobody has open.

use std::path::Path;
use std::sync::Arc;

use crate::check::{Report, check_file, check_open};
use crate::disk::open_to_read;
use crate::error::{ErrorKind, Result};

use super::Store;
use super::open::expect_machine;

impl Store {
    /// Looks through the whole store for damage: superblocks, page sums, the
    /// allocator's structures against each other, types and roots. Then goes through
    /// all objects from the roots on, by the types' descriptions in the store: that
    /// each value is one of its type, and that what collections own is there, whole,
    /// and nobody else's.
    ///
    /// Allocations that no root reaches and links that dangle are listed, and are no
    /// damage. Linear in the store's size, in time; takes memory for marks, up to 3.2 %
    /// of what the roots reach, and 16 % of arrays of elements whose size is no multiple
    /// of 8 bytes.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// store.update(|tx| tx.alloc(7u64).map(drop))?;
    /// let report = store.check()?;
    /// assert!(report.is_clean());
    /// assert_eq!(report.unreachable.allocations, 1);
    /// assert_eq!(report.unreachable.listed[0].type_name, "u64");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Only if it could not look; what it finds is in the report.
    pub fn check(&self) -> Result<Report> {
        let image = self.core.snapshot()?;
        Ok(check_open(&self.core.read_head()?, &image))
    }

    /// Looks through the file at `path` for damage, as [`check`](Self::check), and
    /// through its log. The file is opened for reading alone and is not changed: of
    /// one that was not closed in order, the log is applied in private memory.
    ///
    /// Several programs can do so at once, beside none that has the store open.
    ///
    /// # Safety
    ///
    /// As [`open`](Self::open): nothing may change the file meanwhile.
    ///
    /// # Errors
    ///
    /// Only if it could not look: there is no store at `path`, it is locked, or of
    /// another version. What it finds is in the report.
    #[expect(unsafe_code, reason = "the promise is the caller's, as with every file mapping")]
    pub unsafe fn check_file(path: impl AsRef<Path>) -> Result<Report> {
        let path = path.as_ref();
        expect_machine()?;
        let Some(disk) = open_to_read(path)? else {
            return Err(ErrorKind::NoSuchFile { path: path.to_path_buf() }.into());
        };
        check_file(Arc::new(disk), path)
    }
}
