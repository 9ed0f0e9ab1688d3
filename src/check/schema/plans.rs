//! Turns descriptions (FORMAT.md, "Types") into plans.
//!
//! **Owns** the sizes of types and the positions of their parts, with a limit on how deep types
//! nest. **Must not know** which part a type plays in a collection (`roles`).

use std::collections::HashMap;

use crate::format::collections::bytes;

use super::fields::shape_of;
use super::grammar::{Described, Reading, TypeRef, shown};
use super::layout::{MAX_LEVELS, Piece, Plan, What};
use super::shapes::{Collection, Shape};

/// The state of reading a type.
#[derive(Clone, Copy)]
enum PlanOf {
    Unread,
    BeingRead,
    Read(Option<usize>),
    Refused,
}

/// Size and pieces of a value.
struct Value {
    size_bytes: u64,
    pieces: Vec<Piece>,
}

/// Builds plans, each once, when it is first needed.
pub(super) struct Planner<'a> {
    described: Vec<Option<Described<'a>>>,
    pub(super) numbers: HashMap<&'a str, usize>,
    plans_of: Vec<PlanOf>,
    pub(super) plans: Vec<Plan>,
    pub(super) collections: Vec<Collection>,
}

impl<'a> Planner<'a> {
    /// `numbers` are those of the described types, by name.
    pub(super) fn new(
        described: Vec<Option<Described<'a>>>,
        numbers: HashMap<&'a str, usize>,
    ) -> Self {
        let plans_of = vec![PlanOf::Unread; described.len()];
        Self { described, numbers, plans_of, plans: vec![], collections: vec![] }
    }

    /// Returns the plan of a type that has a description, if the type has parts to check.
    pub(super) fn plan_of(&mut self, number: usize, levels: usize) -> Reading<Option<usize>> {
        match self.plans_of.get(number) {
            Some(PlanOf::Read(plan)) => return Ok(*plan),
            Some(PlanOf::Unread) => {}
            Some(PlanOf::BeingRead) => return Err("it contains itself".to_string()),
            Some(PlanOf::Refused) | None => return Err("its links are unknown".to_string()),
        }
        self.plans_of[number] = PlanOf::BeingRead;
        let pieces = self.pieces_of(number, levels);
        let plan = pieces.and_then(|pieces| self.plan(pieces));
        self.plans_of[number] = plan.as_ref().map_or(PlanOf::Refused, |plan| PlanOf::Read(*plan));
        plan
    }

    fn plan(&mut self, pieces: Vec<Piece>) -> Reading<Option<usize>> {
        match pieces.is_empty() {
            true => Ok(None),
            false => self.add(pieces).map(Some),
        }
    }

    fn add(&mut self, pieces: Vec<Piece>) -> Reading<usize> {
        let inner = |piece: &Piece| match piece.what {
            What::Repeat { plan, .. } => self.plans[plan].levels,
            _ => 0,
        };
        // Checked here too, because a type that was read before counts with all its levels.
        let most = pieces.iter().map(inner).max().unwrap_or(0);
        below(MAX_LEVELS.saturating_sub(most))?;
        let has_links = pieces.iter().any(|piece| piece.what.has_links(&self.plans));
        let owns = pieces.iter().any(|piece| piece.what.owns(&self.plans));
        self.plans.push(Plan { pieces, levels: most + 1, has_links, owns });
        Ok(self.plans.len() - 1)
    }

    fn pieces_of(&mut self, number: usize, levels: usize) -> Reading<Vec<Piece>> {
        let described = self.described(number);
        let Some(described @ Described { word, name, size_bytes, .. }) = described else {
            return Err("its description cannot be read".to_string());
        };
        let pieces = match word {
            "enum" => {
                described.variants()?;
                Value::of(size_bytes, What::Enum(number)).pieces
            }
            // Only primitives whose name says everything can have parts to check.
            "primitive" => match TypeRef::read(name)? {
                TypeRef::Own(_) => vec![],
                _ => self.value(name, levels)?.expect_size(size_bytes)?,
            },
            "bytes" => {
                let value = Value::of(bytes::SIZE_BYTES as u64, What::Bytes { is_text: false });
                value.expect_size(size_bytes)?
            }
            "struct" => self.fields(described, levels)?,
            _ => {
                let found = shown(word);
                return Err(format!("expected struct, enum, bytes or primitive, found {found:?}"));
            }
        };
        let has_links = pieces.iter().any(|piece| piece.what.has_links(&self.plans));
        if has_links && !size_bytes.is_multiple_of(8) {
            return Err(format!("expected a multiple of 8 bytes with links, found {size_bytes}"));
        }
        Ok(pieces)
    }

    fn fields(&mut self, described: Described<'a>, levels: usize) -> Reading<Vec<Piece>> {
        let size_bytes = described.size_bytes;
        let (mut pieces, mut end) = (vec![], 0);
        for field in described.fields() {
            let field = field?;
            let value = self.value(field.type_name, levels)?;
            let offset = field.offset;
            let field_end = offset.checked_add(value.size_bytes).filter(|end| *end <= size_bytes);
            let Some(field_end) = field_end.filter(|_| offset >= end) else {
                let (field, value_bytes) = (shown(field.name), value.size_bytes);
                let expected = format!("expected fields one after the other in {size_bytes} bytes");
                return Err(format!("{expected}, found {field} of {value_bytes} bytes at {end}"));
            };
            end = field_end;
            let moved = |piece: Piece| Piece { offset: offset + piece.offset, ..piece };
            pieces.extend(value.pieces.into_iter().map(moved));
        }
        match shape_of(described, |name| self.known(name))? {
            None => Ok(pieces),
            Some(Shape::Text) => Ok(pieces.into_iter().map(as_text).collect()),
            Some(Shape::Owner(owner)) => {
                let plain = self.plan(pieces)?;
                self.collections.push(Collection { owner, plain });
                let what = What::Collection(self.collections.len() - 1);
                Ok(Value::of(size_bytes, what).pieces)
            }
        }
    }

    /// Returns the plan of an array's elements in a struct, and their stride in bytes.
    pub(super) fn elements(&mut self, element: &'a str) -> Reading<(Option<usize>, u64)> {
        let Value { size_bytes, pieces } = self.value(element, MAX_LEVELS)?;
        Ok((self.plan(pieces)?, size_bytes))
    }

    /// Returns the size in bytes of the type with that name.
    pub(super) fn size(&mut self, name: &'a str) -> Reading<u64> {
        Ok(self.value(name, MAX_LEVELS)?.size_bytes)
    }

    /// Returns whether a value of the type with that name owns memory.
    pub(super) fn owns(&mut self, name: &'a str) -> Reading<bool> {
        let pieces = self.value(name, MAX_LEVELS)?.pieces;
        Ok(pieces.iter().any(|piece| piece.what.owns(&self.plans)))
    }

    /// Returns size and pieces of a value of the type with that name.
    fn value(&mut self, name: &'a str, levels: usize) -> Reading<Value> {
        let below = below(levels)?;
        Ok(match TypeRef::read(name)? {
            TypeRef::Plain(size_bytes) => Value { size_bytes, pieces: vec![] },
            TypeRef::Bool => Value::of(1, What::Bool),
            TypeRef::Link(target) => {
                Value::of(8, What::Link { target_bytes: self.size_of(target, below)? })
            }
            TypeRef::Slice(element) => {
                Value::of(16, What::Slice { element_bytes: self.size_of(element, below)? })
            }
            TypeRef::Array(element, count) => {
                let element = self.value(element, below)?;
                self.array(element, count)?
            }
            TypeRef::Own(name) => {
                let number = self.number_of(name)?;
                let plan = self.plan_of(number, below);
                let plan = plan.map_err(|why| format!("it holds {}: {why}", shown(name)))?;
                let size_bytes = self.size_of(name, below)?;
                let pieces = plan.map_or(vec![], |plan| match &self.plans[plan].pieces[..] {
                    [piece] => vec![*piece],
                    _ => Value::of(0, What::Repeat { plan, count: 1, stride: size_bytes }).pieces,
                });
                Value { size_bytes, pieces }
            }
        })
    }

    fn array(&mut self, element: Value, count: u64) -> Reading<Value> {
        let stride = element.size_bytes;
        let size_bytes = stride.checked_mul(count).ok_or("an array of more than 2^64 bytes")?;
        if element.pieces.is_empty() || count <= 1 {
            let pieces = if count == 0 { vec![] } else { element.pieces };
            return Ok(Value { size_bytes, pieces });
        }
        let plan = match element.pieces[..] {
            [Piece { offset: 0, what: What::Repeat { plan, count: 1, .. } }] => plan,
            _ => self.add(element.pieces)?,
        };
        Ok(Value::of(size_bytes, What::Repeat { plan, count, stride }))
    }

    /// Returns the number of a type that has a description.
    pub(super) fn known(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).map(|number| *number as u32)
    }

    /// Returns the description of a type, if it could be read.
    pub(super) fn described(&self, number: usize) -> Option<Described<'a>> {
        self.described.get(number).copied().flatten()
    }

    fn number_of(&self, name: &str) -> Reading<usize> {
        let number = self.numbers.get(name).copied();
        number.ok_or_else(|| format!("expected a description of {}, found none", shown(name)))
    }

    fn size_of(&self, name: &str, levels: usize) -> Reading<u64> {
        Ok(match TypeRef::read(name)? {
            TypeRef::Plain(size_bytes) => size_bytes,
            TypeRef::Bool => 1,
            TypeRef::Link(_) => 8,
            TypeRef::Slice(_) => 16,
            TypeRef::Array(element, count) => {
                self.size_of(element, below(levels)?)?.saturating_mul(count)
            }
            TypeRef::Own(name) => {
                let described = self.described(self.number_of(name)?);
                described.map_or(0, |described| described.size_bytes)
            }
        })
    }
}

fn as_text(piece: Piece) -> Piece {
    match piece.what {
        What::Bytes { .. } => Piece { what: What::Bytes { is_text: true }, ..piece },
        _ => piece,
    }
}

fn below(levels: usize) -> Reading<usize> {
    levels.checked_sub(1).ok_or_else(|| format!("expected at most {MAX_LEVELS} levels of types"))
}

impl Value {
    fn of(size_bytes: u64, what: What) -> Self {
        Self { size_bytes, pieces: vec![Piece { offset: 0, what }] }
    }

    fn expect_size(self, found: u64) -> Reading<Vec<Piece>> {
        if self.size_bytes != found {
            return Err(format!("expected {} bytes, found {found}", self.size_bytes));
        }
        Ok(self.pieces)
    }
}
