//! Names the parts of a value: `numbers[3].first`.
//!
//! **Owns** the names, and a limit on the work for them. **Must not know** where values lie.

use std::cell::Cell;

use super::fields::is_collection;
use super::grammar::{Described, FieldLine, TypeRef, shown};
use super::layout::{Layouts, MAX_LEVELS};

/// Maximum bytes of descriptions that a report reads to name fields. A file can have long
/// descriptions and ten thousand findings; past this limit, a part is identified by its offset
/// alone.
const MAX_BYTES: usize = 64 << 20;

/// The bytes of descriptions that may still be read for names.
pub(in crate::check) struct WorkLimit(Cell<usize>);

impl Default for WorkLimit {
    fn default() -> Self {
        Self(Cell::new(MAX_BYTES))
    }
}

impl WorkLimit {
    fn spend(&self, bytes: usize) -> Option<()> {
        self.0.set(self.0.get().checked_sub(bytes)?);
        Some(())
    }
}

/// Returns the path of the part at offset `at` in a value of type `number`; empty for the
/// value itself.
pub(in crate::check) fn field_path(
    layouts: &Layouts,
    number: u32,
    at: u64,
    limit: &WorkLimit,
) -> String {
    let mut path = String::new();
    let mut at = at;
    let text = layouts.texts.get(number as usize);
    let name = text.and_then(|text| Described::read(text).ok()).map(|found| found.name);
    let Some(mut name) = name else { return format!("byte {at}") };
    for _ in 0..MAX_LEVELS {
        match step(layouts, name, at, limit) {
            Some(Step::Into { part, type_name, rest }) => {
                path.push_str(&part);
                (name, at) = (type_name, rest);
            }
            Some(Step::End) => break,
            None => {
                path.push_str(&format!(".byte {at}"));
                break;
            }
        }
    }
    path.trim_start_matches('.').to_string()
}

fn step<'a>(layouts: &'a Layouts, name: &'a str, at: u64, limit: &WorkLimit) -> Option<Step<'a>> {
    match TypeRef::read(name).ok()? {
        TypeRef::Array(element, _) => {
            // Arrays of arrays can have long names, which are read again at each level.
            limit.spend(name.len())?;
            let size = size(layouts, element, MAX_LEVELS)?.max(1);
            let part = format!("[{}]", at / size);
            Some(Step::Into { part, type_name: element, rest: at % size })
        }
        // A finding about such a value does not belong to any one of its fields.
        TypeRef::Own(name) if is_collection(name) => Some(Step::End),
        TypeRef::Own(name) => {
            let text = layouts.texts.get(*layouts.numbers.get(name)?)?;
            limit.spend(text.text.len())?;
            let described = Described::read(text).ok()?;
            if described.word != "struct" {
                return Some(Step::End);
            }
            let before = |field: &FieldLine<'_>| field.offset <= at;
            let fields = described.fields().map_while(Result::ok).take_while(before);
            let field = fields.last()?;
            let part = format!(".{}", shown(field.name));
            Some(Step::Into { part, type_name: field.type_name, rest: at - field.offset })
        }
        _ => Some(Step::End),
    }
}

fn size(layouts: &Layouts, name: &str, levels: usize) -> Option<u64> {
    Some(match TypeRef::read(name).ok()? {
        TypeRef::Plain(size_bytes) => size_bytes,
        TypeRef::Bool => 1,
        TypeRef::Link(_) => 8,
        TypeRef::Slice(_) => 16,
        TypeRef::Array(element, count) => {
            size(layouts, element, levels.checked_sub(1)?)?.saturating_mul(count)
        }
        TypeRef::Own(name) => layouts.types.get(*layouts.numbers.get(name)?)?.size_bytes,
    })
}

enum Step<'a> {
    /// A field or an element, whose value begins `rest` bytes before the part.
    Into { part: String, type_name: &'a str, rest: u64 },
    /// The value itself.
    End,
}

#[cfg(test)]
mod tests {
    use super::super::grammar::TypeText;
    use super::super::read::read_layouts;
    use super::*;

    #[test]
    fn a_part_has_the_name_that_a_program_gives_it() {
        let text = |size_bytes, text: &str| TypeText {
            size_bytes,
            align_bytes: 8,
            text: text.to_string(),
        };
        let texts = vec![
            TypeText::default(),
            text(32, "struct All size 32 align 8\n0 id: u64\n8 pairs: [Pair; 3]\n"),
            text(8, "struct Pair size 8 align 8\n0 first: [u16; 2]\n4 second: u32\n"),
            text(24, "struct TypeRef size 24 align 8\n0 none: [u8; 0]\n0 name: flagstone::Text\n"),
            text(24, "struct flagstone::Text size 24 align 8\n0 bytes: flagstone::Bytes\n"),
            text(24, "bytes flagstone::Bytes size 24 align 8\n"),
        ];
        let layouts = read_layouts(texts, |number, why| panic!("{number}: {why}"));
        let path = |number, at| field_path(&layouts, number, at, &WorkLimit::default());
        assert_eq!(path(1, 0), "id");
        assert_eq!(path(1, 8), "pairs[0].first[0]");
        assert_eq!(path(1, 26), "pairs[2].first[1]");
        assert_eq!(path(1, 28), "pairs[2].second");
        assert_eq!(path(3, 5), "name");
        assert_eq!(path(4, 0), "");
        assert_eq!(path(77, 3), "byte 3");
    }

    #[test]
    fn names_of_any_number_of_parts_cost_little() {
        let mut long = "struct Long size 400000 align 8\n".to_string();
        (0..50_000).for_each(|field| long.push_str(&format!("{} field{field}: u64\n", 8 * field)));
        let text = TypeText { size_bytes: 400_000, align_bytes: 8, text: long };
        let layouts = read_layouts(vec![TypeText::default(), text], |_, why| panic!("{why}"));
        let limit = WorkLimit::default();
        let paths = Vec::from_iter((0..10_000).map(|at| field_path(&layouts, 1, 8 * at, &limit)));
        assert_eq!((&*paths[7], &*paths[9_999]), ("field7", "byte 79992"));
    }
}
