//! Examines a store after it was opened.
//!
//! **Owns** the examination of a store that was just opened, and of a store as a whole. **Must
//! not know** what happened to the store before.

use super::states::{self, Ledger};
use super::subject::Subject;
use super::violation::{Violation, ViolationKind, ask, failed};
use crate::store::{Durability, ReadTx, Store};

/// What `Store::check` must not find.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) allow_unreachable: bool,
    pub(super) allow_dangling: bool,
}

impl Rules {
    /// Checks that `Store::check` finds nothing wrong with the store.
    pub(super) fn expect_sound(self, store: &Store) -> Result<(), Violation> {
        let report = store.check().map_err(failed(ViolationKind::Damaged, "check"))?;
        let found = |kind, what: String| Err(Violation::new(kind, what));
        if let Some(first) = report.findings.first() {
            let count = report.findings.len();
            return found(ViolationKind::Damaged, format!("check: {count} findings: {first}"));
        }
        let (lost, dangling) = (&report.unreachable, &report.dangling);
        if let Some(first) = lost.listed.first().filter(|_| !self.allow_unreachable) {
            let what = format!("check: {} allocations lost, such as {first}", lost.allocations);
            return found(ViolationKind::Unreachable, what);
        }
        if let Some(first) = dangling.listed.first().filter(|_| !self.allow_dangling) {
            let what = format!("check: {} links dangle, such as {first}", dangling.links);
            return found(ViolationKind::Dangling, what);
        }
        Ok(())
    }
}

/// Creates state 0 in a new store.
pub(super) fn begin<S: Subject>(store: &Store, subject: &S) -> Result<(), Violation> {
    let refused = || failed(ViolationKind::Refused, "create");
    let mut tx = store.write().map_err(refused())?;
    ask(ViolationKind::Refused, "create", || subject.create(&mut tx))?;
    states::set_number(&mut tx, 0).map_err(refused())?;
    tx.set_durability(Durability::Durable);
    tx.commit().map_err(refused())
}

/// Returns the address of the number of the store's state.
pub(super) fn place(store: &Store) -> Result<usize, Violation> {
    let tx = begin_to_read(store)?;
    found_number(&tx)?;
    states::address(&tx).map_err(failed(ViolationKind::NotThatState, "the state's number"))
}

/// Returns the state at which a store was opened. Checks that its content is that state, that the
/// state was committed, and that it is no older than the last state that must have survived.
pub(super) fn examine<S: Subject>(
    store: &Store,
    subject: &S,
    ledger: &Ledger<S::Model>,
    rules: Rules,
) -> Result<usize, Violation> {
    use ViolationKind::{Lost, NeverCommitted, NotThatState};
    let tx = begin_to_read(store)?;
    let found = found_number(&tx)?;
    let (last, acknowledged) = (ledger.last(), ledger.acknowledged());
    if found < acknowledged {
        let what = format!("state {acknowledged} was acknowledged, and the store holds {found}");
        return Err(Violation::new(Lost, what));
    }
    if found > last {
        let what = format!("the store holds state {found}, and the last commit was {last}");
        return Err(Violation::new(NeverCommitted, what));
    }
    let verify = || subject.verify(&tx, ledger.model(found));
    ask(NotThatState, &format!("opened at state {found}"), verify)?;
    rules.expect_sound(store)?;
    Ok(found)
}

fn begin_to_read(store: &Store) -> Result<ReadTx<'_>, Violation> {
    store.read().map_err(failed(ViolationKind::CannotOpen, "begin to read"))
}

fn found_number(tx: &ReadTx<'_>) -> Result<usize, Violation> {
    let number = states::number(tx);
    let number = number.map_err(failed(ViolationKind::NotThatState, "the state's number"))?;
    let lost = || Violation::new(ViolationKind::Lost, "the store is empty, without even state 0");
    number.ok_or_else(lost)
}
