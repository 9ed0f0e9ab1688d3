//! The read-only methods of hash maps.

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Link, Persist};
use crate::store::WriteTx;

use super::iter::{Iter, Keys, Values};
use super::layout::Table;
use super::lookup::{Reader, value_at, value_in};
use crate::collections::key::{Key, StoredKey};

/// A hash map like `std::collections::HashMap`, whose entries live in the store.
///
/// Methods that only read are here; methods that modify are on
/// [`Link<HashMap<K, V>>`](Link). Keys are looked up by reference, as described at
/// [`Key`]: a `u64` by `&u64`, a [`Text`](crate::Text) by `&str`.
///
/// A lookup takes one or two cache misses, and neither allocates nor locks. An
/// insert moves the entries of at most two shards, some tens of kilobytes each,
/// however large the map is.
///
/// ```
/// use flagstone::{Store, Text, collections::HashMap};
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = Store::in_memory()?;
/// let mut tx = store.write()?;
/// let ages = tx.root_or_insert_with("ages", HashMap::<Text, u64>::new)?;
/// ages.insert(&mut tx, "Ada", 36)?;
/// ages.insert(&mut tx, "Alan", 41)?;
/// if let Some(age) = ages.get_mut(&mut tx, "Ada")? {
///     *age += 1;
/// }
/// *ages.entry(&mut tx, "Grace")?.or_insert(0)? += 85;
/// assert_eq!(ages.remove(&mut tx, "Alan")?, Some(41));
/// tx.commit()?;
///
/// let tx = store.read()?;
/// let ages = tx.root_object::<HashMap<Text, u64>>("ages")?;
/// assert_eq!(ages.get(&tx, "Ada")?, Some(&37));
/// assert_eq!(ages.len(), 2);
/// for entry in ages.iter(&tx)? {
///     let (name, age) = entry?;
///     println!("{} is {age}", name.as_str(&tx)?);
/// }
/// # Ok(()) }
/// ```
///
/// # What std has that this lacks
///
/// | `std` | reason, and what to use instead |
/// | --- | --- |
/// | `with_hasher`, `hasher`, … | the hash is part of the file: SipHash-1-3 with the store's own key |
/// | `Clone`, `PartialEq`, `Debug`, `Index` | they need the transaction; use [`iter`](Self::iter) and [`get`](Self::get) |
/// | `FromIterator`, `From<[_; N]>`, `Extend` | they cannot fail and do not take a transaction; use [`extend`](Link::extend) |
/// | `IntoIterator`, `into_keys`, `into_values` | [`drain`](Link::drain) |
/// | `iter_mut`, `values_mut` | a transaction lends one `&mut` at a time; use [`retain`](Link::retain), or `link` for each key |
/// | `get_disjoint_mut` | [`link`](Self::link) for each key, then [`WriteTx::get_disjoint_mut`] |
/// | `extract_if` | [`retain`](Link::retain), or `remove` for the keys found |
/// | `try_reserve` | [`reserve`](Link::reserve) already returns an error |
/// | `shrink_to` | [`shrink_to_fit`](Link::shrink_to_fit) |
#[must_use = "what it owns is not given back by dropping it: store it, or give it to `WriteTx::release`"]
#[repr(C)]
pub struct HashMap<K: Persist, V: Persist> {
    pub(super) table: Table<K, V>,
}

crate::persist::persist_own!(HashMap<K, V> as "flagstone::HashMap" { table });

/// A map prepared for many lookups: the header is validated and the directory
/// resolved.
#[must_use = "it was made to look keys up"]
pub struct HashMapReader<'a, K: Persist, V: Persist> {
    reader: Reader<'a, K, V>,
}

impl<K: Persist, V: Persist> Default for HashMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Persist, V: Persist> HashMap<K, V> {
    /// Returns an empty map without an allocation.
    pub fn new() -> Self {
        Self { table: Table::new() }
    }

    /// Returns the number of entries.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.table.len
    }

    /// Returns whether there are no entries.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Prepares the map for many lookups.
    ///
    /// ```
    /// # use flagstone::{Store, collections::HashMap};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// # let map = tx.alloc(HashMap::<u64, u64>::new())?;
    /// # map.insert(&mut tx, &3, 9)?;
    /// let squares = tx.at(map)?.reader(&tx)?;
    /// let mut sum = 0;
    /// for number in 0..1000 {
    ///     sum += squares.get(&number)?.copied().unwrap_or(0);
    /// }
    /// assert_eq!(sum, 9);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged.
    #[inline(always)]
    pub fn reader<'a>(&self, tx: &'a Image) -> Result<HashMapReader<'a, K, V>> {
        Ok(HashMapReader { reader: Reader::new(tx, &self.table)? })
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    ///
    /// Fails if the map or the entry is damaged.
    #[inline(always)]
    pub fn get<'a, Q: ?Sized>(&self, tx: &'a Image, query: &Q) -> Result<Option<&'a V>>
    where
        K: Key<Q>,
    {
        self.reader(tx)?.get(query)
    }

    /// Returns the stored key and its value.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    #[inline]
    pub fn get_key_value<'a, Q: ?Sized>(
        &self,
        tx: &'a Image,
        query: &Q,
    ) -> Result<Option<(&'a K, &'a V)>>
    where
        K: Key<Q>,
    {
        self.reader(tx)?.get_key_value(query)
    }

    /// Returns whether the map has the key.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    #[inline]
    pub fn contains_key<Q: ?Sized>(&self, tx: &Image, query: &Q) -> Result<bool>
    where
        K: Key<Q>,
    {
        self.reader(tx)?.contains_key(query)
    }

    /// Returns the link to the value of a key, to change a collection in it.
    ///
    /// The map's next insert or removal moves values: from then on the link leads to another entry's
    /// value, or to none, and nothing notices. Take a new one then, and do not store it. For a value
    /// that others link to, make it an object of its own, and a `Link` to it the map's value.
    ///
    /// ```
    /// use flagstone::{Store, collections::{HashMap, Vec}};
    ///
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let by_length = tx.alloc(HashMap::<u64, Vec<u64>>::new())?;
    /// for number in [7, 42, 5] {
    ///     let digits = u64::from(number > 9) + 1;
    ///     by_length.entry(&mut tx, &digits)?.or_default()?;
    ///     let numbers = tx.at(by_length)?.link(&tx, &digits)?.expect("it was inserted");
    ///     numbers.push(&mut tx, number)?;
    /// }
    /// let short = tx.at(by_length)?.get(&tx, &1)?.expect("two numbers");
    /// assert_eq!(short.as_slice(&tx)?, [7, 5]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    #[inline]
    pub fn link<Q: ?Sized>(&self, tx: &Image, query: &Q) -> Result<Option<Link<V>>>
    where
        K: Key<Q>,
    {
        self.reader(tx)?.link(query)
    }

    /// Returns an iterator over all entries, in arbitrary order.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged.
    pub fn iter<'a>(&self, tx: &'a Image) -> Result<Iter<'a, K, V>> {
        Ok(self.reader(tx)?.iter())
    }

    /// Returns an iterator over all keys, in arbitrary order.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged.
    pub fn keys<'a>(&self, tx: &'a Image) -> Result<Keys<'a, K, V>> {
        Ok(Keys::new(Reader::new(tx, &self.table)?))
    }

    /// Returns an iterator over all values, in arbitrary order.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged.
    pub fn values<'a>(&self, tx: &'a Image) -> Result<Values<'a, K, V>> {
        Ok(Values::new(Reader::new(tx, &self.table)?))
    }
}

impl<K: StoredKey, V: Persist> HashMap<K, V> {
    /// Returns how many entries fit before a shard must grow. Visits every shard: linear in
    /// the map's size, with a small factor.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged.
    pub fn capacity(&self, tx: &Image) -> Result<u64> {
        Reader::new(tx, &self.table)?.capacity()
    }
}

impl<'a, K: Persist, V: Persist> HashMapReader<'a, K, V> {
    /// See [`HashMap::len`].
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.reader.len
    }

    /// See [`HashMap::is_empty`].
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Same as [`HashMap::get`].
    ///
    /// # Errors
    ///
    /// Same as [`HashMap::get`].
    #[inline(always)]
    pub fn get<Q: ?Sized>(&self, query: &Q) -> Result<Option<&'a V>>
    where
        K: Key<Q>,
    {
        let Some(hit) = self.reader.find(query)? else { return Ok(None) };
        value_in::<K, V>(self.reader.tx, hit.offset).map(Some)
    }

    /// See [`HashMap::get_key_value`].
    ///
    /// # Errors
    ///
    /// Same as [`HashMap::get`].
    #[inline]
    pub fn get_key_value<Q: ?Sized>(&self, query: &Q) -> Result<Option<(&'a K, &'a V)>>
    where
        K: Key<Q>,
    {
        let Some(hit) = self.reader.find(query)? else { return Ok(None) };
        Ok(Some((hit.key, value_in::<K, V>(self.reader.tx, hit.offset)?)))
    }

    /// See [`HashMap::contains_key`].
    ///
    /// # Errors
    ///
    /// Same as [`HashMap::get`].
    #[inline]
    pub fn contains_key<Q: ?Sized>(&self, query: &Q) -> Result<bool>
    where
        K: Key<Q>,
    {
        Ok(self.reader.find(query)?.is_some())
    }

    /// See [`HashMap::link`].
    ///
    /// # Errors
    ///
    /// Same as [`HashMap::get`].
    #[inline]
    pub fn link<Q: ?Sized>(&self, query: &Q) -> Result<Option<Link<V>>>
    where
        K: Key<Q>,
    {
        Ok(self.reader.find(query)?.map(|hit| value_at::<K, V>(hit.offset)))
    }

    /// See [`HashMap::iter`].
    pub fn iter(&self) -> Iter<'a, K, V> {
        Iter::new(self.reader)
    }
}

impl<K: Persist, V: Persist> Clone for HashMapReader<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Persist, V: Persist> Copy for HashMapReader<'_, K, V> {}

impl<K: StoredKey, V: Persist> HashMap<K, V> {
    /// Returns an empty map with capacity for `capacity` entries.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot grow.
    pub fn with_capacity(tx: &mut WriteTx<'_>, capacity: u64) -> Result<Self> {
        let mut table = Table::new();
        table.make_room(tx, capacity)?;
        Ok(Self { table })
    }
}
