//! Arrays of bytes that lie in runs of pages: growth, large transactions, free space.

use flagstone::{Image, Link, Result, WriteTx, persist};
use proptest::prelude::*;

use testkit::model::{Outcome, Subject};

const SLOTS: usize = 4;

/// Links to arrays, with nothing else to own them.
#[persist]
#[derive(Clone, Copy, Default)]
pub struct Blobs {
    slots: [Link<[u8]>; SLOTS],
}

/// Puts an array into a slot, which frees the one that is there.
#[derive(Clone, Debug)]
pub struct Put {
    slot: usize,
    len: usize,
    byte: u8,
}

/// The subject.
pub struct OfBlobs;

impl Subject for OfBlobs {
    type Stored = Blobs;
    type Model = [Option<(usize, u8)>; SLOTS];
    type Op = Put;

    fn op() -> BoxedStrategy<Put> {
        // In a slab; a few pages; more than a record holds; written in place.
        let len = prop_oneof![
            60 => 0..3000usize,
            30 => 3000..12_000usize,
            10 => 12_000..50_000usize,
            1 => 1_050_000..1_200_000usize,
        ];
        (0..SLOTS, len, any::<u8>()).prop_map(|(slot, len, byte)| Put { slot, len, byte }).boxed()
    }

    fn contents(stored: &Blobs, tx: &Image) -> Outcome<Self::Model> {
        let mut model = Self::Model::default();
        for (link, model) in stored.slots.iter().zip(&mut model) {
            let Some(bytes) = tx.get(*link)? else { continue };
            let byte = bytes.first().copied().unwrap_or(0);
            // As slices: a byte for itself costs far more under a sanitizer.
            let is_same = bytes.len() < 2 || bytes[1..] == bytes[..bytes.len() - 1];
            prop_assert!(is_same, "an array of one byte");
            *model = Some((bytes.len(), byte));
        }
        Ok(model)
    }

    fn clear(link: Link<Blobs>, tx: &mut WriteTx<'_>) -> Result<()> {
        for old in tx.read(link)?.slots.into_iter().filter(|old| !old.is_null()) {
            tx.free(old)?;
        }
        *tx.at_mut(link)? = Blobs::default();
        Ok(())
    }

    fn apply(
        op: &Put,
        model: &mut Self::Model,
        link: Link<Blobs>,
        tx: &mut WriteTx<'_>,
    ) -> Outcome {
        let old = tx.read(link)?.slots[op.slot];
        if !old.is_null() {
            tx.free(old)?;
            tx.at_mut(link)?.slots[op.slot] = Link::null();
            model[op.slot] = None;
        }
        if op.byte == 0 {
            return Ok(());
        }
        let new = tx.alloc_slice_copy(&vec![op.byte; op.len])?;
        tx.at_mut(link)?.slots[op.slot] = new;
        model[op.slot] = Some((op.len, if op.len == 0 { 0 } else { op.byte }));
        Ok(())
    }
}
