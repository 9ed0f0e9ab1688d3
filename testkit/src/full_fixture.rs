//! A store with everything in it: every collection, every kind of key, short and long texts,
//! links, enums, bools. A fixed sequence of steps changes it, and reading it yields a number that
//! depends on everything read.

#![allow(dead_code, reason = "each test uses its own part")]

use std::hash::{DefaultHasher, Hash, Hasher};

use flagstone::collections::{BTreeMap, BTreeSet, Deque, HashMap, HashSet, Vec as StoreVec};
use flagstone::persist::FieldOf;
use flagstone::{Bytes, Image, Link, Pair, Result, Store, Text, WriteTx, field, persist};

use crate::Random;
use crate::model::kinds::{Colour, KeyKind, Kind, OfBytes, OfPair, OfText, OfVec, Place, plain};

/// The number of steps after which the oldest entry of a collection is removed.
const KEPT: u64 = 4;

#[persist]
pub struct Item {
    flag: bool,
    colour: Colour,
    flags: [bool; 2],
    id: u32,
    next: Link<Item>,
    score: f64,
    name: Text,
}

/// A large key, of which few fit into a node, so small trees have several nodes.
#[persist]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wide {
    id: u64,
    rest: [u64; 59],
}

/// A large value, of which few fit into a shard, so small tables have several shards.
#[persist]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    id: u64,
    rest: [[u64; 29]; 16],
}

#[persist]
#[derive(Default)]
pub struct Everything {
    items: StoreVec<Item>,
    texts: StoreVec<Text>,
    ring: Deque<Text>,
    colours: Deque<Colour>,
    blob: Bytes,
    number_of_colour: HashMap<Colour, u64>,
    flag_of_pair: HashMap<Pair<u64, Text>, bool>,
    block_of_number: HashMap<u64, Block>,
    blobs: HashSet<Bytes>,
    texts_of_text: HashMap<Text, StoreVec<Text>>,
    text_of_text: BTreeMap<Text, Text>,
    flag_of_place: BTreeMap<Place, bool>,
    colour_of_bytes: BTreeMap<Bytes, Colour>,
    wide: BTreeSet<Wide>,
    pairs: BTreeSet<Pair<u64, Text>>,
    nested: BTreeMap<u64, HashMap<Colour, u64>>,
    first: Link<Item>,
    slice: Link<[Colour]>,
    long: Link<[u64]>,
}

/// A kind with a value for each number.
pub trait Sample: Kind {
    fn sample(number: u64) -> Self::Model;
}

fn text(number: u64) -> String {
    match number % 4 {
        0 => format!("{number}"),
        1 => "x".repeat(19 + number as usize % 8),
        2 => format!("{number} {}", "ä".repeat(20)),
        // Large enough for a separate page.
        _ if number % 16 == 7 => "long ".repeat(425),
        _ => format!("a text that is long, number {number}"),
    }
}

macro_rules! samples {
    ($($kind:ty: |$number:ident| $sample:expr;)*) => {$(
        impl Sample for $kind {
            fn sample($number: u64) -> Self::Model {
                $sample
            }
        }
    )*};
}

samples! {
    u64: |n| n * 1000;
    bool: |n| n % 2 == 1;
    Place: |n| Place {
        row: n as i32 - 3,
        column: n as u16,
        is_dark: n % 2 == 1,
        colour: Colour::sample(n),
    };
    Colour: |n| [Colour::Red, Colour::Green, Colour::Blue][n as usize % 3];
    Wide: |n| Wide { id: n * 77 % 31, rest: [n; 59] };
    Block: |n| Block { id: n, rest: [[n; 29]; 16] };
    OfText: |n| text(n);
    OfBytes: |n| [vec![255, n as u8, 0], text(n).into_bytes()].concat();
    OfPair: |n| (n % 3, text(n));
}

impl<K: Sample> Sample for OfVec<K> {
    fn sample(number: u64) -> Vec<K::Model> {
        (0..number % 4).map(K::sample).collect()
    }
}

plain! {
    Wide: |random| Wide::sample(random.next()), |value| *value;
    Block: |random| Block::sample(random.next()), |value| *value;
}

/// A hash of everything that was read.
struct Digest<'a> {
    tx: &'a Image,
    /// The number of steps whose keys are looked up.
    steps: u64,
    sum: u64,
}

impl Digest<'_> {
    fn add(&mut self, part: impl Hash) {
        let mut hasher = DefaultHasher::new();
        (self.sum, part).hash(&mut hasher);
        self.sum = hasher.finish();
    }

    /// Adds parts independently of their order.
    fn add_all<P: Hash>(&mut self, parts: impl Iterator<Item = Result<P>>) -> Result<()> {
        let mut all = (0u64, 0u64);
        for part in parts {
            let mut hasher = DefaultHasher::new();
            part?.hash(&mut hasher);
            all = (all.0 + 1, all.1.wrapping_add(hasher.finish()));
        }
        self.add(all);
        Ok(())
    }
}

/// Changes and reads collections with keys of kind `K` and values of kind `V`.
macro_rules! maps {
    ($($map:ident $step:ident $read:ident;)*) => {$(
        fn $step<K: KeyKind + Sample, V: Sample>(
            tx: &mut WriteTx<'_>,
            map: Link<$map<K::Key, V::Stored>>,
            number: u64,
        ) -> Result<()> {
            let value = V::store(tx, &V::sample(number))?;
            let old = map.insert(tx, K::query(&K::lend(&K::sample(number))), value)?;
            old.map_or(Ok(()), |old| tx.release(old))?;
            let Some(oldest) = number.checked_sub(3 * KEPT) else { return Ok(()) };
            let old = map.remove(tx, K::query(&K::lend(&K::sample(oldest))))?;
            old.map_or(Ok(()), |old| tx.release(old))
        }

        fn $read<K: KeyKind + Sample, V: Sample>(
            digest: &mut Digest<'_>,
            map: &$map<K::Key, V::Stored>,
        ) -> Result<()> {
            let tx = digest.tx;
            digest.add(map.len());
            let each = |(key, value)| Ok((K::load(tx, key)?, V::load(tx, value)?));
            digest.add_all(map.iter(tx)?.map(|entry| entry.and_then(each)))?;
            for number in 0..digest.steps {
                let found = map.get(tx, K::query(&K::lend(&K::sample(number))))?;
                digest.add(found.map(|value| V::load(tx, value)).transpose()?);
            }
            Ok(())
        }
    )*};
}

maps! {
    HashMap step_hash_map read_hash_map;
    BTreeMap step_btree_map read_btree_map;
}

macro_rules! sets {
    ($($set:ident $step:ident $read:ident;)*) => {$(
        fn $step<K: KeyKind + Sample>(
            tx: &mut WriteTx<'_>,
            set: Link<$set<K::Key>>,
            number: u64,
        ) -> Result<()> {
            set.insert(tx, K::query(&K::lend(&K::sample(number))))?;
            let Some(oldest) = number.checked_sub(3 * KEPT) else { return Ok(()) };
            set.remove(tx, K::query(&K::lend(&K::sample(oldest))))?;
            Ok(())
        }

        fn $read<K: KeyKind + Sample>(digest: &mut Digest<'_>, set: &$set<K::Key>) -> Result<()> {
            let tx = digest.tx;
            digest.add(set.len());
            digest.add_all(set.iter(tx)?.map(|key| key.and_then(|key| K::load(tx, key))))?;
            for number in 0..digest.steps {
                digest.add(set.contains(tx, K::query(&K::lend(&K::sample(number))))?);
            }
            Ok(())
        }
    )*};
}

sets! {
    HashSet step_hash_set read_hash_set;
    BTreeSet step_btree_set read_btree_set;
}

fn item(tx: &mut WriteTx<'_>, number: u64, next: Link<Item>) -> Result<Item> {
    Ok(Item {
        flag: bool::sample(number),
        colour: Colour::sample(number),
        flags: [bool::sample(number + 1), true],
        id: number as u32,
        next,
        score: number as f64 / 3.0,
        name: Text::new(tx, &text(number))?,
    })
}

fn read_item(digest: &mut Digest<'_>, item: &Item) -> Result<()> {
    let Item { flag, colour, flags, id, next, score, name } = item;
    digest.add((flag, colour, flags, id, next.is_null(), score.to_bits()));
    digest.add(name.as_str(digest.tx)?);
    Ok(())
}

/// Performs step `number` on the store. All earlier steps must have been performed.
pub fn step(tx: &mut WriteTx<'_>, number: u64) -> Result<()> {
    let all = tx.root_or_insert_with("everything", Everything::default)?;
    step_lists(tx, all, number)?;
    step_objects(tx, all, number)?;
    macro_rules! step_each {
        ($($field:ident: $step:ident $kinds:tt;)*) => {$(
            step_each!(@ $step $kinds, all.field(field!(Everything, $field)));
        )*};
        (@ $step:ident ($($kind:ty),*), $link:expr) => {
            $step::<$($kind),*>(tx, $link, number)?
        };
    }
    step_each! {
        number_of_colour: step_hash_map (Colour, u64);
        flag_of_pair: step_hash_map (OfPair, bool);
        block_of_number: step_hash_map (u64, Block);
        blobs: step_hash_set (OfBytes);
        texts_of_text: step_hash_map (OfText, OfVec<OfText>);
        text_of_text: step_btree_map (OfText, OfText);
        flag_of_place: step_btree_map (Place, bool);
        colour_of_bytes: step_btree_map (OfBytes, Colour);
        wide: step_btree_set (Wide);
        pairs: step_btree_set (OfPair);
    }
    let nested = all.field(field!(Everything, nested));
    nested.entry(tx, &(number % 2))?.or_default()?;
    let inner = tx.at(nested)?.link(tx, &(number % 2))?.expect("it was inserted");
    step_hash_map::<Colour, u64>(tx, inner, number)
}

fn step_lists(tx: &mut WriteTx<'_>, all: Link<Everything>, number: u64) -> Result<()> {
    let items = all.field(field!(Everything, items));
    let new = item(tx, number, Link::null())?;
    items.push(tx, new)?;
    if tx.at(items)?.len() > KEPT {
        let old = items.swap_remove(tx, 1)?;
        tx.release(old)?;
    }
    let texts = all.field(field!(Everything, texts));
    let new = Text::new(tx, &text(number))?;
    texts.insert(tx, 0, new)?;
    if tx.at(texts)?.len() > KEPT {
        let old = texts.pop(tx)?;
        old.map_or(Ok(()), |old| tx.release(old))?;
    }
    let ring = all.field(field!(Everything, ring));
    let new = Text::new(tx, &text(number))?;
    ring.push_back(tx, new)?;
    if tx.at(ring)?.len() > KEPT {
        let old = ring.pop_front(tx)?;
        old.map_or(Ok(()), |old| tx.release(old))?;
    }
    let colours = all.field(field!(Everything, colours));
    colours.push_front(tx, Colour::sample(number))?;
    if tx.at(colours)?.len() > KEPT {
        colours.pop_back(tx)?;
    }
    all.field(field!(Everything, blob)).set(tx, &OfBytes::sample(number))
}

/// Changes objects that only links reach: a list, and two arrays.
fn step_objects(tx: &mut WriteTx<'_>, all: Link<Everything>, number: u64) -> Result<()> {
    let next = tx.at(all)?.first;
    let new = item(tx, number, next)?;
    let new = tx.alloc(new)?;
    tx.at_mut(all)?.first = new;
    if number > KEPT && number.is_multiple_of(2) {
        let gone = tx.at(next)?.next;
        let after = tx.at(gone)?.next;
        tx.at_mut(next)?.next = after;
        tx.free(gone)?;
    }
    let (slice, long) = (tx.at(all)?.slice, tx.at(all)?.long);
    let colours = (0..number as u32).map(|number| Colour::sample(number.into()));
    renew(tx, all, field!(Everything, slice), slice, colours)?;
    renew(
        tx,
        all,
        field!(Everything, long),
        long,
        (0..300 + number as u32).map(|x| u64::from(x) * number),
    )
}

fn renew<T: flagstone::Persist>(
    tx: &mut WriteTx<'_>,
    all: Link<Everything>,
    field: FieldOf<Everything, Link<[T]>>,
    old: Link<[T]>,
    new: impl ExactSizeIterator<Item = T>,
) -> Result<()> {
    if !old.is_null() {
        tx.free(old)?;
    }
    let new = tx.alloc_slice(new)?;
    tx.put(all.field(field), new)
}

/// Reads everything in a store in which `steps` or more were performed: by iteration, and by
/// lookup of every key.
pub fn read(store: &Store, steps: u64) -> Result<u64> {
    let tx = store.read()?;
    let mut digest = Digest { tx: &tx, steps, sum: 0 };
    for root in tx.roots()? {
        digest.add((root.name, root.type_name, root.count));
    }
    let Some(all) = tx.get(tx.root::<Everything>("everything")?)? else {
        return Ok(digest.sum);
    };
    read_lists(&mut digest, all)?;
    macro_rules! read_each {
        ($($field:ident: $read:ident $kinds:tt;)*) => {$(
            read_each!(@ $read $kinds, &all.$field);
        )*};
        (@ $read:ident ($($kind:ty),*), $all:expr) => {
            $read::<$($kind),*>(&mut digest, $all)?
        };
    }
    read_each! {
        number_of_colour: read_hash_map (Colour, u64);
        flag_of_pair: read_hash_map (OfPair, bool);
        block_of_number: read_hash_map (u64, Block);
        blobs: read_hash_set (OfBytes);
        texts_of_text: read_hash_map (OfText, OfVec<OfText>);
        text_of_text: read_btree_map (OfText, OfText);
        flag_of_place: read_btree_map (Place, bool);
        colour_of_bytes: read_btree_map (OfBytes, Colour);
        wide: read_btree_set (Wide);
        pairs: read_btree_set (OfPair);
    }
    for inner in all.nested.iter(&tx)? {
        let (key, inner) = inner?;
        digest.add(key);
        read_hash_map::<Colour, u64>(&mut digest, inner)?;
    }
    Ok(digest.sum)
}

fn read_lists(digest: &mut Digest<'_>, all: &Everything) -> Result<()> {
    let tx = digest.tx;
    for item in all.items.iter(tx)? {
        read_item(digest, item)?;
    }
    for text in all.texts.iter(tx)? {
        digest.add(text.as_str(tx)?);
    }
    for text in all.ring.iter(tx)? {
        digest.add(text.as_str(tx)?);
    }
    for colour in all.colours.iter(tx)? {
        digest.add(colour);
    }
    digest.add(all.blob.as_bytes(tx)?);
    digest.add(tx.get(all.slice)?);
    digest.add(tx.get(all.long)?);
    let mut at = all.first;
    // A damaged link may form a cycle.
    for _ in 0..1000 {
        let Some(item) = tx.get(at)? else { return Ok(()) };
        read_item(digest, item)?;
        at = item.next;
    }
    digest.add("a list without an end");
    Ok(())
}
