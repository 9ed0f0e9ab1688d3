//! The contents of the writers' stores: several structures at once. The changes of each commit
//! follow from its number alone, so the number in a store determines the rest of its content.

use std::collections::{BTreeMap as Ordered, VecDeque};

use flagstone::collections::{BTreeMap, Deque, HashMap, Vec as StoreVec};
use flagstone::{Bytes, Durability, Link, ReadTx, Store, Text, WriteTx, field, persist};

use crate::Random;

const SLOTS: usize = 48;
/// Slots that may hold an array of more than 256 pages, which is written in place.
const LARGE_SLOTS: usize = 2;
const KEYS: u64 = 300;

#[persist]
struct World {
    count: u64,
    stack: StoreVec<u64>,
    queue: Deque<u64>,
    ages: HashMap<u64, u64>,
    names: BTreeMap<Text, Bytes>,
    arrays: [Link<[u64]>; SLOTS],
}

impl World {
    fn new() -> Self {
        Self {
            count: 0,
            stack: StoreVec::new(),
            queue: Deque::new(),
            ages: HashMap::new(),
            names: BTreeMap::new(),
            arrays: [Link::null(); SLOTS],
        }
    }
}

/// The same in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    count: u64,
    stack: Vec<u64>,
    queue: VecDeque<u64>,
    ages: Ordered<u64, u64>,
    names: Ordered<String, Vec<u8>>,
    /// Length and first number; the other elements count up from it.
    arrays: Ordered<usize, (u64, u64)>,
}

/// A single change to a store and its model.
enum Change {
    Push(u64),
    Pop,
    Enqueue(u64),
    Dequeue,
    SetAge(u64, u64),
    ForgetAge(u64),
    SetName(String, Vec<u8>),
    ForgetName(String),
    NewArray { slot: usize, len: u64, first: u64 },
    FillArray { slot: usize, first: u64 },
    FreeArray { slot: usize },
}

/// The action of a writer once a commit has returned.
pub enum After {
    Nothing,
    Sync,
    Checkpoint,
    Reopen,
}

/// Everything that the commit of one number does.
pub struct Plan {
    count: u64,
    /// Changes that are made first and rolled back to a savepoint.
    discarded: Vec<Change>,
    changes: Vec<Change>,
    durability: Durability,
    pub after: After,
}

impl Plan {
    pub fn of(seed: u64, count: u64) -> Self {
        let mut random = Random::new(seed ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let random = &mut random;
        let discarded = if random.one_in(8) { changes(random) } else { Vec::new() };
        let changes = changes(random);
        let durability = if random.one_in(2) { Durability::Durable } else { Durability::Deferred };
        let after = match random.below(100) {
            0..3 => After::Checkpoint,
            3..8 => After::Sync,
            8 => After::Reopen,
            _ => After::Nothing,
        };
        Self { count, discarded, changes, durability, after }
    }

    /// Returns whether a commit is durable when it returns.
    pub fn is_durable(&self) -> bool {
        self.durability == Durability::Durable
    }

    pub fn commit(&self, store: &Store) -> flagstone::Result<()> {
        let mut tx = store.write()?;
        tx.set_durability(self.durability);
        let world = tx.root_or_insert_with("world", World::new)?;
        if !self.discarded.is_empty() {
            let savepoint = tx.savepoint()?;
            self.discarded.iter().try_for_each(|change| change.make(&mut tx, world))?;
            tx.rollback_to(savepoint)?;
        }
        self.changes.iter().try_for_each(|change| change.make(&mut tx, world))?;
        tx.at_mut(world)?.count = self.count;
        tx.commit()
    }
}

/// Draws the changes of a transaction: mostly few, sometimes very many or very large.
fn changes(random: &mut Random) -> Vec<Change> {
    let any_slot = |random: &mut Random| random.below(SLOTS as u64) as usize;
    let large_slot = |random: &mut Random| random.below(LARGE_SLOTS as u64) as usize;
    match random.below(80) {
        0 => {
            let (slot, len) = (large_slot(random), 132_000 + random.below(30_000));
            vec![Change::NewArray { slot, len, first: random.next() >> 8 }]
        }
        // Longer than the log, if the array is a large one: a spill.
        1 => vec![Change::FillArray { slot: large_slot(random), first: random.next() >> 8 }],
        2 => (0..SLOTS).map(|slot| Change::FreeArray { slot }).collect(),
        3..7 => (0..30).map(|_| new_array(any_slot(random), random)).collect(),
        7..10 => (0..100).map(|_| small(random)).collect(),
        _ => (0..1 + random.below(5)).map(|_| small(random)).collect(),
    }
}

fn new_array(slot: usize, random: &mut Random) -> Change {
    // Small lengths use slabs, large ones runs of pages.
    let longest = random.pick(&[10, 100, 600, 3000]);
    Change::NewArray { slot, len: 1 + random.below(longest), first: random.next() >> 8 }
}

fn small(random: &mut Random) -> Change {
    let slot = random.below(SLOTS as u64) as usize;
    let name = |random: &mut Random| {
        let number = random.below(KEYS);
        // Alternates between inline texts and texts with an allocation.
        format!("{number:0width$}", width = if number.is_multiple_of(2) { 6 } else { 40 })
    };
    match random.below(12) {
        0 => Change::Push(random.next()),
        1 => Change::Pop,
        2 => Change::Enqueue(random.next()),
        3 => Change::Dequeue,
        4..6 => Change::SetAge(random.below(KEYS), random.next()),
        6 => Change::ForgetAge(random.below(KEYS)),
        7..9 => {
            let len = random.below(300) as usize;
            Change::SetName(name(random), random.bytes(len))
        }
        9 => Change::ForgetName(name(random)),
        10 => Change::FillArray { slot: LARGE_SLOTS.max(slot), first: random.next() >> 8 },
        _ => new_array(slot, random),
    }
}

impl Change {
    fn make(&self, tx: &mut WriteTx<'_>, world: Link<World>) -> flagstone::Result<()> {
        let stack = world.field(field!(World, stack));
        let queue = world.field(field!(World, queue));
        let ages = world.field(field!(World, ages));
        let names = world.field(field!(World, names));
        match self {
            Self::Push(number) => stack.push(tx, *number),
            Self::Pop => stack.pop(tx).map(drop),
            Self::Enqueue(number) => queue.push_back(tx, *number),
            Self::Dequeue => queue.pop_front(tx).map(drop),
            Self::SetAge(key, age) => ages.insert(tx, key, *age).map(drop),
            Self::ForgetAge(key) => ages.remove(tx, key).map(drop),
            Self::SetName(name, bytes) => {
                let bytes = Bytes::new(tx, bytes)?;
                let old = names.insert(tx, name.as_str(), bytes)?;
                old.map_or(Ok(()), |old| tx.release(old))
            }
            Self::ForgetName(name) => {
                let old = names.remove(tx, name.as_str())?;
                old.map_or(Ok(()), |old| tx.release(old))
            }
            Self::NewArray { slot, len, first } => {
                free_array(tx, world, *slot)?;
                let array = tx.alloc_slice((0..*len as usize).map(|i| first + i as u64))?;
                tx.at_mut(world)?.arrays[*slot] = array;
                Ok(())
            }
            Self::FillArray { slot, first } => {
                let array = tx.at(world)?.arrays[*slot];
                let numbers = tx.get_mut(array)?.into_iter().flatten();
                numbers.zip(*first..).for_each(|(number, new)| *number = new);
                Ok(())
            }
            Self::FreeArray { slot } => free_array(tx, world, *slot),
        }
    }
}

fn free_array(tx: &mut WriteTx<'_>, world: Link<World>, slot: usize) -> flagstone::Result<()> {
    let old = std::mem::take(&mut tx.at_mut(world)?.arrays[slot]);
    if old.is_null() {
        return Ok(());
    }
    tx.free(old)
}

impl Model {
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Applies the changes of all commits up to `count`.
    pub fn advance(&mut self, seed: u64, count: u64) {
        while self.count < count {
            self.count += 1;
            Plan::of(seed, self.count).changes.into_iter().for_each(|change| self.make(change));
        }
    }

    fn make(&mut self, change: Change) {
        match change {
            Change::Push(number) => self.stack.push(number),
            Change::Pop => drop(self.stack.pop()),
            Change::Enqueue(number) => self.queue.push_back(number),
            Change::Dequeue => drop(self.queue.pop_front()),
            Change::SetAge(key, age) => drop(self.ages.insert(key, age)),
            Change::ForgetAge(key) => drop(self.ages.remove(&key)),
            Change::SetName(name, bytes) => drop(self.names.insert(name, bytes)),
            Change::ForgetName(name) => drop(self.names.remove(&name)),
            Change::NewArray { slot, len, first } => drop(self.arrays.insert(slot, (len, first))),
            Change::FillArray { slot, first } => {
                if let Some((_, old)) = self.arrays.get_mut(&slot) {
                    *old = first;
                }
            }
            Change::FreeArray { slot } => drop(self.arrays.remove(&slot)),
        }
    }

    /// Reads the contents of the store.
    fn read(tx: &ReadTx<'_>) -> flagstone::Result<Self> {
        let Some(world) = tx.get(tx.root::<World>("world")?)? else {
            return Ok(Self::default());
        };
        let mut model = Self { count: world.count, ..Self::default() };
        model.stack = world.stack.as_slice(tx)?.to_vec();
        model.queue = world.queue.iter(tx)?.copied().collect();
        for entry in world.ages.iter(tx)? {
            let (key, age) = entry?;
            model.ages.insert(*key, *age);
        }
        for entry in world.names.iter(tx)? {
            let (name, bytes) = entry?;
            model.names.insert(name.as_str(tx)?.to_string(), bytes.as_bytes(tx)?.to_vec());
        }
        for (slot, array) in world.arrays.iter().enumerate() {
            let Some(numbers) = tx.get(*array)? else { continue };
            let first = numbers.first().copied().unwrap_or_default();
            // A mixture of two arrays reads as a length that no array has.
            let is_whole =
                numbers.iter().zip(first..).all(|(number, expected)| *number == expected);
            let len = if is_whole { numbers.len() as u64 } else { u64::MAX };
            model.arrays.insert(slot, (len, first));
        }
        Ok(model)
    }
}

/// Returns the number of the last commit that a snapshot contains.
pub fn count(tx: &ReadTx<'_>) -> flagstone::Result<u64> {
    Ok(tx.get(tx.root::<World>("world")?)?.map_or(0, |world| world.count))
}

/// Examines a whole store. Returns an error unless its content is exactly the state after one of
/// the commits `expected`; `model` becomes that state.
pub fn verify(
    store: &Store,
    model: &mut Model,
    seed: u64,
    expected: std::ops::RangeInclusive<u64>,
) -> Result<(), String> {
    let report = store.check().map_err(|error| format!("it cannot be checked: {error}"))?;
    let (findings, leaks) = (report.findings.len(), report.unreachable.allocations);
    let dangling = report.dangling.links;
    if let Some(first) = report.findings.first() {
        return Err(format!("check: {findings} findings, first {first:?}"));
    }
    if leaks + dangling > 0 {
        return Err(format!(
            "check: {leaks} allocations that no root reaches, {dangling} links to none"
        ));
    }
    let read = || Model::read(&store.read()?);
    let found = read().map_err(|error| format!("it cannot be read: {error}"))?;
    if !expected.contains(&found.count) {
        return Err(format!("it holds commit {}, expected one of {expected:?}", found.count));
    }
    model.advance(seed, found.count);
    found.differs(model).map_or(Ok(()), |part| Err(format!("commit {}: {part}", found.count)))
}

impl Model {
    /// Returns the name of a part that differs, if one does.
    fn differs(&self, expected: &Self) -> Option<&'static str> {
        let parts = [
            ("another number", self.count == expected.count),
            ("another stack", self.stack == expected.stack),
            ("another queue", self.queue == expected.queue),
            ("other ages", self.ages == expected.ages),
            ("other names", self.names == expected.names),
            ("other arrays", self.arrays == expected.arrays),
        ];
        parts.into_iter().find(|(_, is_same)| !is_same).map(|(part, _)| part)
    }
}
