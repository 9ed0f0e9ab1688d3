//! What a run can find.
//!
//! **Owns** violations: their kinds, and how calls of the subject and of the
//! store become one. **Must not know** what was going on.

use std::any::Any;
use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use serde::{Deserialize, Serialize};

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ViolationKind {
    /// A step, a commit or another call failed, with no fault of the disk.
    Refused,
    /// The subject panicked.
    Panicked,
    /// The store is not as the model says, with nothing having happened to it.
    Disagrees,
    /// A snapshot that a reader held has changed.
    SnapshotChanged,
    /// After a kill or a reopening: the store cannot be opened.
    CannotOpen,
    /// After a kill or a reopening: a state older than one that was
    /// acknowledged.
    Lost,
    /// After a kill or a reopening: the number of a state that nobody committed.
    NeverCommitted,
    /// After a kill or a reopening: the state is not as the model says.
    NotThatState,
    /// `check` found damage.
    Damaged,
    /// Memory that no root reaches: a leak.
    Unreachable,
    /// Links that lead to nothing live.
    Dangling,
    /// A child ended by itself in a way it should not, such as by a signal.
    ChildDied,
    /// A child did nothing for a minute.
    ChildHangs,
    /// The harness could not do its own work, and says nothing about the subject.
    NotRun,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// What kind of promise.
    pub kind: ViolationKind,
    /// What was found, in words.
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

/// Puts what failed before the reason.
pub(super) fn failed<E: Display>(
    kind: ViolationKind,
    what: &str,
) -> impl FnOnce(E) -> Violation + '_ {
    move |error| Violation::new(kind, format_args!("{what}: {error}"))
}

/// Calls the subject; its error is of this kind, and a panic is one as well.
pub(super) fn ask<T>(
    kind: ViolationKind,
    what: &str,
    call: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Violation> {
    // What a panic leaves half done is never looked at again: the run ends, and
    // the subject and the store with it.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => answer.map_err(failed(kind, what)),
        Err(panic) => Err(Violation::new(
            ViolationKind::Panicked,
            format_args!("{what}: panicked: {}", message(&*panic)),
        )),
    }
}

thread_local!(static IS_QUIET: Cell<bool> = const { Cell::new(false) });

/// While it lives, panics on this thread say nothing: they are findings that repeat
/// themselves.
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

/// The harness did its best to open a store at another address.
pub(super) fn same_address() -> Violation {
    Violation::new(ViolationKind::NotRun, "the store cannot be opened at another address")
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("with no message")
}
