//! Looks for damage in an open store, or in a file that no process has open.

use std::path::Path;
use std::sync::Arc;

use crate::check::{Report, check_file, check_open};
use crate::disk::open_to_read;
use crate::error::{ErrorKind, Result};

use super::handle::Store;
use super::open::expect_machine;

impl Store {
    /// Checks the whole store for damage: superblocks, page checksums, the allocator's structures
    /// against each other, types and roots. Then walks all objects from the roots, guided by the
    /// type descriptions in the store, and checks that each value is valid for its type, and that
    /// whatever a collection owns is live, whole and owned once.
    ///
    /// Unreachable allocations and dangling links are listed but do not count as damage. Takes
    /// time linear in the store's size, and memory for bitmaps: up to 3.2 % of the bytes that the
    /// roots reach, and 16 % of arrays whose element size is no multiple of 8 bytes.
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
    /// Only if the check could not run; the report holds everything that it finds.
    pub fn check(&self) -> Result<Report> {
        let image = self.core.snapshot()?;
        Ok(check_open(&self.core.read_head()?, &image))
    }

    /// Checks the file at `path` for damage, as [`check`](Self::check) does, and its log as well.
    /// Opens the file read-only and never changes it: if the store was not closed cleanly, the log
    /// is replayed in private memory.
    ///
    /// Several programs can check a store at once, but not while another has it open to write.
    ///
    /// ```
    /// # use flagstone::{OpenOptions, Store};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("names.flag");
    /// # let store = OpenOptions::new().open_copy(&path)?;
    /// # store.update(|tx| tx.alloc_slice(*b"Ada Lovelace").and_then(|n| tx.set_root("name", n)))?;
    /// # store.close()?;
    /// // SAFETY: nothing changes the file meanwhile.
    /// assert!(unsafe { Store::check_file(&path)? }.is_clean());
    ///
    /// let mut bytes = std::fs::read(&path)?;
    /// let at = bytes.windows(3).rposition(|bytes| bytes == b"Ada").expect("the name");
    /// bytes[at] ^= 1; // a bit flips on the disk
    /// std::fs::write(&path, &bytes)?;
    /// // SAFETY: as above.
    /// let report = unsafe { Store::check_file(&path)? };
    /// assert_eq!(report.findings[0].file_offset / 4096, at as u64 / 4096);
    /// # Ok(()) }
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`open`](Self::open): nothing may change the file meanwhile.
    ///
    /// # Errors
    ///
    /// Only if the check could not run: there is no store at `path`, it is locked, or it has
    /// another version. The report holds everything that the check finds.
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
