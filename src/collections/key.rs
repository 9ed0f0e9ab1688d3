//! Hashes, compares and stores keys.
//!
//! A key is hashed by its bytes with SipHash-1-3 under the store's own random key.
//! A file therefore means the same to every compiler, and nobody who chooses the
//! keys can make many of them collide. `std::hash::Hash` does not promise stable
//! bytes.

use std::cmp::Ordering;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::error::Result;
use crate::format::collections::bytes::KEY_END;
use crate::image::Image;
use crate::persist::{Persist, bytes_of};
use crate::store::WriteTx;

use super::{Bytes, Text};

/// The state of a key's hash.
pub struct KeyHasher(SipHasher13);

/// The store's hash key, decoded once for many hashes.
#[derive(Clone, Copy)]
pub(crate) struct HashSeed {
    keys: [u64; 2],
}

impl HashSeed {
    #[inline]
    pub(crate) fn new(tx: &Image) -> Self {
        let both = u128::from_le_bytes(tx.hash_key());
        Self { keys: [both as u64, (both >> 64) as u64] }
    }

    #[inline]
    pub(crate) fn hasher(self) -> KeyHasher {
        KeyHasher(SipHasher13::new_with_keys(self.keys[0], self.keys[1]))
    }

    #[inline]
    pub(crate) fn hash_query<K: Key<Q>, Q: ?Sized>(self, query: &Q) -> u64 {
        let mut hasher = self.hasher();
        K::hash_query(query, &mut hasher);
        hasher.finish()
    }
}

impl KeyHasher {
    #[inline]
    pub(crate) fn finish(self) -> u64 {
        self.0.finish()
    }

    /// Adds a part of fixed length.
    #[inline]
    fn fixed(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Adds a part of any length. Terminates it, so that two different pairs never hash the
    /// same bytes. No text contains 255.
    #[inline]
    fn open(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.0.write(&[KEY_END]);
    }
}

mod sealed {
    use super::{Bytes, Pair, Persist, StoredKey, Text};

    /// Seals the set of key types.
    pub trait Sealed {}
    impl<T: Persist + Copy> Sealed for T {}
    impl Sealed for Bytes {}
    impl Sealed for Text {}
    impl<A: StoredKey, B: StoredKey> Sealed for Pair<A, B> {}
}

/// A key as it is stored: a `Copy` type, which is hashed and compared by its bytes,
/// [`Text`], [`Bytes`], or a [`Pair`] of keys. There are no others: code that has
/// only the file, such as `check`, must know how keys are hashed.
///
/// Two floats are the same key if and only if their bits are the same: `-0.0` and
/// `0.0` are two keys, and a NaN equals itself.
pub trait StoredKey: Persist + sealed::Sealed {
    /// Adds the key to a hash.
    ///
    /// # Errors
    ///
    /// Fails if the key is damaged.
    fn hash(&self, tx: &Image, hasher: &mut KeyHasher) -> Result<()>;

    /// Returns the number of the key's bytes that lie in other allocations: the cost of
    /// hashing it beyond the key itself.
    fn outside_bytes(&self) -> u64;
}

/// A stored key that can be looked up by a `Q`: a `u64` by `&u64`, a [`Text`] by
/// `&str`, [`Bytes`] by `&[u8]`, a [`Pair`] by a tuple `(&a, &b)`.
pub trait Key<Q: ?Sized = Self>: StoredKey {
    /// Adds `query` to a hash, exactly as `StoredKey::hash` adds an equal key.
    fn hash_query(query: &Q, hasher: &mut KeyHasher);

    /// Returns whether this key equals `query`.
    ///
    /// # Errors
    ///
    /// Fails if the key is damaged.
    fn is(&self, tx: &Image, query: &Q) -> Result<bool>;

    /// Creates the key to store for `query`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot grow.
    fn store(tx: &mut WriteTx<'_>, query: &Q) -> Result<Self>;
}

/// A stored key with an order among keys of its type, which is that of [`OrdKey`].
pub trait SortedKey: StoredKey {
    /// Compares this key with another one of the same store.
    ///
    /// # Errors
    ///
    /// Fails if a key is damaged.
    fn compare(&self, tx: &Image, other: &Self) -> Result<Ordering>;
}

/// A key with an order: `Ord` for a `Copy` type; the order of the bytes for
/// [`Text`] and [`Bytes`] (for text, that is the order of `str`); first by the
/// first part, then by the second, for a [`Pair`].
///
/// An inconsistent `Ord`, or a different one from the one that the file was built
/// with, leads to wrong answers but never to an endless loop.
pub trait OrdKey<Q: ?Sized = Self>: Key<Q> + SortedKey {
    /// Compares this key with `query`.
    ///
    /// # Errors
    ///
    /// Fails if the key is damaged.
    fn order(&self, tx: &Image, query: &Q) -> Result<Ordering>;
}

impl<T: Persist + Copy> StoredKey for T {
    #[inline]
    fn hash(&self, _tx: &Image, hasher: &mut KeyHasher) -> Result<()> {
        hasher.fixed(bytes_of(self));
        Ok(())
    }

    #[inline]
    fn outside_bytes(&self) -> u64 {
        0
    }
}

impl<T: Persist + Copy> Key<T> for T {
    #[inline]
    fn hash_query(query: &T, hasher: &mut KeyHasher) {
        hasher.fixed(bytes_of(query));
    }

    #[inline]
    fn is(&self, _tx: &Image, query: &T) -> Result<bool> {
        Ok(bytes_of(self) == bytes_of(query))
    }

    #[inline]
    fn store(_tx: &mut WriteTx<'_>, query: &T) -> Result<Self> {
        Ok(*query)
    }
}

impl<T: Persist + Copy + Ord> SortedKey for T {
    #[inline]
    fn compare(&self, _tx: &Image, other: &Self) -> Result<Ordering> {
        Ok(self.cmp(other))
    }
}

impl<T: Persist + Copy + Ord> OrdKey<T> for T {
    #[inline]
    fn order(&self, _tx: &Image, query: &T) -> Result<Ordering> {
        Ok(self.cmp(query))
    }
}

impl StoredKey for Bytes {
    fn hash(&self, tx: &Image, hasher: &mut KeyHasher) -> Result<()> {
        hasher.open(self.as_bytes(tx)?);
        Ok(())
    }

    fn outside_bytes(&self) -> u64 {
        self.heap_bytes()
    }
}

impl Key<[u8]> for Bytes {
    fn hash_query(query: &[u8], hasher: &mut KeyHasher) {
        hasher.open(query);
    }

    #[inline]
    fn is(&self, tx: &Image, query: &[u8]) -> Result<bool> {
        Ok(self.as_bytes(tx)? == query)
    }

    fn store(tx: &mut WriteTx<'_>, query: &[u8]) -> Result<Self> {
        Self::new(tx, query)
    }
}

impl SortedKey for Bytes {
    fn compare(&self, tx: &Image, other: &Self) -> Result<Ordering> {
        Ok(self.as_bytes(tx)?.cmp(other.as_bytes(tx)?))
    }
}

impl OrdKey<[u8]> for Bytes {
    #[inline]
    fn order(&self, tx: &Image, query: &[u8]) -> Result<Ordering> {
        Ok(self.as_bytes(tx)?.cmp(query))
    }
}

impl StoredKey for Text {
    fn hash(&self, tx: &Image, hasher: &mut KeyHasher) -> Result<()> {
        hasher.open(self.as_bytes(tx)?);
        Ok(())
    }

    fn outside_bytes(&self) -> u64 {
        self.heap_bytes()
    }
}

impl Key<str> for Text {
    fn hash_query(query: &str, hasher: &mut KeyHasher) {
        hasher.open(query.as_bytes());
    }

    #[inline]
    fn is(&self, tx: &Image, query: &str) -> Result<bool> {
        Ok(self.as_bytes(tx)? == query.as_bytes())
    }

    fn store(tx: &mut WriteTx<'_>, query: &str) -> Result<Self> {
        Self::new(tx, query)
    }
}

impl SortedKey for Text {
    fn compare(&self, tx: &Image, other: &Self) -> Result<Ordering> {
        Ok(self.as_bytes(tx)?.cmp(other.as_bytes(tx)?))
    }
}

impl OrdKey<str> for Text {
    #[inline]
    fn order(&self, tx: &Image, query: &str) -> Result<Ordering> {
        Ok(self.as_bytes(tx)?.cmp(query.as_bytes()))
    }
}

/// Two keys as one, in place of a tuple: looked up by `(&a, &b)`.
///
/// It has the layout of a struct. Parts that would leave padding do not compile
/// (`Pair<u32, u64>`; use `Pair<u64, u64>`, or your own struct).
#[repr(C)]
#[derive(Debug)]
pub struct Pair<A: Persist, B: Persist> {
    /// The first part.
    pub first: A,
    /// The second part.
    pub second: B,
}

crate::persist::persist_own!(Pair<A, B> as "flagstone::Pair" { first, second });

impl<A: StoredKey, B: StoredKey> StoredKey for Pair<A, B> {
    fn hash(&self, tx: &Image, hasher: &mut KeyHasher) -> Result<()> {
        self.first.hash(tx, hasher)?;
        self.second.hash(tx, hasher)
    }

    fn outside_bytes(&self) -> u64 {
        self.first.outside_bytes().saturating_add(self.second.outside_bytes())
    }
}

impl<X: ?Sized, Y: ?Sized, A: Key<X>, B: Key<Y>> Key<(&X, &Y)> for Pair<A, B> {
    fn hash_query(query: &(&X, &Y), hasher: &mut KeyHasher) {
        A::hash_query(query.0, hasher);
        B::hash_query(query.1, hasher);
    }

    fn is(&self, tx: &Image, query: &(&X, &Y)) -> Result<bool> {
        Ok(self.first.is(tx, query.0)? && self.second.is(tx, query.1)?)
    }

    fn store(tx: &mut WriteTx<'_>, query: &(&X, &Y)) -> Result<Self> {
        Ok(Self { first: A::store(tx, query.0)?, second: B::store(tx, query.1)? })
    }
}

impl<A: SortedKey, B: SortedKey> SortedKey for Pair<A, B> {
    fn compare(&self, tx: &Image, other: &Self) -> Result<Ordering> {
        match self.first.compare(tx, &other.first)? {
            Ordering::Equal => self.second.compare(tx, &other.second),
            unequal => Ok(unequal),
        }
    }
}

impl<X: ?Sized, Y: ?Sized, A: OrdKey<X>, B: OrdKey<Y>> OrdKey<(&X, &Y)> for Pair<A, B> {
    fn order(&self, tx: &Image, query: &(&X, &Y)) -> Result<Ordering> {
        match self.first.order(tx, query.0)? {
            Ordering::Equal => self.second.order(tx, query.1),
            unequal => Ok(unequal),
        }
    }
}
