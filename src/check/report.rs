//! The result of a check: findings with their positions, leaks and dangling links.
//!
//! **Owns** these lists, and a limit on each. **Must not know** how anything is found.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::format::HEAP_START_BYTES;

/// Maximum number of listed findings: in a file with many holes, every page can be a finding.
const MAX_FINDINGS: usize = 10_000;
/// Maximum number of listed allocations, and of listed links.
const MAX_LISTED: usize = 100;

/// A single problem.
///
/// ```
/// # use flagstone::{OpenOptions, Store};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("names.flag");
/// # let store = OpenOptions::new().open_copy(&path)?;
/// # store.update(|tx| tx.alloc_slice(*b"Ada Lovelace").and_then(|n| tx.set_root("name", n)))?;
/// # store.close()?;
/// # let mut bytes = std::fs::read(&path)?;
/// # let at = bytes.windows(3).rposition(|bytes| bytes == b"Ada").expect("the name");
/// # bytes[at] ^= 1;
/// # std::fs::write(&path, &bytes)?;
/// // A bit of this store's file was flipped.
/// let report = OpenOptions::new().open_private(&path)?.check()?;
/// let finding = &report.findings[0];
/// assert_eq!(finding.file_offset / 4096, at as u64 / 4096);
/// assert!(finding.to_string().contains("page sum"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The position in bytes from the start of the file.
    pub file_offset: u64,
    /// The position from the start of the heap; `None` before the heap.
    pub heap_offset: Option<u64>,
    /// The type of the damaged value; empty if the finding is not about a value.
    pub type_name: String,
    /// The damaged part of that value, such as `numbers[3].first`; empty for the whole value.
    pub field: String,
    /// The problem.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file offset {:#x}", self.file_offset)?;
        if let Some(offset) = self.heap_offset {
            write!(f, " (heap offset {offset:#x})")?;
        }
        match (&*self.type_name, &*self.field) {
            ("", _) => {}
            (type_name, "") => write!(f, ", {type_name}")?,
            (type_name, field) => write!(f, ", {type_name}: {field}")?,
        }
        write!(f, ": {}", self.what)
    }
}

/// The result of [`Store::check`](crate::Store::check) and
/// [`Store::check_file`](crate::Store::check_file).
///
/// ```
/// # fn main() -> Result<(), flagstone::Error> {
/// # let store = flagstone::Store::in_memory()?;
/// let report = store.check()?;
/// for finding in &report.findings {
///     eprintln!("{finding}");
/// }
/// assert_eq!(report.pages, store.stats()?.heap_bytes / 4096);
/// # Ok(()) }
/// ```
#[must_use = "damage that was found is told only here: ask `is_clean` or `into_result`"]
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The findings, in the order of the passes. After the first ten thousand, one more says that
    /// the list was cut.
    pub findings: Vec<Finding>,
    /// The number of heap pages that were checked.
    pub pages: u64,
    /// Allocations that no root reaches along any links: usually leaks. They do not count as
    /// damage, since a program may keep links elsewhere; `is_clean` and `into_result` ignore
    /// them.
    ///
    /// A link reaches the whole allocation that it points into, and everything that the elements
    /// in its span link to. Elements outside the span of any link are not followed. If there are
    /// findings about types, everything behind those types is listed too.
    pub unreachable: UnreachableList,
    /// Links that a root reaches and that point to no live allocation, or past the end of one.
    /// They do not count as damage either: a program may keep a link after freeing the object. A
    /// link to memory that another object has since reused cannot be distinguished from a link to
    /// that object.
    pub dangling: DanglingList,
    /// For a file that was not closed cleanly: the end of its log, if an incomplete record seems
    /// to follow.
    ///
    /// A commit interrupted by a crash leaves such a record. Damage to the last record, whose
    /// durability no later record proves, looks the same and loses the last commit. The two
    /// cannot be distinguished, so this is not a finding.
    pub torn_end: Option<Finding>,
}

impl Report {
    /// Returns whether there are no findings.
    ///
    /// ```
    /// # use flagstone::{OpenOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("names.flag");
    /// # let store = OpenOptions::new().open_copy(&path)?;
    /// # store.update(|tx| tx.alloc_slice(*b"Ada Lovelace").and_then(|n| tx.set_root("name", n)))?;
    /// # store.close()?;
    /// # let mut bytes = std::fs::read(&path)?;
    /// # let at = bytes.windows(3).rposition(|bytes| bytes == b"Ada").expect("the name");
    /// # bytes[at] ^= 1;
    /// # std::fs::write(&path, &bytes)?;
    /// // A bit of this store's file was flipped.
    /// let report = OpenOptions::new().open_private(&path)?.check()?;
    /// assert!(!report.is_clean());
    /// let report = OpenOptions::new().open_in_memory()?.check()?;
    /// assert!(report.is_clean());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns the first finding as an error, if there is one.
    ///
    /// ```
    /// # use flagstone::{ErrorKind, OpenOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("names.flag");
    /// # let store = OpenOptions::new().open_copy(&path)?;
    /// # store.update(|tx| tx.alloc_slice(*b"Ada Lovelace").and_then(|n| tx.set_root("name", n)))?;
    /// # store.close()?;
    /// # let mut bytes = std::fs::read(&path)?;
    /// # let at = bytes.windows(3).rposition(|bytes| bytes == b"Ada").expect("the name");
    /// # bytes[at] ^= 1;
    /// # std::fs::write(&path, &bytes)?;
    /// // A bit of this store's file was flipped.
    /// let report = OpenOptions::new().open_private(&path)?.check()?;
    /// let error = report.into_result().unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The report has findings.
    pub fn into_result(self) -> Result<()> {
        let Some(first) = self.findings.first() else {
            return Ok(());
        };
        let others = self.findings.len() - 1;
        let found = format!("{first} (and {others} other findings)");
        let offset = first.heap_offset.unwrap_or(0);
        Err(ErrorKind::corrupt("store", offset, "no finding of check", found))
    }

    /// Adds a finding at an offset in the heap.
    pub(super) fn add_at(&mut self, heap_offset: u64, what: impl Into<String>) {
        self.add(Finding { what: what.into(), ..Finding::in_heap(heap_offset) });
    }

    /// Adds a finding at an offset in the file.
    pub(super) fn add_in_file(&mut self, file_offset: u64, what: impl Into<String>) {
        self.add(Finding { file_offset, what: what.into(), ..Finding::default() });
    }

    /// Returns whether the list of findings is full.
    pub(super) fn is_full(&self) -> bool {
        self.findings.len() > MAX_FINDINGS
    }

    /// Adds a finding unless the list is full.
    pub(super) fn add(&mut self, mut finding: Finding) {
        match self.findings.len() {
            ..MAX_FINDINGS => {}
            MAX_FINDINGS => {
                finding.what = "more is wrong from here on, which is not listed".to_string();
            }
            _ => return,
        }
        self.findings.push(finding);
    }

    /// Adds a finding for an error that a check met.
    pub(super) fn note<T>(&mut self, heap_offset: u64, looked: Result<T>) -> Option<T> {
        looked.map_err(|error| self.add_at(heap_offset, complaint(&error))).ok()
    }
}

impl Finding {
    /// Returns an empty finding at an offset in the heap.
    pub(super) fn in_heap(offset: u64) -> Self {
        let file_offset = offset.saturating_add(HEAP_START_BYTES);
        Self { file_offset, heap_offset: Some(offset), ..Self::default() }
    }
}

/// An allocation that no root reaches.
///
/// ```
/// # fn main() -> Result<(), flagstone::Error> {
/// # let store = flagstone::Store::in_memory()?;
/// let numbers = store.update(|tx| tx.alloc_slice([1u64, 2, 3, 4]))?;
/// let report = store.check()?;
/// let lost = &report.unreachable.listed[0];
/// assert_eq!((lost.offset, lost.len_bytes), (numbers.offset(), 32));
/// assert!(lost.to_string().ends_with("[u64] of 32 bytes, which no root reaches"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreachable {
    /// Offset from the start of the heap.
    pub offset: u64,
    /// Length in bytes. For a small array, the length of its slot, which may exceed the requested
    /// length: only the slot's length is stored.
    pub len_bytes: u64,
    /// The name of its type, in brackets for an array.
    pub type_name: String,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, len_bytes, type_name } = self;
        write!(
            f,
            "heap offset {offset:#x}: {type_name} of {len_bytes} bytes, which no root reaches"
        )
    }
}

/// The allocations that no root reaches.
///
/// ```
/// # fn main() -> Result<(), flagstone::Error> {
/// # let store = flagstone::Store::in_memory()?;
/// store.update(|tx| (0..1000u64).try_for_each(|number| tx.alloc([number; 2]).map(drop)))?;
/// let unreachable = store.check()?.unreachable;
/// assert_eq!((unreachable.allocations, unreachable.len_bytes), (1000, 16_000));
/// assert_eq!(unreachable.listed.len(), 100);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct UnreachableList {
    /// The first 100 allocations.
    pub listed: Vec<Unreachable>,
    /// The number of allocations.
    pub allocations: u64,
    /// Their total length in bytes.
    pub len_bytes: u64,
}

/// A link to no live allocation, or past the end of one.
///
/// ```
/// # fn main() -> Result<(), flagstone::Error> {
/// # let store = flagstone::Store::in_memory()?;
/// let mut tx = store.write()?;
/// let target = tx.alloc(7u64)?;
/// let holder = tx.alloc(target)?;
/// tx.set_root("holder", holder)?;
/// tx.free(target)?;
/// tx.commit()?;
/// let report = store.check()?;
/// let dangling = &report.dangling.listed[0];
/// assert_eq!((dangling.offset, dangling.target), (holder.offset(), target.offset()));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dangling {
    /// The position of the link: offset from the start of the heap.
    pub offset: u64,
    /// The type of the value that contains the link.
    pub type_name: String,
    /// The part of that value that is the link, such as `next`; empty if the link is the whole
    /// value.
    pub field: String,
    /// The target: offset from the start of the heap.
    pub target: u64,
    /// What was found at the target.
    pub found: &'static str,
}

impl fmt::Display for Dangling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, type_name, field, target, found } = self;
        let colon = if field.is_empty() { "" } else { ": " };
        write!(
            f,
            "heap offset {offset:#x}, {type_name}{colon}{field}: a link to {target:#x}, which is {found}"
        )
    }
}

/// The links to no live allocation, or past the end of one.
///
/// ```
/// # fn main() -> Result<(), flagstone::Error> {
/// # let store = flagstone::Store::in_memory()?;
/// let mut tx = store.write()?;
/// let target = tx.alloc(7u64)?;
/// let links = tx.alloc_slice([target; 300])?;
/// tx.set_root("links", links)?;
/// tx.free(target)?;
/// tx.commit()?;
/// let dangling = store.check()?.dangling;
/// assert_eq!((dangling.links, dangling.listed.len()), (300, 100));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DanglingList {
    /// The first 100 links, in the order of the walk.
    pub listed: Vec<Dangling>,
    /// The number of links.
    pub links: u64,
}

impl UnreachableList {
    /// Counts an allocation; calls `describe` only if the allocation is listed.
    pub(super) fn add(&mut self, len_bytes: u64, describe: impl FnOnce() -> Unreachable) {
        self.allocations += 1;
        self.len_bytes = self.len_bytes.saturating_add(len_bytes);
        if self.listed.len() < MAX_LISTED {
            self.listed.push(describe());
        }
    }
}

impl DanglingList {
    /// Counts a link; calls `describe` only if the link is listed.
    pub(super) fn add(&mut self, describe: impl FnOnce() -> Dangling) {
        self.links += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(describe());
        }
    }
}

/// Returns an error in the words of a finding, without the advice to run `check`.
pub(super) fn complaint(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Corrupt { what, offset, expected, found } => {
            format!("{what} at {offset:#x}: expected {expected}, found {found}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_ends_where_nobody_would_read_on() {
        let mut report = Report::default();
        (0..50_000).for_each(|offset| report.add_at(offset, "something"));
        assert_eq!(report.findings.len(), MAX_FINDINGS + 1);
        let last = report.findings.last().expect("a finding").to_string();
        assert!(last.contains("not listed"), "{last}");
        assert!(report.into_result().is_err());
    }

    #[test]
    fn a_finding_says_where_what_and_which_part() {
        let mut finding = Finding::in_heap(0x1000);
        finding.what = "wrong".to_string();
        assert_eq!(finding.to_string(), "file offset 0x41000 (heap offset 0x1000): wrong");
        finding.type_name = "Node".to_string();
        finding.field = "colours[3]".to_string();
        let shown = "file offset 0x41000 (heap offset 0x1000), Node: colours[3]: wrong";
        assert_eq!(finding.to_string(), shown);
        finding.heap_offset = None;
        assert_eq!(finding.to_string(), "file offset 0x41000, Node: colours[3]: wrong");
    }
}
