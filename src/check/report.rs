//! What was found, and where.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::format::HEAP_START_BYTES;

use super::reach::{DanglingList, UnreachableList};

/// Findings that are listed: a file can be all holes, and each page one of them.
const MAX_FINDINGS: usize = 10_000;

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Where it lies: bytes from the start of the file.
    pub file_offset: u64,
    /// The same from the start of the heap; `None` for what lies before it.
    pub heap_offset: Option<u64>,
    /// The type of the value that is wrong; empty where it is none.
    pub type_name: String,
    /// Which part of that value, such as `numbers[3].first`; empty for all of it.
    pub field: String,
    /// What is wrong there.
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

/// What [`Store::check`](crate::Store::check) and
/// [`Store::check_file`](crate::Store::check_file) found.
#[must_use = "damage that was found is told only here: ask `is_clean` or `into_result`"]
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The findings, in the order of the passes: all of them, or the first ten
    /// thousand and one that says so.
    pub findings: Vec<Finding>,
    /// Pages of the heap that were looked at.
    pub pages: u64,
    /// Allocations that no root reaches along any links: leaks, as a rule. They
    /// are no damage, since a program may keep links elsewhere; `is_clean` and
    /// `into_result` do not count them.
    ///
    /// A link reaches the whole allocation that it leads into, and whatever the
    /// elements that it spans link to; elements that no link spans lead nowhere.
    /// With findings about types, all that is behind those types is listed.
    pub unreachable: UnreachableList,
    /// Links that a root reaches and that lead to no live allocation, or past
    /// the end of one. They are no damage either: a program may leave a link
    /// where it has freed the object. A link to memory that was given to another
    /// object since is not told from one to that object.
    pub dangling: DanglingList,
    /// Of a file that was not closed in order: what stands at the log's end, if it
    /// looks like a record that is not whole.
    ///
    /// A commit that a crash cut off leaves it, and so does damage of the last
    /// record, which nothing attests: then the last commit is lost. The two cannot
    /// be told apart, so it is no finding.
    pub torn_end: Option<Finding>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Nothing, or the first finding as an error.
    ///
    /// # Errors
    ///
    /// Something is wrong.
    pub fn into_result(self) -> Result<()> {
        let Some(first) = self.findings.first() else {
            return Ok(());
        };
        let others = self.findings.len() - 1;
        let found = format!("{first} (and {others} other findings)");
        let offset = first.heap_offset.unwrap_or(0);
        Err(ErrorKind::corrupt("store", offset, "no finding of check", found))
    }

    /// Notes what is wrong at an offset of the heap.
    pub(super) fn find(&mut self, heap_offset: u64, what: impl Into<String>) {
        self.add(Finding { what: what.into(), ..Finding::in_heap(heap_offset) });
    }

    /// Notes what is wrong at an offset of the file.
    pub(super) fn find_in_file(&mut self, file_offset: u64, what: impl Into<String>) {
        self.add(Finding { file_offset, what: what.into(), ..Finding::default() });
    }

    /// Whether no more findings are listed.
    pub(super) fn is_full(&self) -> bool {
        self.findings.len() > MAX_FINDINGS
    }

    /// Notes a finding, unless there are too many.
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

    /// Notes an error of looking at something.
    pub(super) fn note<T>(&mut self, heap_offset: u64, looked: Result<T>) -> Option<T> {
        looked.map_err(|error| self.find(heap_offset, complaint(&error))).ok()
    }
}

impl Finding {
    /// At an offset of the heap, nothing yet.
    pub(super) fn in_heap(offset: u64) -> Self {
        let file_offset = offset.saturating_add(HEAP_START_BYTES);
        Self { file_offset, heap_offset: Some(offset), ..Self::default() }
    }
}

/// An error in the words of a finding, without the advice to run `check`.
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
        (0..50_000).for_each(|offset| report.find(offset, "something"));
        assert_eq!(report.findings.len(), MAX_FINDINGS + 1);
        let last = report.findings.last().expect("a finding").to_string();
        assert!(last.contains("not listed"), "{last}");
        assert!(report.into_result().is_err());
    }

    #[test]
    fn a_finding_says_where_what_and_which_part() {
        let mut finding = Finding::in_heap(0x1000);
        finding.what = "wrong".to_string();
        assert_eq!(finding.to_string(), "file offset 0x5000 (heap offset 0x1000): wrong");
        finding.type_name = "Node".to_string();
        finding.field = "colours[3]".to_string();
        let shown = "file offset 0x5000 (heap offset 0x1000), Node: colours[3]: wrong";
        assert_eq!(finding.to_string(), shown);
        finding.heap_offset = None;
        assert_eq!(finding.to_string(), "file offset 0x5000, Node: colours[3]: wrong");
    }
}
