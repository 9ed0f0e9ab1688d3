//! Collections in a store, each beside its model.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use flagstone::{Image, Link, ReadTx, Result, Store, WriteTx};
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::byte_runs::OfBlobs;
use testkit::Random;
use testkit::model::deques::DequeOf;
use testkit::model::kinds::{Colour, OfBytes, OfHashMap, OfPair, OfText, OfVec, Place};
use testkit::model::maps::{BTreeMapOf, HashMapOf};
use testkit::model::sets::{BTreeSetOf, HashSetOf};
use testkit::model::vectors::VecOf;
use testkit::model::{Outcome, Subject};

/// Changes that each collection knows. They are made once: what makes them takes longer
/// than to apply them.
const CHANGES: u16 = 1 << 10;

/// What a collection holds, as its model says.
pub type Model = Rc<dyn Any>;

/// The models of all collections, in the shelf's order.
pub type State = Vec<Model>;

/// A root with a collection of a kind.
trait Kept {
    fn make(&self, tx: &mut WriteTx<'_>) -> Result<()>;
    fn empty(&self) -> Model;
    fn change(&self, model: &mut Model, number: u16, tx: &mut WriteTx<'_>) -> Outcome;
    fn clear(&self, tx: &mut WriteTx<'_>) -> Result<()>;
    fn discard(&self, tx: &mut WriteTx<'_>) -> Result<()>;
    fn contents(&self, tx: &ReadTx<'_>) -> Outcome<Model>;
    fn contents_in(&self, tx: &WriteTx<'_>) -> Outcome<Model>;
    fn are_same(&self, a: &Model, b: &Model) -> bool;
}

struct Of<S: Subject> {
    name: &'static str,
    any: BoxedStrategy<S::Op>,
    known: RefCell<HashMap<u16, Rc<S::Op>>>,
}

impl<S: Subject> Of<S> {
    fn boxed(name: &'static str) -> Box<dyn Kept> {
        Box::new(Self { name, any: S::op(), known: RefCell::default() })
    }

    fn op(&self, number: u16) -> Rc<S::Op> {
        let number = number % CHANGES;
        let mut known = self.known.borrow_mut();
        let made = known.entry(number).or_insert_with(|| {
            let mut random = Random::new(number.into());
            let rng = TestRng::from_seed(RngAlgorithm::XorShift, &random.bytes(16));
            let mut runner = TestRunner::new_with_rng(Config::default(), rng);
            Rc::new(self.any.new_tree(&mut runner).expect("strategies reject nothing").current())
        });
        Rc::clone(made)
    }

    fn read(&self, link: Link<S::Stored>, tx: &Image) -> Outcome<Model> {
        let Some(stored) = tx.get(link)? else { return Ok(self.empty()) };
        Ok(Rc::new(S::contents(stored, tx)?))
    }
}

impl<S: Subject> Kept for Of<S> {
    fn make(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        tx.root_or_insert_with(self.name, S::Stored::default).map(drop)
    }

    fn empty(&self) -> Model {
        Rc::new(S::Model::default())
    }

    fn change(&self, model: &mut Model, number: u16, tx: &mut WriteTx<'_>) -> Outcome {
        let link = tx.root_or_insert_with(self.name, S::Stored::default)?;
        // Copied only if a savepoint or an earlier state has it too.
        let own = std::mem::replace(model, Rc::new(()));
        let mut own = own.downcast::<S::Model>().expect("models of one place are of one type");
        let outcome = S::apply(&self.op(number), Rc::make_mut(&mut own), link, tx);
        *model = own;
        outcome
    }

    fn clear(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        let link = tx.root_or_insert_with(self.name, S::Stored::default)?;
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
    model.downcast_ref().expect("models of one place are of one type")
}

/// One collection, or a few.
pub struct Shelf {
    kept: Vec<Box<dyn Kept>>,
}

/// Shelves there are. Most have one collection: a run takes as long as its store is
/// large, and what collections have to do with each other, two show as well as all.
pub const SHELVES: usize = SINGLES + 2;

/// Shelves with one collection.
const SINGLES: usize = 14;

impl Shelf {
    /// One of the shelves.
    pub fn new(number: usize) -> Self {
        let kept = match number % SHELVES {
            SINGLES => vec![collection(8), collection(9)],
            number if number > SINGLES => vec![collection(1), collection(4), collection(11)],
            number => vec![collection(number)],
        };
        Self { kept }
    }
}

/// Each of them has types that no other one has.
fn collection(number: usize) -> Box<dyn Kept> {
    match number {
        0 => Of::<OfBlobs>::boxed("blobs"),
        1 => Of::<VecOf<u64>>::boxed("numbers"),
        2 => Of::<VecOf<bool>>::boxed("flags"),
        3 => Of::<OfText>::boxed("text"),
        4 => Of::<VecOf<OfVec<OfText>>>::boxed("lists"),
        5 => Of::<DequeOf<OfText>>::boxed("queue"),
        6 => Of::<OfBytes>::boxed("bytes"),
        7 => Of::<HashMapOf<OfText, OfVec<OfText>>>::boxed("index"),
        8 => Of::<HashSetOf<Place>>::boxed("places"),
        9 => Of::<BTreeMapOf<OfText, OfBytes>>::boxed("tree"),
        10 => Of::<BTreeSetOf<OfPair>>::boxed("pairs"),
        11 => Of::<HashMapOf<u64, OfHashMap<u64, OfText>>>::boxed("maps"),
        12 => Of::<BTreeMapOf<u64, Colour>>::boxed("order"),
        _ => Of::<DequeOf<Colour>>::boxed("colours"),
    }
}

impl Shelf {
    /// Collections on it.
    pub fn places(&self) -> usize {
        self.kept.len()
    }

    /// All of them empty.
    pub fn empty(&self) -> State {
        self.kept.iter().map(|kept| kept.empty()).collect()
    }

    /// Makes the roots.
    pub fn make(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.kept.iter().try_for_each(|kept| kept.make(tx))
    }

    /// Changes one collection, and its model.
    pub fn change(
        &self,
        state: &mut State,
        place: usize,
        number: u16,
        tx: &mut WriteTx<'_>,
    ) -> Outcome {
        let place = place % self.places();
        self.kept[place].change(&mut state[place], number, tx)
    }

    /// Changes one collection that may be damaged, beside a model of what can be read.
    pub fn change_any(&self, place: usize, number: u16, tx: &mut WriteTx<'_>) -> Outcome {
        let kept = &self.kept[place % self.places()];
        let mut model = kept.contents_in(tx).unwrap_or_else(|_| kept.empty());
        kept.change(&mut model, number, tx)
    }

    /// Empties one collection.
    pub fn clear(&self, state: &mut State, place: usize, tx: &mut WriteTx<'_>) -> Result<()> {
        let place = place % self.places();
        state[place] = self.kept[place].empty();
        self.kept[place].clear(tx)
    }

    /// Frees one collection with all that it owns, and its root.
    pub fn discard(&self, state: &mut State, place: usize, tx: &mut WriteTx<'_>) -> Result<()> {
        let place = place % self.places();
        state[place] = self.kept[place].empty();
        self.kept[place].discard(tx)
    }

    /// What a store holds.
    pub fn contents(&self, store: &Store) -> Outcome<State> {
        let tx = store.read()?;
        self.kept.iter().map(|kept| kept.contents(&tx)).collect()
    }

    /// What one collection holds within a transaction.
    pub fn contents_in(&self, tx: &WriteTx<'_>, place: usize) -> Outcome<Model> {
        self.kept[place % self.places()].contents_in(tx)
    }

    /// What a snapshot holds, as far as it can be read.
    pub fn readable(&self, tx: &ReadTx<'_>) -> State {
        let kept = self.kept.iter();
        kept.map(|kept| kept.contents(tx).unwrap_or_else(|_| kept.empty())).collect()
    }

    /// Whether two models of one collection are equal.
    pub fn is_same(&self, place: usize, a: &Model, b: &Model) -> bool {
        self.kept[place % self.places()].are_same(a, b)
    }

    /// Whether two states are equal.
    pub fn are_same(&self, a: &State, b: &State) -> bool {
        self.kept.iter().zip(a.iter().zip(b)).all(|(kept, (a, b))| kept.are_same(a, b))
    }
}
