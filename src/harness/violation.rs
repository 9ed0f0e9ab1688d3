//! The violations that a run can find.
//!
//! **Owns** violations: their kinds, and how calls of the subject and of the store turn into one.
//! **Must not know** what the run was doing.

use std::any::Any;
use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use serde::{Deserialize, Serialize};

/// The kind of promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ViolationKind {
    /// A step, a commit or another call failed without a disk fault.
    Refused,
    /// The subject panicked.
    Panicked,
    /// The store contradicts the model, without a crash or reopening before.
    Disagrees,
    /// A snapshot that a reader had pinned has changed.
    SnapshotChanged,
    /// After a kill or a reopening: the store cannot be opened.
    CannotOpen,
    /// After a kill or a reopening: the state is older than an acknowledged one.
    Lost,
    /// After a kill or a reopening: the state has a number that was never committed.
    NeverCommitted,
    /// After a kill or a reopening: the state contradicts the model.
    NotThatState,
    /// `check` found damage.
    Damaged,
    /// Memory that no root reaches: a leak.
    Unreachable,
    /// Links to no live object.
    Dangling,
    /// A child ended unexpectedly, such as by a signal.
    ChildDied,
    /// A child did nothing for a minute.
    ChildHangs,
    /// The harness could not do its own work; this says nothing about the subject.
    NotRun,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The kind of promise.
    pub kind: ViolationKind,
    /// The finding, in words.
    pub what: String,
}

impl Violation {
    pub(super) fn new(kind: ViolationKind, what: impl Display) -> Self {
        Self { kind, what: what.to_string() }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Prepends what failed to the reason.
pub(super) fn failed<E: Display>(
    kind: ViolationKind,
    what: &str,
) -> impl FnOnce(E) -> Violation + '_ {
    move |error| Violation::new(kind, format_args!("{what}: {error}"))
}

/// Calls the subject; turns its error into a violation of this kind, and a panic into one as
/// well.
pub(super) fn ask<T>(
    kind: ViolationKind,
    what: &str,
    call: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Violation> {
    // Nothing looks at the half-done work of a panic: the run ends, and drops the subject and the
    // store.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => answer.map_err(failed(kind, what)),
        Err(panic) => Err(Violation::new(
            ViolationKind::Panicked,
            format_args!("{what}: panicked: {}", message(&*panic)),
        )),
    }
}

thread_local!(static IS_QUIET: Cell<bool> = const { Cell::new(false) });

/// Silences panics on this thread while it lives: they are findings, reported elsewhere.
pub(super) struct PanicSilencer(());

impl PanicSilencer {
    pub(super) fn begin() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if !IS_QUIET.get() {
                    before(panic);
                }
            }));
        });
        IS_QUIET.set(true);
        Self(())
    }
}

impl Drop for PanicSilencer {
    fn drop(&mut self) {
        IS_QUIET.set(false);
    }
}

/// Returns the violation for a store that could not be opened at another address.
pub(super) fn same_address() -> Violation {
    Violation::new(ViolationKind::NotRun, "the store cannot be opened at another address")
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("with no message")
}
