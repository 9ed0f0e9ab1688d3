//! A hash table in the store: buckets of linked entries, keyed by bytes.
//!
//! Knows nothing of words and files. A key stands in the table once.

use flagstone::{Image, Link, Persist, Result, WriteTx, persist};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Buckets of a new table; they double when there are more entries.
const FIRST_BUCKETS: u64 = 64;

/// A link to an entry.
pub type EntryLink<V> = Link<Entry<V>>;

/// The table. It lies in the store, and others link to it.
#[persist]
pub struct Table<V: Persist> {
    buckets: Link<[EntryLink<V>]>,
    count: u64,
    /// Random, so that nobody can choose keys that fall into one bucket.
    seed: u64,
}

/// A key, its value, and the next entry of the same bucket.
#[persist]
pub struct Entry<V: Persist> {
    /// The key's hash: it finds the bucket again when the table grows, and
    /// tells most other keys apart without a look at them.
    hash: u64,
    key: Link<[u8]>,
    next: Link<Entry<V>>,
    pub value: V,
}

impl<V: Persist> Table<V> {
    /// Entries in the table.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }

    /// The bucket of `hash`. Only damage makes an array of no buckets; the
    /// null link is an error when it is followed.
    fn bucket(&self, hash: u64) -> Link<EntryLink<V>> {
        let index = hash.checked_rem(self.buckets.len());
        let bucket = index.and_then(|index| self.buckets.index(index));
        bucket.unwrap_or_default()
    }
}

/// A new table, with nothing in it.
pub fn create<V: Persist>(tx: &mut WriteTx<'_>, seed: u64) -> Result<Link<Table<V>>> {
    let buckets = empty_buckets(tx, FIRST_BUCKETS)?;
    tx.alloc(Table { buckets, count: 0, seed })
}

fn empty_buckets<V: Persist>(tx: &mut WriteTx<'_>, count: u64) -> Result<Link<[EntryLink<V>]>> {
    tx.alloc_slice(std::iter::repeat_n(Link::null(), count as usize))
}

/// The entry of `key`; null if there is none.
pub fn find<V: Persist>(image: &Image, table: Link<Table<V>>, key: &[u8]) -> Result<EntryLink<V>> {
    let table = image.at(table)?;
    let hash = table.hash(key);
    let mut at = image.read(table.bucket(hash))?;
    while let Some(entry) = image.get(at)? {
        if entry.hash == hash && image.at(entry.key)? == key {
            return Ok(at);
        }
        at = entry.next;
    }
    Ok(Link::null())
}

/// Adds a key that is not in the table yet; the new entry.
pub fn insert<V: Persist>(
    tx: &mut WriteTx<'_>,
    table: Link<Table<V>>,
    key: &[u8],
    value: V,
) -> Result<EntryLink<V>> {
    grow_if_full(tx, table)?;
    let key_link = tx.alloc_slice_copy(key)?;
    let table = tx.at_mut(table)?;
    table.count += 1;
    let hash = table.hash(key);
    let bucket = table.bucket(hash);
    let next = tx.read(bucket)?;
    let entry = tx.alloc(Entry { hash, key: key_link, next, value })?;
    tx.put(bucket, entry)?;
    Ok(entry)
}

/// Takes `entry` out of the table and frees it with its key. What its value
/// links to is the caller's.
pub fn remove<V: Persist>(
    tx: &mut WriteTx<'_>,
    table: Link<Table<V>>,
    entry: EntryLink<V>,
) -> Result<()> {
    let Entry { hash, key, next, .. } = *tx.at(entry)?;
    let table = tx.at_mut(table)?;
    table.count -= 1;
    let bucket = table.bucket(hash);
    match before(tx, bucket, entry)? {
        None => tx.put(bucket, next)?,
        Some(previous) => tx.at_mut(previous)?.next = next,
    }
    tx.free(key)?;
    tx.free(entry)
}

/// The entry before `entry` in its bucket; `None` if it is the first.
fn before<V: Persist>(
    image: &Image,
    bucket: Link<EntryLink<V>>,
    entry: EntryLink<V>,
) -> Result<Option<EntryLink<V>>> {
    let mut previous = None;
    let mut at = image.read(bucket)?;
    while at != entry {
        previous = Some(at);
        at = image.at(at)?.next;
    }
    Ok(previous)
}

/// Doubles the buckets if there are more entries than buckets.
fn grow_if_full<V: Persist>(tx: &mut WriteTx<'_>, table: Link<Table<V>>) -> Result<()> {
    let Table { buckets, count, .. } = *tx.at(table)?;
    if count < buckets.len() {
        return Ok(());
    }
    let wider = empty_buckets(tx, buckets.len().saturating_mul(2))?;
    tx.at_mut(table)?.buckets = wider;
    for index in 0..buckets.len() {
        let mut at = tx.read(buckets.index(index).unwrap_or_default())?;
        while !at.is_null() {
            at = move_to_bucket(tx, table, at)?;
        }
    }
    tx.free(buckets)
}

/// Puts an entry in front of the bucket that is now its own; what came next.
fn move_to_bucket<V: Persist>(
    tx: &mut WriteTx<'_>,
    table: Link<Table<V>>,
    link: EntryLink<V>,
) -> Result<EntryLink<V>> {
    let bucket = tx.at(table)?.bucket(tx.at(link)?.hash);
    let first = tx.read(bucket)?;
    tx.put(bucket, link)?;
    Ok(std::mem::replace(&mut tx.at_mut(link)?.next, first))
}

/// All entries, in the order of their buckets.
pub fn entries<V: Persist>(
    image: &Image,
    table: Link<Table<V>>,
) -> Result<Vec<(EntryLink<V>, &Entry<V>)>> {
    let mut entries = Vec::new();
    for &first in image.at(image.at(table)?.buckets)? {
        let mut at = first;
        while let Some(entry) = image.get(at)? {
            entries.push((at, entry));
            at = entry.next;
        }
    }
    Ok(entries)
}

/// The key of an entry.
pub fn key<'a, V: Persist>(image: &'a Image, entry: &Entry<V>) -> Result<&'a [u8]> {
    image.at(entry.key)
}
