//! Arrays of bytes that lie in runs of pages: growth, large transactions, free space.

use flagstone::{Image, Link, Result, WriteTx, persist};
use testkit::model::{Outcome, Subject, TestCaseError, Trial};

const SLOTS: usize = 4;

/// Links to arrays that nothing else owns.
#[persist]
#[derive(Clone, Copy, Default)]
pub struct ByteRuns {
    slots: [Link<[u8]>; SLOTS],
}

/// The subject.
pub struct OfByteRuns;

impl Subject for OfByteRuns {
    type Stored = ByteRuns;
    type Model = [Option<(usize, u8)>; SLOTS];
    /// The lengths of the array that replaces the one in a slot: in a slab, a few pages, larger than
    /// a record, written in place.
    type Op = (usize, usize);

    const OPS: &'static [(u64, Self::Op)] = &[
        (60, (0, 3000)),
        (30, (3000, 12_000)),
        (10, (12_000, 50_000)),
        (1, (1_050_000, 1_200_000)),
    ];

    fn contents(stored: &ByteRuns, tx: &Image) -> Outcome<Self::Model> {
        let mut model = Self::Model::default();
        for (link, model) in stored.slots.iter().zip(&mut model) {
            let Some(bytes) = tx.get(*link)? else { continue };
            let byte = bytes.first().copied().unwrap_or(0);
            // As slices: single bytes cost far more under a sanitizer.
            let is_same = bytes.len() < 2 || bytes[1..] == bytes[..bytes.len() - 1];
            if !is_same {
                return Err(TestCaseError::fail("an array of one byte"));
            }
            *model = Some((bytes.len(), byte));
        }
        Ok(model)
    }

    fn clear(link: Link<ByteRuns>, tx: &mut WriteTx<'_>) -> Result<()> {
        for old in tx.read(link)?.slots.into_iter().filter(|old| !old.is_null()) {
            tx.free(old)?;
        }
        *tx.at_mut(link)? = ByteRuns::default();
        Ok(())
    }

    fn apply((least, most): Self::Op, trial: &mut Trial<'_, '_, Self>) -> Outcome {
        let Trial { link, model, tx, random } = trial;
        let slot = random.below(SLOTS as u64) as usize;
        let len = least + random.below((most - least) as u64) as usize;
        let byte = random.next() as u8;
        let old = tx.read(*link)?.slots[slot];
        if !old.is_null() {
            tx.free(old)?;
            tx.at_mut(*link)?.slots[slot] = Link::null();
            model[slot] = None;
        }
        if byte == 0 {
            return Ok(());
        }
        let new = tx.alloc_slice_copy(&vec![byte; len])?;
        tx.at_mut(*link)?.slots[slot] = new;
        model[slot] = Some((len, if len == 0 { 0 } else { byte }));
        Ok(())
    }
}
