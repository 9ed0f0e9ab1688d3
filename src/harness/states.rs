//! Which states were committed, and which of them must survive.
//!
//! **Owns** the models of all committed states by number, and the number that
//! the store itself holds: a root of the harness that each transaction sets. So
//! a store that was killed says which state it claims to hold. **Must not know**
//! how a model comes about.

use crate::error::Result;
use crate::store::{ReadTx, WriteTx};

/// The root that holds the number of the state.
const ROOT: &str = "flagstone::harness";

/// The states of a store, from the empty one on.
#[derive(Clone, Debug)]
pub(super) struct Ledger<M> {
    states: Vec<M>,
    acknowledged: usize,
}

impl<M: Default> Ledger<M> {
    /// The ledger of a new store.
    pub(super) fn new() -> Self {
        Self { states: vec![M::default()], acknowledged: 0 }
    }

    /// The number of the last state whose commit was asked for.
    pub(super) fn last(&self) -> usize {
        self.states.len() - 1
    }

    /// The number of the last state that nothing may take back.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// The model of a state that was committed.
    pub(super) fn model(&self, number: usize) -> &M {
        &self.states[number]
    }

    /// A commit is asked for: from now on its state may be there. The next
    /// number.
    pub(super) fn ask(&mut self, model: M) -> usize {
        self.states.push(model);
        self.last()
    }

    /// Everything so far is sure to stay.
    pub(super) fn acknowledge_all(&mut self) {
        self.acknowledge(self.last());
    }

    /// Everything up to a state is sure to stay.
    pub(super) fn acknowledge(&mut self, number: usize) {
        self.acknowledged = self.acknowledged.max(number);
    }

    /// Takes over what is known of a store that another process worked on.
    pub(super) fn set_bounds(&mut self, last: usize, acknowledged: usize) {
        self.states.truncate(last + 1);
        self.acknowledged = acknowledged;
    }

    /// The store was opened at the state `number`: later ones never were, and
    /// opening has made it durable.
    pub(super) fn go_back_to(&mut self, number: usize) {
        self.states.truncate(number + 1);
        self.acknowledged = number;
    }
}

/// Notes in the store that a transaction makes the state `number`.
pub(super) fn set_number(tx: &mut WriteTx<'_>, number: usize) -> Result<()> {
    let link = tx.root_or_insert_with(ROOT, || 0u64)?;
    *tx.at_mut(link)? = number as u64;
    Ok(())
}

/// The number of the state that the store holds; `None` in a store that is empty.
pub(super) fn number(tx: &ReadTx<'_>) -> Result<Option<usize>> {
    Ok(tx.get(tx.root::<u64>(ROOT)?)?.map(|number| *number as usize))
}

/// Where that number lies in memory.
pub(super) fn address(tx: &ReadTx<'_>) -> Result<usize> {
    Ok(std::ptr::from_ref(tx.root_object::<u64>(ROOT)?).addr())
}
