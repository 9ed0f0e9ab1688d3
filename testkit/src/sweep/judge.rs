//! Judges the effects of damage to a file.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flagstone::sim::MemoryDisk;
use flagstone::{Report, Store};

use super::ground::{self, Ground};

/// The effect of the damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Opening failed, with an error that gives the reason.
    Refused,
    /// The store opened, and `check` found the damage; the payload is the result of reading
    /// alone.
    Found(Reading),
    /// `check` noted an incomplete record at the end of the log, and the state is the one before
    /// it, as after a commit that was interrupted.
    LastRecord,
    /// The same, but nothing is left of the record to be noted.
    LostEnd,
    /// All reads and writes worked as without the damage.
    Harmless,
    /// Wrong data, and no error.
    Silent,
    Panicked,
    Hung,
    /// The process died.
    Aborted,
}

/// The result of reading everything in a store in which `check` finds damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reading {
    Error,
    Wrong,
    Right,
}

/// Prints damage with a verdict that must not occur.
pub fn tell(verdict: Verdict, what: impl std::fmt::Display) {
    if [Verdict::Silent, Verdict::Panicked].contains(&verdict) {
        println!("{verdict:?}: {what}");
    }
}

/// Checks the file, opens it, reads everything, writes, and closes it.
pub fn judge(ground: &Ground, bytes: &[u8]) -> Verdict {
    let judged = catch_unwind(AssertUnwindSafe(|| try_all(ground, bytes)));
    judged.unwrap_or(Verdict::Panicked)
}

fn try_all(ground: &Ground, bytes: &[u8]) -> Verdict {
    let disk = MemoryDisk::of(bytes.to_vec());
    let checked = disk.check();
    let store = match disk.open(&ground::options()) {
        Ok(store) => store,
        // `check` must find something in a file that cannot be opened.
        Err(_) if checked.as_ref().is_ok_and(Report::is_clean) => return Verdict::Silent,
        Err(_) => return Verdict::Refused,
    };
    let Ok(report) = checked else { return Verdict::Silent };
    let read = ground::read(&store);
    let verdict = verdict(ground, &report, read.ok());
    let changed = ground::change(&store, ground.steps);
    if matches!(verdict, Verdict::Found(_)) {
        // Another read and check would add no information, and take a third of the time.
        let _ = store.close();
        return verdict;
    }
    let later = ground::read(&store).ok();
    let is_right = changed.is_ok() && later == Some(ground.later);
    let is_sound = is_sound_to_the_end(store);
    match verdict {
        Verdict::Harmless if !is_right || !is_sound => Verdict::Silent,
        Verdict::LastRecord | Verdict::LostEnd if !is_sound => Verdict::Silent,
        verdict => verdict,
    }
}

fn verdict(ground: &Ground, report: &Report, read: Option<u64>) -> Verdict {
    let (last, before) = ground.digests.split_last().expect("a digest");
    let is_right = read == Some(*last);
    if !report.is_clean() {
        return Verdict::Found(match read {
            None => Reading::Error,
            Some(_) if is_right => Reading::Right,
            Some(_) => Reading::Wrong,
        });
    }
    match read {
        Some(_) if is_right => Verdict::Harmless,
        Some(read) if before.contains(&read) => match report.torn_end {
            Some(_) => Verdict::LastRecord,
            None => Verdict::LostEnd,
        },
        _ => Verdict::Silent,
    }
}

fn is_sound_to_the_end(store: Store) -> bool {
    let is_sound = store.check().is_ok_and(|report| report.is_clean());
    store.close().is_ok() && is_sound
}
