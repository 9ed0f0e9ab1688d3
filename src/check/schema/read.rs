//! Reads all descriptions of a registry.
//!
//! **Owns** the order of the steps: descriptions, then plans, then roles. **Must not know** how a
//! registry lies in the heap (`system_catalog`).

use std::collections::HashMap;

use super::grammar::{Described, Reading, TypeText, shown};
use super::layout::{Layout, Layouts, MAX_LEVELS};
use super::plans::Planner;
use super::roles::RoleReader;
use super::shapes::Role;

/// Reads all descriptions; entry 0 is flagstone's own. Calls `problem` with the number of each type
/// whose values cannot be interpreted, and the reason.
pub(in crate::check) fn read_layouts(
    texts: Vec<TypeText>,
    mut problem: impl FnMut(usize, String),
) -> Layouts {
    let (mut all, mut numbers) = (vec![], HashMap::new());
    for (number, text) in texts.iter().enumerate() {
        let described = describe(text).unwrap_or_else(|why| {
            problem(number, why);
            None
        });
        if let Some(Described { name, .. }) = described
            && let Some(other) = numbers.insert(name, number)
        {
            problem(number, format!("its name, {}, is that of type {other}", shown(name)));
        }
        all.push(described);
    }
    let (mut planner, mut roles) = (Planner::new(all, numbers), RoleReader::default());
    let mut types = vec![];
    for (number, text) in texts.iter().enumerate() {
        let problem = |why| problem(number, why);
        let layout = layout(&mut planner, &mut roles, number, text.align_bytes, problem);
        types.push(layout.unwrap_or_default());
    }
    let Planner { plans, collections, numbers, .. } = planner;
    let numbers = numbers.into_iter().map(|(name, number)| (name.to_string(), number));
    Layouts { types, plans, collections, numbers: numbers.collect(), texts }
}

fn describe(text: &TypeText) -> Reading<Option<Described<'_>>> {
    if text.text.is_empty() { Ok(None) } else { Described::read(text).map(Some) }
}

fn layout<'a>(
    planner: &mut Planner<'a>,
    roles: &mut RoleReader<'a>,
    number: usize,
    align_bytes: u64,
    mut problem: impl FnMut(String),
) -> Option<Layout> {
    let described @ Described { word, name, size_bytes, .. } = planner.described(number)?;
    let mut note = |why: String| problem(format!("{}: {why}", shown(name)));
    let plan = planner.plan_of(number, MAX_LEVELS);
    let role = if plan.is_ok() { roles.role_of(planner, described) } else { Ok(Role::Other) };
    let role = role.unwrap_or_else(|why| {
        note(why);
        Role::Other
    });
    let plan = plan.unwrap_or_else(|why| {
        note(why);
        None
    });
    // Errors in the variants were reported when the plan was built.
    let variants = if word == "enum" { described.variants().unwrap_or_default() } else { vec![] };
    Some(Layout { name: shown(name), size_bytes, align_bytes, plan, role, variants })
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
        let layouts = read_layouts(texts, |_, why| problems.push(why));
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
        read_layouts(vec![TypeText { size_bytes: 8, align_bytes: 8, text }], |_, _| problems += 1);
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
