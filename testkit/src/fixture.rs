//! A store with a bit of everything in it, and its model.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;

use flagstone::collections::{BTreeMap as Tree, Deque, HashMap as Table, Vec as List};
use flagstone::sim::Random;
use flagstone::{Link, Result, Snapshot, Store, Text, WriteTx, persist};
use xxhash_rust::xxh3::Xxh3;
use zerocopy::IntoBytes;

const PLACES: usize = 8;
/// The number of keys that the maps draw from.
const KEYS: u64 = 40;

/// Plain links.
#[persist]
#[derive(Clone, Copy)]
struct Shelf {
    numbers: [Link<u64>; PLACES],
    arrays: [Link<[u32]>; PLACES],
}

/// The contents of a store.
#[derive(Clone, Debug, Default)]
pub struct Model {
    numbers: [Option<u64>; PLACES],
    arrays: [Option<Vec<u32>>; PLACES],
    list: Vec<u64>,
    queue: VecDeque<u64>,
    ages: BTreeMap<u64, u64>,
    names: BTreeMap<String, u64>,
}

/// A hash of a store's contents.
pub type Digest = u64;

/// The kinds of changes to make.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Whether to use collections, and not only plain links.
    pub collections: bool,
    /// The usual maximum number of elements in an array.
    pub elements: u64,
    /// The maximum number of elements in one array of 16.
    pub max_elements: u64,
}

impl Model {
    /// Returns a hash of the contents.
    pub fn digest(&self) -> Digest {
        let Self { numbers, arrays, list, queue, ages, names } = self;
        let mut hash = Xxh3::new();
        let mut part = |bytes: &[u8]| {
            hash.update(bytes);
            hash.update(&bytes.len().to_le_bytes());
        };
        numbers.iter().for_each(|number| part(number.unwrap_or_default().as_bytes()));
        for array in arrays {
            part(array.as_deref().unwrap_or_default().as_bytes());
        }
        part(list.as_bytes());
        let (front, back) = queue.as_slices();
        part([front, back].concat().as_bytes());
        ages.iter().for_each(|(key, value)| part([*key, *value].as_bytes()));
        part(b"names");
        for (key, value) in names {
            part(key.as_bytes());
            part(value.as_bytes());
        }
        // Distinguishes an absent part from an empty one.
        numbers.iter().for_each(|number| part(&[u8::from(number.is_some())]));
        arrays.iter().for_each(|array| part(&[u8::from(array.is_some())]));
        hash.digest()
    }
}

/// Returns the contents of the store.
pub fn contents<S: Deref<Target = Store>>(tx: &Snapshot<S>) -> Result<Model> {
    let mut model = Model::default();
    if let Some(shelf) = tx.get(tx.root::<Shelf>("shelf")?)? {
        for index in 0..PLACES {
            model.numbers[index] = tx.get(shelf.numbers[index])?.copied();
            model.arrays[index] = tx.get(shelf.arrays[index])?.map(<[u32]>::to_vec);
        }
    }
    if let Some(list) = tx.get(tx.root::<List<u64>>("list")?)? {
        model.list = list.as_slice(tx)?.to_vec();
    }
    if let Some(queue) = tx.get(tx.root::<Deque<u64>>("queue")?)? {
        model.queue = queue.iter(tx)?.copied().collect();
    }
    if let Some(table) = tx.get(tx.root::<Table<u64, u64>>("ages")?)? {
        for entry in table.iter(tx)? {
            let (key, value) = entry?;
            model.ages.insert(*key, *value);
        }
    }
    if let Some(tree) = tx.get(tx.root::<Tree<Text, u64>>("names")?)? {
        for entry in tree.iter(tx)? {
            let (key, value) = entry?;
            model.names.insert(key.as_str(tx)?.to_string(), *value);
        }
    }
    Ok(model)
}

/// Makes a random change to store and model.
pub fn change(
    tx: &mut WriteTx<'_>,
    model: &mut Model,
    profile: Profile,
    random: &mut Random,
) -> Result<()> {
    match random.below(if profile.collections { 12 } else { 6 }) {
        0..6 => change_shelf(tx, model, profile, random),
        6 | 7 => change_list(tx, model, random),
        8 => change_queue(tx, model, random),
        9 => change_ages(tx, model, random),
        _ => change_names(tx, model, random),
    }
}

fn shelf(tx: &mut WriteTx<'_>) -> Result<Link<Shelf>> {
    let empty = Shelf { numbers: [Link::null(); PLACES], arrays: [Link::null(); PLACES] };
    tx.root_or_insert_with("shelf", || empty)
}

fn change_shelf(
    tx: &mut WriteTx<'_>,
    model: &mut Model,
    profile: Profile,
    random: &mut Random,
) -> Result<()> {
    let shelf = shelf(tx)?;
    let index = random.below(PLACES as u64) as usize;
    let Shelf { numbers, arrays } = *tx.at(shelf)?;
    let (number, array) = (numbers[index], arrays[index]);
    match random.below(5) {
        0 if number.is_null() => {
            let value = random.next();
            tx.at_mut(shelf)?.numbers[index] = tx.alloc(value)?;
            model.numbers[index] = Some(value);
        }
        0 => {
            tx.free(number)?;
            tx.at_mut(shelf)?.numbers[index] = Link::null();
            model.numbers[index] = None;
        }
        1 => {
            if let Some(value) = tx.get_mut(number)? {
                *value += 1;
                model.numbers[index] = Some(*value);
            }
        }
        2 => {
            let most = match random.one_in(16) {
                true => profile.max_elements,
                false => profile.elements,
            };
            set_array(tx, model, index, random.below(most) as u32, random.next() as u32)?;
        }
        3 => {
            if let Some([first, ..]) = tx.get_mut(array)? {
                *first = !*first;
                model.arrays[index].as_mut().expect("an array")[0] = *first;
            }
        }
        _ => {
            if !array.is_null() {
                tx.free(array)?;
                tx.at_mut(shelf)?.arrays[index] = Link::null();
                model.arrays[index] = None;
            }
        }
    }
    Ok(())
}

/// Replaces the array in a slot: its length, and the number that its elements follow from.
pub fn set_array(
    tx: &mut WriteTx<'_>,
    model: &mut Model,
    index: usize,
    len: u32,
    salt: u32,
) -> Result<()> {
    let shelf = shelf(tx)?;
    let old = tx.at(shelf)?.arrays[index];
    if !old.is_null() {
        tx.free(old)?;
    }
    let elements = (0..len).map(|x| x.wrapping_mul(2_654_435_761) ^ salt);
    tx.at_mut(shelf)?.arrays[index] = tx.alloc_slice(elements.clone())?;
    model.arrays[index] = Some(elements.collect());
    Ok(())
}

/// Sets all elements of an existing array to another value.
pub fn fill_array(tx: &mut WriteTx<'_>, model: &mut Model, index: usize, with: u32) -> Result<()> {
    let shelf = shelf(tx)?;
    let array = tx.at(shelf)?.arrays[index];
    if let Some(array) = tx.get_mut(array)? {
        array.fill(with);
    }
    model.arrays[index].iter_mut().for_each(|array| array.fill(with));
    Ok(())
}

/// Frees an array.
pub fn free_array(tx: &mut WriteTx<'_>, model: &mut Model, index: usize) -> Result<()> {
    let shelf = shelf(tx)?;
    let array = std::mem::take(&mut tx.at_mut(shelf)?.arrays[index]);
    model.arrays[index] = None;
    tx.free(array)
}

/// Sets a number, and allocates it if it is absent.
pub fn set_number(tx: &mut WriteTx<'_>, model: &mut Model, index: usize, to: u64) -> Result<()> {
    let shelf = shelf(tx)?;
    model.numbers[index] = Some(to);
    let number = tx.at(shelf)?.numbers[index];
    match tx.get_mut(number)? {
        Some(number) => *number = to,
        None => tx.at_mut(shelf)?.numbers[index] = tx.alloc(to)?,
    }
    Ok(())
}

fn change_list(tx: &mut WriteTx<'_>, model: &mut Model, random: &mut Random) -> Result<()> {
    let list = tx.root_or_insert_with("list", List::<u64>::new)?;
    match random.below(4) {
        0 => assert_eq!(list.pop(tx)?, model.list.pop()),
        1 if !model.list.is_empty() => {
            let index = random.below(model.list.len() as u64);
            assert_eq!(list.remove(tx, index)?, model.list.remove(index as usize));
        }
        _ => {
            let value = random.next();
            list.push(tx, value)?;
            model.list.push(value);
        }
    }
    Ok(())
}

fn change_queue(tx: &mut WriteTx<'_>, model: &mut Model, random: &mut Random) -> Result<()> {
    let queue = tx.root_or_insert_with("queue", Deque::<u64>::new)?;
    if random.one_in(3) {
        assert_eq!(queue.pop_front(tx)?, model.queue.pop_front());
        return Ok(());
    }
    let value = random.next();
    queue.push_back(tx, value)?;
    model.queue.push_back(value);
    Ok(())
}

fn change_ages(tx: &mut WriteTx<'_>, model: &mut Model, random: &mut Random) -> Result<()> {
    let ages = tx.root_or_insert_with("ages", Table::<u64, u64>::new)?;
    let key = random.below(KEYS);
    if random.one_in(3) {
        assert_eq!(ages.remove(tx, &key)?, model.ages.remove(&key));
        return Ok(());
    }
    let value = random.next();
    assert_eq!(ages.insert(tx, &key, value)?, model.ages.insert(key, value));
    Ok(())
}

fn change_names(tx: &mut WriteTx<'_>, model: &mut Model, random: &mut Random) -> Result<()> {
    let names = tx.root_or_insert_with("names", Tree::<Text, u64>::new)?;
    // Every second text is too long for inline storage.
    let number = random.below(KEYS);
    let key = "name ".repeat(1 + (number % 2 * 8) as usize) + &number.to_string();
    if random.one_in(3) {
        assert_eq!(names.remove(tx, key.as_str())?, model.names.remove(&key));
        return Ok(());
    }
    let value = random.next();
    let old = names.insert(tx, key.as_str(), value)?;
    assert_eq!(old, model.names.insert(key, value));
    Ok(())
}
