//! What a part of a value is called: `numbers[3].first`.

use std::cell::Cell;

use super::description::{Described, FieldLine, Named, shown};
use super::layout::{Layouts, MOST_LEVELS};
use super::roles::is_collection;

/// Bytes of descriptions that are read for the names in a report. A file can have
/// long descriptions and ten thousand findings; where this is used up, a part is
/// told by its offset alone.
const MOST_BYTES: usize = 64 << 20;

/// What reading descriptions for names may still cost.
pub(super) struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(MOST_BYTES))
    }
}

impl Budget {
    fn spend(&self, bytes: usize) -> Option<()> {
        self.0.set(self.0.get().checked_sub(bytes)?);
        Some(())
    }
}

impl Layouts {
    /// What lies `at` bytes behind the start of a value of type `number`; empty if
    /// that is the value itself.
    pub(super) fn path(&self, number: u32, at: u64, budget: &Budget) -> String {
        let mut path = String::new();
        let mut at = at;
        let text = self.texts.get(number as usize);
        let name = text.and_then(|text| Described::read(text).ok()).map(|found| found.name);
        let Some(mut name) = name else { return format!("byte {at}") };
        for _ in 0..MOST_LEVELS {
            match self.step(name, at, budget) {
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

    fn step<'a>(&'a self, name: &'a str, at: u64, budget: &Budget) -> Option<Step<'a>> {
        match Named::read(name).ok()? {
            Named::Array(element, _) => {
                let size = self.size(element, MOST_LEVELS)?.max(1);
                let part = format!("[{}]", at / size);
                Some(Step::Into { part, type_name: element, rest: at % size })
            }
            // What such a value says is not in one field of it.
            Named::Own(name) if is_collection(name) => Some(Step::End),
            Named::Own(name) => {
                let text = self.texts.get(*self.numbers.get(name)?)?;
                budget.spend(text.text.len())?;
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

    fn size(&self, name: &str, levels: usize) -> Option<u64> {
        Some(match Named::read(name).ok()? {
            Named::Plain(size_bytes) => size_bytes,
            Named::Bool => 1,
            Named::Link(_) => 8,
            Named::Slice(_) => 16,
            Named::Array(element, count) => {
                self.size(element, levels.checked_sub(1)?)?.saturating_mul(count)
            }
            Named::Own(name) => self.types.get(*self.numbers.get(name)?)?.size_bytes,
        })
    }
}

enum Step<'a> {
    /// Into a field or an element, whose value begins `rest` bytes before.
    Into { part: String, type_name: &'a str, rest: u64 },
    /// The value itself.
    End,
}
