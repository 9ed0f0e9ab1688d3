//! The payload of a key in a leaf: the value of a map, or nothing in a set.
//!
//! A persisted type has at least one byte, so nothing cannot be one. Maps and sets
//! share their trees through this trait.

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Link, Owned, Persist, Reach};
use crate::store::{Region, WriteTx};

/// A value, or nothing.
pub(super) trait Payload: Sized + 'static {
    const SIZE_BYTES: u64;
    const ALIGN_BYTES: u64;
    const OWNS: bool;

    /// Returns the `count` payloads from `offset` on.
    fn items(tx: &Image, offset: u64, count: u64) -> Result<&[Self]>;

    /// Returns a copy of the payload at `offset`.
    fn take(tx: &Image, offset: u64) -> Result<Self>;

    /// Writes it to a place in a region.
    fn put(self, tx: &mut WriteTx<'_>, region: Region, at: u64) -> Result<()>;

    /// Releases everything that it owns.
    fn release(self, tx: &mut WriteTx<'_>) -> Result<()>;

    /// Returns its name in the registry.
    fn name() -> String;

    /// Returns what it adds to the type arguments in a node's name.
    fn argument() -> String;

    fn reach(reach: &mut Reach);

    /// Adds what the payloads in `bytes` own to `owned`.
    fn owned(bytes: &[u8], owned: &mut Owned);
}

impl<V: Persist> Payload for V {
    const SIZE_BYTES: u64 = size_of::<V>() as u64;
    const ALIGN_BYTES: u64 = align_of::<V>() as u64;
    const OWNS: bool = V::OWNS;

    #[inline]
    fn items(tx: &Image, offset: u64, count: u64) -> Result<&[V]> {
        if count == 0 {
            return Ok(&[]);
        }
        tx.at(Link::<[V]>::from_parts(offset, count))
    }

    #[inline]
    fn take(tx: &Image, offset: u64) -> Result<V> {
        tx.value(Link::from_parts(offset, 1))
    }

    #[inline]
    fn put(self, tx: &mut WriteTx<'_>, region: Region, at: u64) -> Result<()> {
        tx.put_in(region, at, self)
    }

    fn release(self, tx: &mut WriteTx<'_>) -> Result<()> {
        tx.release(self)
    }

    fn name() -> String {
        V::type_name()
    }

    fn argument() -> String {
        format!(", {}", V::type_name())
    }

    fn reach(reach: &mut Reach) {
        V::reach(reach);
    }

    fn owned(bytes: &[u8], owned: &mut Owned) {
        owned.each::<V>(bytes);
    }
}

/// The payload of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nothing;

/// As many as a leaf can have keys; they take no bytes.
static NOTHINGS: [Nothing; 1 << 16] = [Nothing; 1 << 16];

impl Payload for Nothing {
    const SIZE_BYTES: u64 = 0;
    const ALIGN_BYTES: u64 = 1;
    const OWNS: bool = false;

    #[inline]
    fn items(_tx: &Image, _offset: u64, count: u64) -> Result<&[Self]> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(NOTHINGS.get(..count).unwrap_or(&NOTHINGS))
    }

    #[inline]
    fn take(_tx: &Image, _offset: u64) -> Result<Self> {
        Ok(Self)
    }

    #[inline]
    fn put(self, _tx: &mut WriteTx<'_>, _area: Region, _at: u64) -> Result<()> {
        Ok(())
    }

    fn release(self, _tx: &mut WriteTx<'_>) -> Result<()> {
        Ok(())
    }

    fn name() -> String {
        "()".to_string()
    }

    fn argument() -> String {
        String::new()
    }

    fn reach(_reach: &mut Reach) {}

    fn owned(_bytes: &[u8], _owned: &mut Owned) {}
}
