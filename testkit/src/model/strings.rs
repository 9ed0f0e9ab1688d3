//! Compares texts and strings of bytes with `std`'s.

use flagstone::{Bytes, Image, Link, Result, Text, WriteTx};
use proptest::prelude::*;

use super::kinds::{Kind, OfBytes, OfText};
use super::{Outcome, Subject, Trial};

/// A change to a text or to bytes.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Set,
    Replace,
    Append,
    Push,
    Change,
    Duplicate,
    Clear,
}

const OPS: &[(u64, Op)] = &[
    (3, Op::Set),
    (2, Op::Replace),
    (6, Op::Append),
    (4, Op::Push),
    (4, Op::Change),
    (2, Op::Duplicate),
    (1, Op::Clear),
];

/// What both do alike; `$content` is the method that reads them, `$own` what only one can do.
macro_rules! string {
    ($kind:ident, $string:ident, $model:ty, $content:ident, $own:ident) => {
        impl Subject for $kind {
            type Stored = $string;
            type Model = $model;
            type Op = Op;

            const OPS: &'static [(u64, Op)] = OPS;

            fn contents(stored: &$string, tx: &Image) -> Outcome<$model> {
                prop_assert_eq!(stored.len()?, stored.$content(tx)?.len() as u64);
                prop_assert_eq!(stored.is_empty()?, stored.len()? == 0);
                Ok(Self::load(tx, stored)?)
            }

            fn clear(link: Link<$string>, tx: &mut WriteTx<'_>) -> Result<()> {
                link.clear(tx)
            }

            fn apply(op: Op, trial: &mut Trial<'_, '_, Self>) -> Outcome {
                let Trial { link, model, tx, random } = trial;
                let some = Self::make(random);
                match op {
                    Op::Set => {
                        link.set(tx, &some)?;
                        **model = some;
                    }
                    Op::Replace => {
                        let old = link.replace(tx, &some)?;
                        prop_assert_eq!(old.$content(tx)?, &**model);
                        **model = some;
                        tx.release(old)?;
                    }
                    Op::Duplicate => {
                        let copy = link.duplicate(tx)?;
                        prop_assert_eq!(copy.$content(tx)?, &**model);
                        tx.release(copy)?;
                    }
                    Op::Clear => {
                        link.clear(tx)?;
                        model.clear();
                    }
                    Op::Append | Op::Push | Op::Change => $own(op, trial, &some)?,
                }
                let content = trial.tx.at(trial.link)?.$content(trial.tx)?;
                prop_assert_eq!(content, &**trial.model);
                Ok(())
            }
        }
    };
}

string!(OfText, Text, String, as_str, apply_to_text);
string!(OfBytes, Bytes, Vec<u8>, as_bytes, apply_to_bytes);

fn apply_to_text(op: Op, trial: &mut Trial<'_, '_, OfText>, text: &str) -> Outcome {
    let Trial { link, model, tx, random } = trial;
    match op {
        Op::Append => {
            link.push_str(tx, text)?;
            model.push_str(text);
        }
        Op::Push => {
            let character = char::from_u32(random.next() as u32 & 0x1_ffff).unwrap_or('ß');
            link.push(tx, character)?;
            model.push(character);
        }
        _ => {
            let keep = random.below(1 << 16) as usize;
            let change = |text: &mut String| {
                let most = keep % (text.chars().count() + 1);
                *text = text.chars().rev().take(most).collect();
                most
            };
            prop_assert_eq!(link.change(tx, change)?, change(model));
        }
    }
    Ok(())
}

fn apply_to_bytes(op: Op, trial: &mut Trial<'_, '_, OfBytes>, bytes: &[u8]) -> Outcome {
    let Trial { link, model, tx, random } = trial;
    let number = random.below(300) as usize;
    match op {
        Op::Append => {
            link.extend_from_slice(tx, bytes)?;
            model.extend_from_slice(bytes);
        }
        Op::Push => {
            link.as_mut_bytes(tx)?.fill(number as u8);
            model.fill(number as u8);
        }
        _ => {
            let change = |bytes: &mut Vec<u8>| bytes.truncate(number);
            link.change(tx, change)?;
            change(model);
        }
    }
    Ok(())
}
