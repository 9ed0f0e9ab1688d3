//! Collections at the roots of a store, each beside its model.
//!
//! A root alone knows the type of its collection, so what runs histories over roots is compiled
//! once for all of them.

use std::any::Any;
use std::marker::PhantomData;
use std::rc::Rc;

use flagstone::{Image, Link, ReadTx, Result, Store, WriteTx};
use proptest::test_runner::TestCaseError;

use super::{Outcome, Subject, Trial};
use crate::Random;

/// What a collection holds, as its model says.
pub type Model = Rc<dyn Any>;

/// The models of all collections, in the order of their roots.
pub type State = Vec<Model>;

/// A root with a collection of a kind.
pub trait Root {
    fn create(&self, tx: &mut WriteTx<'_>) -> Result<()>;
    fn empty(&self) -> Model;
    /// Returns the change that `number` stands for, in words.
    fn describe(&self, number: u64) -> String;
    fn change(&self, model: &mut Model, number: u64, tx: &mut WriteTx<'_>) -> Outcome;
    fn clear(&self, tx: &mut WriteTx<'_>) -> Result<()>;
    fn discard(&self, tx: &mut WriteTx<'_>) -> Result<()>;
    fn contents(&self, tx: &ReadTx<'_>) -> Outcome<Model>;
    fn contents_in(&self, tx: &WriteTx<'_>) -> Outcome<Model>;
    fn are_same(&self, a: &Model, b: &Model) -> bool;
}

struct Of<S> {
    name: &'static str,
    subject: PhantomData<S>,
}

/// Returns the root of this name.
pub fn root<S: Subject>(name: &'static str) -> Box<dyn Root> {
    Box::new(Of::<S> { name, subject: PhantomData })
}

impl<S: Subject> Of<S> {
    fn link(&self, tx: &mut WriteTx<'_>) -> Result<Link<S::Stored>> {
        tx.root_or_insert_with(self.name, S::Stored::default)
    }

    fn read(&self, link: Link<S::Stored>, tx: &Image) -> Outcome<Model> {
        let Some(stored) = tx.get(link)? else { return Ok(self.empty()) };
        Ok(Rc::new(S::contents(stored, tx)?))
    }
}

impl<S: Subject> Root for Of<S> {
    fn create(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.link(tx).map(drop)
    }

    fn empty(&self) -> Model {
        Rc::new(S::Model::default())
    }

    fn describe(&self, number: u64) -> String {
        format!("{:?}", Random::new(number).weighted(S::OPS))
    }

    fn change(&self, model: &mut Model, number: u64, tx: &mut WriteTx<'_>) -> Outcome {
        let link = self.link(tx)?;
        let random = &mut Random::new(number);
        let op = random.weighted(S::OPS);
        // Copied only if a savepoint or an earlier state has it too.
        let own = std::mem::replace(model, Rc::new(()));
        let mut own = own.downcast::<S::Model>().expect("models of one root are of one type");
        let trial = &mut Trial { link, model: Rc::make_mut(&mut own), tx, random };
        let outcome = S::apply(op, trial);
        *model = own;
        outcome.map_err(|why| TestCaseError::fail(format!("{op:?}: {why}")))
    }

    fn clear(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        let link = self.link(tx)?;
        S::clear(link, tx)
    }

    fn discard(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        let link = tx.root::<S::Stored>(self.name)?;
        if link.is_null() {
            return Ok(());
        }
        tx.remove_root(self.name)?;
        tx.free_deep(link)
    }

    fn contents(&self, tx: &ReadTx<'_>) -> Outcome<Model> {
        self.read(tx.root::<S::Stored>(self.name)?, tx)
    }

    fn contents_in(&self, tx: &WriteTx<'_>) -> Outcome<Model> {
        self.read(tx.root::<S::Stored>(self.name)?, tx)
    }

    fn are_same(&self, a: &Model, b: &Model) -> bool {
        Rc::ptr_eq(a, b) || of::<S>(a) == of::<S>(b)
    }
}

fn of<S: Subject>(model: &Model) -> &S::Model {
    model.downcast_ref().expect("models of one root are of one type")
}

/// One root, or a few.
pub struct Roots(pub Vec<Box<dyn Root>>);

impl Roots {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the state in which all of them are empty.
    pub fn empty(&self) -> State {
        self.0.iter().map(|root| root.empty()).collect()
    }

    pub fn create(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.0.iter().try_for_each(|root| root.create(tx))
    }

    /// Changes one collection, and its model.
    pub fn change(
        &self,
        state: &mut State,
        place: usize,
        number: u64,
        tx: &mut WriteTx<'_>,
    ) -> Outcome {
        let place = place % self.count();
        self.0[place].change(&mut state[place], number, tx)
    }

    /// Changes one collection that may be damaged, beside a model of what can be read.
    pub fn change_any(&self, place: usize, number: u64, tx: &mut WriteTx<'_>) -> Outcome {
        let root = &self.0[place % self.count()];
        let mut model = root.contents_in(tx).unwrap_or_else(|_| root.empty());
        root.change(&mut model, number, tx)
    }

    /// Empties one collection.
    pub fn clear(&self, state: &mut State, place: usize, tx: &mut WriteTx<'_>) -> Result<()> {
        let place = place % self.count();
        state[place] = self.0[place].empty();
        self.0[place].clear(tx)
    }

    /// Frees one collection with all that it owns, and its root.
    pub fn discard(&self, state: &mut State, place: usize, tx: &mut WriteTx<'_>) -> Result<()> {
        let place = place % self.count();
        state[place] = self.0[place].empty();
        self.0[place].discard(tx)
    }

    /// Returns what a store holds.
    pub fn contents(&self, store: &Store) -> Outcome<State> {
        let tx = store.read()?;
        self.0.iter().map(|root| root.contents(&tx)).collect()
    }

    /// Returns what a transaction sees.
    pub fn contents_in(&self, tx: &WriteTx<'_>) -> Outcome<State> {
        self.0.iter().map(|root| root.contents_in(tx)).collect()
    }

    /// Returns what a snapshot holds, as far as it can be read.
    pub fn readable(&self, tx: &ReadTx<'_>) -> State {
        self.0.iter().map(|root| root.contents(tx).unwrap_or_else(|_| root.empty())).collect()
    }

    pub fn are_same(&self, a: &State, b: &State) -> bool {
        self.0.iter().zip(a.iter().zip(b)).all(|(root, (a, b))| root.are_same(a, b))
    }
}
