//! Turns descriptions (FORMAT.md, "Types") into plans.

use std::collections::HashMap;

use super::description::{Described, Reading, TypeRef, TypeText, shown};
use super::layout::{BYTES_VALUE, Layout, Layouts, MAX_LEVELS, Piece, Plan, What};
use super::roles::{Collection, KeyPart, Role, Shape};

impl Layouts {
    /// Reads all descriptions; entry 0 is flagstone's own. Calls `problem` with the number of
    /// each type whose values cannot be interpreted, and the reason.
    pub(super) fn read(texts: Vec<TypeText>, mut problem: impl FnMut(usize, String)) -> Self {
        let mut reader = Reader::default();
        for (number, text) in texts.iter().enumerate() {
            let described = if text.text.is_empty() { None } else { Described::read(text).into() };
            let described = described.transpose().unwrap_or_else(|why| {
                problem(number, why);
                None
            });
            if let Some(Described { name, .. }) = described
                && let Some(other) = reader.numbers.insert(name, number)
            {
                problem(number, format!("its name, {}, is that of type {other}", shown(name)));
            }
            reader.described.push(described);
        }
        reader.plans_of = vec![PlanOf::Unread; texts.len()];
        let mut types = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            let layout = reader.layout(number, text.align_bytes, &mut problem);
            types.push(layout.unwrap_or_default());
        }
        let Reader { plans, collections, numbers, .. } = reader;
        let numbers = numbers.into_iter().map(|(name, number)| (name.to_string(), number));
        Self { types, plans, collections, numbers: numbers.collect(), texts }
    }
}

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

#[derive(Default)]
pub(super) struct Reader<'a> {
    described: Vec<Option<Described<'a>>>,
    numbers: HashMap<&'a str, usize>,
    plans_of: Vec<PlanOf>,
    plans: Vec<Plan>,
    collections: Vec<Collection>,
    /// The parts of the keys that were requested.
    pub(super) keys: HashMap<&'a str, Option<Vec<KeyPart>>>,
}

impl<'a> Reader<'a> {
    fn layout(
        &mut self,
        number: usize,
        align_bytes: u64,
        problem: &mut impl FnMut(usize, String),
    ) -> Option<Layout> {
        let described @ Described { word, name, size_bytes, .. } = self.described[number]?;
        let mut note = |why: String| problem(number, format!("{}: {why}", shown(name)));
        let plan = self.plan_of(number, MAX_LEVELS);
        let role = if plan.is_ok() { Role::of(self, described) } else { Ok(Role::Other) };
        let role = role.unwrap_or_else(|why| {
            note(why);
            Role::Other
        });
        let plan = plan.unwrap_or_else(|why| {
            note(why);
            None
        });
        // Errors in the variants were reported when the plan was built.
        let variants =
            if word == "enum" { described.variants().unwrap_or_default() } else { vec![] };
        Some(Layout { name: shown(name), size_bytes, align_bytes, plan, role, variants })
    }

    /// Returns the plan of a type that has a description, if the type has parts to check.
    fn plan_of(&mut self, number: usize, levels: usize) -> Reading<Option<usize>> {
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
        let described = self.described.get(number).copied().flatten();
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
                let value = Value::of(BYTES_VALUE, What::Bytes { is_text: false });
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
        match Shape::of(self, described)? {
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

    pub(super) fn described(&self, number: u32) -> Option<Described<'a>> {
        self.described.get(number as usize).copied().flatten()
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
                let described = self.described.get(self.number_of(name)?).copied().flatten();
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

#[cfg(test)]
mod tests {
    use super::super::layout::Found;
    use super::*;

    /// Returns the layouts of these descriptions, and the problems found in them.
    fn read(texts: &[&str]) -> (Layouts, Vec<String>) {
        let text = |text: &&str| {
            let line = text.lines().next().unwrap_or_default();
            let size = line.rsplit_once(" size ").and_then(|(_, size)| size.split_once(' '));
            let size_bytes = size.and_then(|(size, _)| size.parse().ok()).unwrap_or(0);
            let align = line.rsplit_once(" align ").and_then(|(_, align)| align.parse().ok());
            TypeText { size_bytes, align_bytes: align.unwrap_or(0), text: text.to_string() }
        };
        let mut problems = vec![];
        let texts = Vec::from_iter(texts.iter().map(text));
        let layouts = Layouts::read(texts, |_, why| problems.push(why));
        (layouts, problems)
    }

    /// Returns the links in a value, each with its offset.
    fn links(layouts: &Layouts, number: u32, bytes: &[u8]) -> Vec<(u64, Found)> {
        let mut links = vec![];
        let plan = layouts.of(number).expect("a type").plan;
        plan.into_iter().for_each(|plan| {
            layouts.parts(plan, &mut |at, what| {
                links.extend(what.link(bytes, at).map(|found| (at, found)));
            });
        });
        links
    }

    /// Returns offsets and lengths of the links in a value of type `number` whose bytes are all
    /// ones. For a slice, the length is that of one element.
    fn places(layouts: &Layouts, number: u32) -> Vec<(u64, u64)> {
        let size_bytes = layouts.of(number).expect("a type").size_bytes;
        let bytes: Vec<u8> = (0..size_bytes).map(|at| u8::from(at % 8 == 0)).collect();
        let links = links(layouts, number, &bytes).into_iter();
        links.map(|(at, found)| (at, found.len_bytes)).collect()
    }

    #[test]
    fn links_are_found_in_fields_arrays_and_structs_within_each_other() {
        let (layouts, problems) = read(&[
            "struct Node size 24 align 8\n0 next: Link<Node>\n8 all: Link<[Pair<u8, [u8; 4]>]>\n",
            "struct Pair<u8, [u8; 4]> size 5 align 1\n0 first: u8\n1 second: [u8; 4]\n",
            "primitive [Node; 2] size 48 align 8\n",
            "struct Deep size 216 align 8\n0 mark: Phantom<Node>\n0 number: u64\n\
             8 nodes: [[Node; 2]; 4]\n200 one: [Link<[u16be; 4]>; 1]\n208 none: u64\n",
            "enum Colour size 8 align 8\n0 Red\n-5 Link<Node>\n",
            "primitive Link<[[Node; 3]]> size 16 align 8\n",
            "struct Few size 8 align 8\n0 none: [Node; 0]\n0 inner: [Wrap; 1]\n",
            "struct Wrap size 8 align 8\n0 link: Link<[Node; 1000000]>\n",
            "primitive Own size 8 align 8\n",
        ]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(places(&layouts, 0), [(0, 24), (8, 5)]);
        assert_eq!(places(&layouts, 1), []);
        assert_eq!(places(&layouts, 2), [(0, 24), (8, 5), (24, 24), (32, 5)]);
        let node = |index: u64| [(8 + 24 * index, 24), (16 + 24 * index, 5)];
        let deep = (0..8).flat_map(node).chain([(200, 8)]);
        assert_eq!(places(&layouts, 3), Vec::from_iter(deep));
        assert_eq!(places(&layouts, 4), []);
        assert_eq!(places(&layouts, 5), [(0, 72)]);
        assert_eq!(places(&layouts, 6), [(0, 24_000_000)]);
        assert_eq!(places(&layouts, 8), []);
    }

    #[test]
    fn a_string_of_bytes_is_a_link_if_its_last_byte_says_so() {
        let (layouts, problems) = read(&[
            "bytes Text size 24 align 8\n",
            "struct Both size 56 align 8\n0 id: u64\n8 texts: [Text; 2]\n",
        ]);
        assert_eq!(problems, [""; 0]);
        let mut both = [7; 56];
        let links = |both: &[u8]| links(&layouts, 1, both);
        // An inline string with a length that no inline string can have.
        both[31] = 23;
        both[55] = 24;
        assert_eq!(links(&both), []);
        both[55] = 255;
        both[32..40].copy_from_slice(&0x1234u64.to_le_bytes());
        both[40..48].copy_from_slice(&77u64.to_le_bytes());
        assert_eq!(links(&both), [(32, Found { target: 0x1234, len_bytes: 77 })]);
        both[32..40].fill(0);
        assert_eq!(links(&both), []);
    }

    #[test]
    fn descriptions_that_contradict_themselves_are_refused() {
        let refused = [
            "struct Self size 8 align 8\n0 again: Self\n",
            "struct Array size 8 align 8\n0 again: [Array; 1]\n",
            "struct Over size 16 align 8\n0 a: u64\n4 b: Link<u8>\n",
            "struct Past size 8 align 8\n0 a: [u64; 2]\n",
            "struct Wide size 8 align 8\n0 a: [[u64; 4294967296]; 4294967296]\n",
            "struct Late size 8 align 8\n18446744073709551615 a: u64\n",
            "struct Uneven size 12 align 4\n0 a: Link<u8>\n8 b: u32\n",
            "struct Unknown size 8 align 8\n0 a: Link<Nothing>\n",
            "struct Holds size 8 align 8\n0 a: Nothing\n",
            "struct Line size 8 align 8\nnothing\n",
            "struct Array2 size 8 align 8\n0 a: [u8]\n",
            "bytes Short size 16 align 8\n",
            "primitive [u8; 4] size 5 align 1\n",
            "thing Other size 8 align 8\n",
            "nothing\n",
        ];
        for text in refused {
            let (layouts, problems) = read(&[text]);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(layouts.of(0).is_none_or(|layout| layout.plan.is_none()), "{text}");
        }
        let (_, problems) = read(&["enum Twice size 1 align 1\n", "enum Twice size 1 align 1\n"]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let text = String::from("struct Cut size 9 align 8\n");
        let mut problems = 0;
        Layouts::read(vec![TypeText { size_bytes: 8, align_bytes: 8, text }], |_, _| problems += 1);
        assert_eq!(problems, 1);
    }

    #[test]
    fn types_within_each_other_end_at_some_depth() {
        let mut texts = vec!["struct T0 size 8 align 8\n0 a: Link<T0>\n".to_string()];
        for level in 1..10_000 {
            texts.push(format!("struct T{level} size 8 align 8\n0 a: T{}\n", level - 1));
        }
        // Innermost first, so each type has been read before the next one refers to it.
        let (layouts, problems) = read(&Vec::from_iter(texts.iter().map(|text| &**text)));
        assert_eq!(problems, [""; 0]);
        assert_eq!(places(&layouts, 9_999), [(0, 8)]);
        texts.reverse();
        let (_, problems) = read(&Vec::from_iter(texts.iter().map(|text| &**text)));
        assert!(problems[0].contains("levels of types"), "{}", &problems[0][..100]);
        let mut texts = vec!["struct T0 size 8 align 8\n0 a: Link<T0>\n".to_string()];
        for level in 1..1000 {
            let (size, below) = (8 * level + 8, level - 1);
            let fields = format!("0 a: T{below}\n{} b: Link<T0>\n", 8 * level);
            texts.push(format!("struct T{level} size {size} align 8\n{fields}"));
        }
        let (layouts, problems) = read(&Vec::from_iter(texts.iter().map(|text| &**text)));
        assert_eq!(places(&layouts, 100).len(), 101);
        assert!(layouts.plans.iter().all(|plan| plan.levels <= MAX_LEVELS));
        assert!(problems[0].contains("levels of types"), "{}", problems[0]);
        let deep = format!("struct A size 8 align 8\n0 a: {}\n", "[".repeat(100_000));
        assert_eq!(read(&[&deep]).1.len(), 1);
        let nest = format!("{}u64{}", "[".repeat(100_000), "; 1]".repeat(100_000));
        let deep = format!("struct A size 8 align 8\n0 a: {nest}\n8 b: Link<{nest}>");
        assert_eq!(read(&[&deep]).1.len(), 1);
    }

    #[test]
    fn counts_of_any_size_take_no_memory_and_parts_without_links_no_time() {
        let (layouts, problems) = read(&[
            "struct Big size 4294967288 align 8\n0 a: [Link<u8>; 536870911]\n",
            "struct Empty size 4294967288 align 8\n0 a: [[[u8; 8]; 536870911]; 1]\n",
        ]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(layouts.plans.iter().map(|plan| plan.pieces.len()).sum::<usize>(), 2);
        assert!(layouts.of(1).expect("a type").plan.is_none());
        // Any number of zero-sized parts may share an offset.
        let mut texts = vec!["struct Z0 size 0 align 1\n".to_string()];
        for level in 1..60 {
            let below = level - 1;
            texts.push(format!(
                "struct Z{level} size 0 align 1\n0 a: Z{below}\n0 b: [Z{below}; 9]\n"
            ));
        }
        let last = "struct Last size 8 align 8\n0 a: Z59\n0 b: Link<Z59>\n".to_string();
        texts.push(last);
        let (layouts, problems) = read(&Vec::from_iter(texts.iter().map(|text| &**text)));
        assert_eq!(problems, [""; 0]);
        assert_eq!(places(&layouts, 60), [(0, 0)]);
    }
}
