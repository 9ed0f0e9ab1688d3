//! Compares texts and strings of bytes with `std`'s.

use flagstone::{Bytes, Image, Link, Text, WriteTx};
use proptest::prelude::*;

use super::kinds::{Kind, OfBytes, OfText};
use super::{Outcome, Subject};

/// A change to a text or to bytes.
#[derive(Clone, Debug)]
pub enum StringOp<M> {
    Set(M),
    Replace(M),
    Append(M),
    Push(char),
    Change(u16),
    Duplicate,
    Clear,
}

fn string_op<K: Kind>() -> BoxedStrategy<StringOp<K::Model>> {
    use StringOp::*;
    prop_oneof![
        3 => K::any().prop_map(Set),
        2 => K::any().prop_map(Replace),
        6 => K::any().prop_map(Append),
        4 => any::<char>().prop_map(Push),
        4 => any::<u16>().prop_map(Change),
        2 => Just(Duplicate),
        1 => Just(Clear),
    ]
    .boxed()
}

impl Subject for OfText {
    type Stored = Text;
    type Model = String;
    type Op = StringOp<String>;

    fn op() -> BoxedStrategy<Self::Op> {
        string_op::<Self>()
    }

    fn contents(stored: &Text, tx: &Image) -> Outcome<String> {
        prop_assert_eq!(stored.is_empty()?, stored.len()? == 0);
        Ok(Self::load(tx, stored)?)
    }

    fn clear(link: Link<Text>, tx: &mut WriteTx<'_>) -> flagstone::Result<()> {
        link.clear(tx)
    }

    fn apply(op: &Self::Op, model: &mut String, link: Link<Text>, tx: &mut WriteTx<'_>) -> Outcome {
        match op {
            StringOp::Set(text) => {
                link.set(tx, text)?;
                model.clone_from(text);
            }
            StringOp::Replace(text) => {
                let old = link.replace(tx, text)?;
                prop_assert_eq!(old.as_str(tx)?, &std::mem::replace(model, text.clone()));
                tx.release(old)?;
            }
            StringOp::Append(text) => {
                link.push_str(tx, text)?;
                model.push_str(text);
            }
            StringOp::Push(character) => {
                link.push(tx, *character)?;
                model.push(*character);
            }
            StringOp::Change(keep) => {
                let change = |text: &mut String| {
                    let most = usize::from(*keep) % (text.chars().count() + 1);
                    *text = text.chars().rev().take(most).collect();
                    most
                };
                prop_assert_eq!(link.change(tx, change)?, change(model));
            }
            StringOp::Duplicate => {
                let copy = link.duplicate(tx)?;
                prop_assert_eq!(copy.as_str(tx)?, &**model);
                tx.release(copy)?;
            }
            StringOp::Clear => {
                link.clear(tx)?;
                model.clear();
            }
        }
        prop_assert_eq!(tx.at(link)?.as_str(tx)?, &**model);
        Ok(())
    }
}

impl Subject for OfBytes {
    type Stored = Bytes;
    type Model = Vec<u8>;
    type Op = StringOp<Vec<u8>>;

    fn op() -> BoxedStrategy<Self::Op> {
        string_op::<Self>()
    }

    fn contents(stored: &Bytes, tx: &Image) -> Outcome<Vec<u8>> {
        prop_assert_eq!(stored.len()?, stored.as_bytes(tx)?.len() as u64);
        Ok(Self::load(tx, stored)?)
    }

    fn clear(link: Link<Bytes>, tx: &mut WriteTx<'_>) -> flagstone::Result<()> {
        link.clear(tx)
    }

    fn apply(
        op: &Self::Op,
        model: &mut Vec<u8>,
        link: Link<Bytes>,
        tx: &mut WriteTx<'_>,
    ) -> Outcome {
        match op {
            StringOp::Set(bytes) => {
                link.set(tx, bytes)?;
                model.clone_from(bytes);
            }
            StringOp::Replace(bytes) => {
                let old = link.replace(tx, bytes)?;
                prop_assert_eq!(old.as_bytes(tx)?, &std::mem::replace(model, bytes.clone()));
                tx.release(old)?;
            }
            StringOp::Append(bytes) => {
                link.extend_from_slice(tx, bytes)?;
                model.extend_from_slice(bytes);
            }
            StringOp::Push(character) => {
                link.as_mut_bytes(tx)?.fill(*character as u8);
                model.fill(*character as u8);
            }
            StringOp::Change(keep) => {
                let change = |bytes: &mut Vec<u8>| bytes.truncate(usize::from(*keep) % 300);
                link.change(tx, change)?;
                change(model);
            }
            StringOp::Duplicate => {
                let copy = link.duplicate(tx)?;
                prop_assert_eq!(copy.as_bytes(tx)?, &model[..]);
                tx.release(copy)?;
            }
            StringOp::Clear => {
                link.clear(tx)?;
                model.clear();
            }
        }
        prop_assert_eq!(tx.at(link)?.as_bytes(tx)?, &model[..]);
        Ok(())
    }
}
