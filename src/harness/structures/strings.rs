//! A text and bytes.

use super::shared::{ROOT, any_text, expect_same};
use crate::collections::{Bytes, Text};
use crate::harness::choices::Choices;
use crate::harness::subject::{Subject, Verdict};
use crate::persist::own_field;
use crate::store::{ReadTx, WriteTx};

/// A [`Text`] and [`Bytes`] that are set, lengthened and cleared, so they move between inline
/// storage and the heap.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strings;

#[repr(C)]
#[derive(Default)]
struct Both {
    text: Text,
    bytes: Bytes,
}

crate::persist::persist_own!(Both as "Both" { text, bytes });

/// A change to the text or the bytes.
#[derive(Clone, Debug)]
pub enum Step {
    /// Replaces the text.
    SetText(String),
    /// Appends to the text.
    PushText(String),
    /// Clears the text.
    ClearText,
    /// Replaces the bytes.
    SetBytes(Vec<u8>),
    /// Appends to the bytes.
    ExtendBytes(Vec<u8>),
    /// Inverts each byte in place.
    InvertBytes,
}

impl Subject for Strings {
    type Model = (String, Vec<u8>);
    type Step = Step;

    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx.root_or_insert_with(ROOT, Both::default)?;
        Ok(())
    }

    fn choose(&self, choices: &mut Choices, _model: &Self::Model) -> Step {
        match choices.below(16) {
            0..3 => Step::SetText(any_text(choices)),
            3..7 => Step::PushText(any_text(choices)),
            7 => Step::ClearText,
            8..10 => Step::SetBytes(any_text(choices).into_bytes()),
            10..14 => Step::ExtendBytes(choices.bytes(0..=30)),
            _ => Step::InvertBytes,
        }
    }

    fn apply(&self, tx: &mut WriteTx<'_>, step: &Step, _model: &Self::Model) -> Verdict {
        let both = tx.root::<Both>(ROOT)?;
        let (text, bytes) =
            (both.field(own_field!(Both, text)), both.field(own_field!(Both, bytes)));
        match step {
            Step::SetText(new) => text.set(tx, new)?,
            Step::PushText(more) => text.push_str(tx, more)?,
            Step::ClearText => text.clear(tx)?,
            Step::SetBytes(new) => bytes.set(tx, new)?,
            Step::ExtendBytes(more) => bytes.extend_from_slice(tx, more)?,
            Step::InvertBytes => bytes.as_mut_bytes(tx)?.iter_mut().for_each(|byte| *byte ^= 255),
        }
        Ok(())
    }

    fn advance(&self, (text, bytes): &mut Self::Model, step: &Step) {
        match step {
            Step::SetText(new) => text.clone_from(new),
            Step::PushText(more) => text.push_str(more),
            Step::ClearText => text.clear(),
            Step::SetBytes(new) => bytes.clone_from(new),
            Step::ExtendBytes(more) => bytes.extend_from_slice(more),
            Step::InvertBytes => bytes.iter_mut().for_each(|byte| *byte ^= 255),
        }
    }

    fn verify(&self, tx: &ReadTx<'_>, (text, bytes): &Self::Model) -> Verdict {
        let both = tx.root_object::<Both>(ROOT)?;
        expect_same("text", both.text.as_str(tx)?, text)?;
        expect_same("bytes", both.bytes.as_bytes(tx)?, bytes)
    }
}
