//! Changes a table: the code that maps and sets share.

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Element, Link, Owned, Persist, own_field};
use crate::store::WriteTx;

use super::layout::{HashEntry, Shard, Table};
use super::lookup::{Reader, WorkLimit, value_at};
use super::shard::{KeyWorkLimit, Slot};
use super::sizing;
use crate::collections::key::{Key, StoredKey};

/// The location of a key's entry.
pub(super) struct Location<K: Persist, V: Persist> {
    /// The shard's index.
    index: u64,
    shard: Shard<K, V>,
    slot: u64,
    /// The entry's offset in the heap.
    pub(super) offset: u64,
}

impl<K: Persist, V: Persist> Location<K, V> {
    /// Returns the link to the key.
    pub(super) fn key(&self) -> Link<K> {
        Link::from_parts(self.offset, 1)
    }

    /// Returns the link to the value.
    pub(super) fn value(&self) -> Link<V> {
        value_at::<K, V>(self.offset)
    }

    /// Opens the entry for writing.
    pub(super) fn open(&self, tx: &mut WriteTx<'_>) -> Result<Slot> {
        self.shard.open(tx)?.slot(tx, self.slot)
    }
}

/// The result of a lookup, with the hash of the query.
pub(super) struct Found<K: Persist, V: Persist> {
    pub(super) hash: u64,
    pub(super) place: Option<Location<K, V>>,
}

impl<K: StoredKey, V: Persist> Link<Table<K, V>> {
    /// Returns the header after validating it. Callers read a header that was just changed
    /// field by field: a load that is wider than the stores before it makes the processor
    /// wait for all of them.
    #[inline]
    pub(super) fn header(self, tx: &Image) -> Result<&Table<K, V>> {
        let table = tx.at(self)?;
        table.expect_sound()?;
        Ok(table)
    }

    #[inline]
    fn set_len(self, tx: &mut WriteTx<'_>, len: u64) -> Result<()> {
        let field = own_field!(Table<K, V>, len);
        tx.put(self.field(field), len)
    }

    /// Looks up the entry for `query`.
    #[inline]
    pub(super) fn seek<Q: ?Sized>(self, tx: &WriteTx<'_>, query: &Q) -> Result<Found<K, V>>
    where
        K: Key<Q>,
    {
        let table = self.header(tx)?;
        let reader = Reader::new(tx, table)?;
        let hash = reader.hash_of(query);
        let Some(hit) = reader.find_hashed(hash, query)? else {
            return Ok(Found { hash, place: None });
        };
        let index = table.shard_of(hash);
        let shard = *reader.shard(index)?;
        Ok(Found {
            hash,
            place: Some(Location { index, shard, slot: hit.slot, offset: hit.offset }),
        })
    }

    /// Reserves a slot for one more entry with this hash, which the caller must then write.
    /// Moves other entries, but at most those of two shards.
    pub(super) fn reserve_slot(self, tx: &mut WriteTx<'_>, hash: u64) -> Result<Slot> {
        let table = self.header(tx)?;
        let len = table.len.saturating_add(1);
        if table.shards != 0 && !table.needs_split(len) {
            let link = table.shard_link(tx, table.shard_of(hash))?;
            if let Some(slot) = Shard::reserve_slot(tx, link, hash)? {
                self.set_len(tx, len)?;
                return Ok(slot);
            }
        }
        self.claim_and_grow(tx, hash)
    }

    #[cold]
    #[inline(never)]
    fn claim_and_grow(self, tx: &mut WriteTx<'_>, hash: u64) -> Result<Slot> {
        let mut table = *self.header(tx)?;
        table.len = table.len.saturating_add(1);
        if table.shards == 0 {
            table.begin(tx, 1)?;
        }
        let mut index = table.shard_of(hash);
        let mut shard = table.shard(tx, index)?.open(tx)?;
        // Not both: if the shard is full, it grows and the split waits. This bounds the entries
        // that one insert moves.
        if table.needs_split(table.len) && !shard.is_full() {
            table.split(tx, &mut KeyWorkLimit::new(tx))?;
            index = table.shard_of(hash);
            shard = table.shard(tx, index)?.open(tx)?;
        }
        if shard.is_full() {
            let needed = sizing::grown(u64::from(shard.counts.live)) + 1;
            table.rebuild(tx, index, shard, needed, &mut KeyWorkLimit::new(tx))?;
        }
        let link = table.shard_link(tx, index)?;
        let Some(slot) = Shard::reserve_slot(tx, link, hash)? else {
            return Err(table.shard(tx, index)?.bad_tags("a free slot in new blocks", "none"));
        };
        tx.put_header(self, table)?;
        Ok(slot)
    }

    /// Removes an entry; the caller has already copied its key and value.
    pub(super) fn take(self, tx: &mut WriteTx<'_>, place: &Location<K, V>) -> Result<()> {
        self.erase(tx, place)?;
        let mut table = *self.header(tx)?;
        if table.is_sparse() {
            table.merge(tx, &mut KeyWorkLimit::new(tx))?;
            return tx.put_header(self, table);
        }
        let shard = table.shard(tx, place.index)?.open(tx)?;
        if shard.is_sparse() {
            let needed = sizing::grown(u64::from(shard.counts.live));
            table.rebuild(tx, place.index, shard, needed, &mut KeyWorkLimit::new(tx))?;
        }
        Ok(())
    }

    /// Removes an entry, but neither merges nor shrinks shards.
    fn erase(self, tx: &mut WriteTx<'_>, place: &Location<K, V>) -> Result<()> {
        let Some(len) = self.header(tx)?.len.checked_sub(1) else {
            return Err(ErrorKind::corrupt("flagstone::HashTable", self.offset(), "entries", 0));
        };
        place.shard.open(tx)?.erase(tx, place.slot)?;
        self.set_len(tx, len)
    }

    /// Removes the entries for which `keep` returns false, with everything that they own. Asks
    /// about all entries before it removes any, so an error or a panic of `keep` leaves the table
    /// whole. Remembers 16 bytes for each entry that goes.
    pub(super) fn retain(
        self,
        tx: &mut WriteTx<'_>,
        mut keep: impl FnMut(&mut WriteTx<'_>, &Location<K, V>) -> Result<bool>,
    ) -> Result<()> {
        let shards = self.header(tx)?.shards;
        let (mut budget, mut unwanted) = (WorkLimit::new(tx), Vec::new());
        for index in 0..shards {
            let shard = self.header(tx)?.shard(tx, index)?;
            shard.expect_sound()?;
            budget.spend(&shard)?;
            for slot in shard.live_slots(tx)? {
                let place = Location { index, shard, slot, offset: shard.slot_offset(slot) };
                if !keep(tx, &place)? {
                    unwanted.push((index, slot));
                }
            }
        }
        for (index, slot) in unwanted {
            let shard = self.header(tx)?.shard(tx, index)?;
            let offset = shard.slot_offset(slot);
            self.release_entry(tx, &Location { index, shard, slot, offset })?;
        }
        self.update(tx, Table::settle)
    }

    /// Removes an entry with everything that it owns, but neither merges nor shrinks shards.
    fn release_entry(self, tx: &mut WriteTx<'_>, place: &Location<K, V>) -> Result<()> {
        let mut owned = Owned::default();
        let size = HashEntry::<K, V>::SIZE_BYTES;
        let bytes = tx.bytes("entry of a flagstone::HashTable", place.offset, size)?;
        HashEntry::<K, V>::element_owned(bytes, &mut owned);
        self.erase(tx, place)?;
        tx.release_all(owned)
    }
}
