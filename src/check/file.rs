//! Checks a store's file on disk. The store need not have been closed cleanly, and the check
//! writes nothing.
//!
//! **Owns** what damage of the log means for a report. **Must not know** how a file is read
//! (`engine`), nor what a heap holds (`passes`).

use std::path::Path;
use std::sync::Arc;

use crate::disk::Disk;
use crate::engine::{LogEnd, OnDamage, Recovered, read_head};
use crate::error::{Error, ErrorKind, Result};
use crate::image::LinkChecks;
use crate::mutation::ActiveMutation;

use super::report::{Finding, Report, complaint};
use super::{passes, superblocks};

/// The end of a finding that stops the check.
const REST: &str = "the rest of the store cannot be looked at";

/// Checks the whole file. Returns an error if the file could not be checked.
pub(crate) fn check(disk: Arc<dyn Disk>, path: &Path) -> Result<Report> {
    let mut report = Report::default();
    match read_head(&*disk, path) {
        Ok(head) => superblocks::check(&head, &mut report),
        Err(error) => return damage(report, error),
    }
    if let Err((offset, error)) = disk.read_through() {
        let what = format!("a part of the file that cannot be read ({error}); {REST}");
        report.add_in_file(offset, what);
        return Ok(report);
    }
    let (tests, mutation) = (LinkChecks::Bounds, ActiveMutation::default());
    let read = |on_damage| -> Result<Recovered> {
        let mut found = Recovered::find(Arc::clone(&disk), path, tests, on_damage, mutation)?;
        found.replay()?;
        Ok(found)
    };
    let recovered = match read(OnDamage::Refuse) {
        Ok(recovered) => {
            report.torn_end = torn_end(recovered.log_end());
            Ok(recovered)
        }
        Err(error) => {
            let ErrorKind::LogDamaged {
                position, offset, proven_durable, can_salvage: true, ..
            } = error.kind()
            else {
                return damage(report, error);
            };
            let what = format!(
                "the log is damaged at position {position}, though a later record attests that it \
                 was durable up to {proven_durable}; what follows is the state before the damage"
            );
            report.add_in_file(*offset, what);
            read(OnDamage::GoOn)
        }
    };
    match recovered {
        Ok(recovered) => {
            passes::check(&recovered.image, &mut report);
            Ok(report)
        }
        Err(error) => damage(report, error),
    }
}

/// Returns the report with the damage that stops the check, or the error itself if it is not
/// damage.
fn damage(mut report: Report, error: Error) -> Result<Report> {
    if !error.kind().is_damage() {
        return Err(error);
    }
    report.add_in_file(0, format!("{}; {REST}", complaint(&error)));
    Ok(report)
}

fn torn_end(end: LogEnd) -> Option<Finding> {
    let LogEnd { position, offset: file_offset, is_torn } = end;
    let what = format!(
        "the log ends at position {position}, before a record that is not whole: a commit that a \
         crash cut off, or damage of the last one"
    );
    is_torn.then(|| Finding { file_offset, what, ..Finding::default() })
}
