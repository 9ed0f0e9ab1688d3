//! Records which states were committed, and which of them must survive.
//!
//! **Owns** the models of all committed states by number, and the number that the store itself
//! holds: each transaction sets a root of the harness to it. A store that was killed thus says
//! which state it claims to hold. **Must not know** how a model is built.

use crate::error::Result;
use crate::store::{ReadTx, WriteTx};

/// The root that holds the number of the state.
const ROOT: &str = "flagstone::harness";

/// The states of a store, beginning with the empty one.
#[derive(Clone, Debug)]
pub(super) struct Ledger<M> {
    states: Vec<M>,
    acknowledged: usize,
}

impl<M: Default> Ledger<M> {
    /// Returns the ledger of a new store.
    pub(super) fn new() -> Self {
        Self { states: vec![M::default()], acknowledged: 0 }
    }

    /// Returns the number of the last state for which a commit was requested.
    pub(super) fn last(&self) -> usize {
        self.states.len() - 1
    }

    /// Returns the number of the last acknowledged state, which must survive.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// Returns the model of a committed state.
    pub(super) fn model(&self, number: usize) -> &M {
        &self.states[number]
    }

    /// Records a commit request, after which the state may exist; returns its number.
    pub(super) fn ask(&mut self, model: M) -> usize {
        self.states.push(model);
        self.last()
    }

    /// Records that every state so far must survive.
    pub(super) fn acknowledge_all(&mut self) {
        self.acknowledge(self.last());
    }

    /// Records that every state up to `number` must survive.
    pub(super) fn acknowledge(&mut self, number: usize) {
        self.acknowledged = self.acknowledged.max(number);
    }

    /// Takes over what is known of a store that another process worked on.
    pub(super) fn set_bounds(&mut self, last: usize, acknowledged: usize) {
        self.states.truncate(last + 1);
        self.acknowledged = acknowledged;
    }

    /// Records that the store was opened at the state `number`: later states never existed, and
    /// the opening has made this one durable.
    pub(super) fn go_back_to(&mut self, number: usize) {
        self.states.truncate(number + 1);
        self.acknowledged = number;
    }
}

/// Records in the store that a transaction makes the state `number`.
pub(super) fn set_number(tx: &mut WriteTx<'_>, number: usize) -> Result<()> {
    let link = tx.root_or_insert_with(ROOT, || 0u64)?;
    *tx.at_mut(link)? = number as u64;
    Ok(())
}

/// Returns the number of the state that the store holds, or `None` for an empty store.
pub(super) fn number(tx: &ReadTx<'_>) -> Result<Option<usize>> {
    Ok(tx.get(tx.root::<u64>(ROOT)?)?.map(|number| *number as usize))
}

/// Returns the address of that number in memory.
pub(super) fn address(tx: &ReadTx<'_>) -> Result<usize> {
    Ok(std::ptr::from_ref(tx.root_object::<u64>(ROOT)?).addr())
}
