//! Promise: each public function of stores, options, errors, check and harness has an example in
//! its documentation, which `cargo test --doc` compiles and runs.

use super::sources::sources;

/// Folders of `src` of which every public function counts.
const WHOLE_MODULES: [&str; 3] = ["error", "check", "harness"];

/// Types whose methods count, wherever they are implemented.
const TYPES: [&str; 2] = ["Store", "OpenOptions"];

/// Words after the fence of an example that runs; any other one, such as `text`, `ignore` or
/// `no_run`, makes it one that does not.
const RUNNING: [&str; 5] = ["", "rust", "edition2024", "standalone_crate", "should_panic"];

/// A public function, and whether an example of it runs.
#[derive(Debug, PartialEq)]
struct Function {
    name: String,
    has_example: bool,
}

/// The block at the outermost level that a line is in.
#[derive(Clone, Copy, PartialEq)]
enum Block<'a> {
    /// An inherent implementation of this type.
    Methods(&'a str),
    /// A public trait: its functions need no `pub`.
    Trait,
    Other,
}

impl<'a> Block<'a> {
    fn begun_by(line: &'a str) -> Option<Self> {
        if line.starts_with("pub trait ") {
            return Some(Self::Trait);
        }
        let header = line.strip_prefix("impl")?;
        let self_type = match header.strip_prefix('<') {
            Some(generics) => generics.split_once("> ")?.1,
            None => header.trim_start(),
        };
        let is_of_trait = self_type.contains(" for ");
        let name = self_type.split(['<', ' ']).next()?;
        Some(if is_of_trait { Self::Other } else { Self::Methods(name) })
    }
}

/// Returns whether a doc comment has an example that runs.
fn has_example(comment: &[&str]) -> bool {
    let mut fences = comment.iter().filter_map(|line| line.trim().strip_prefix("```"));
    let mut found = false;
    while let (Some(words), Some(_end)) = (fences.next(), fences.next()) {
        found |= words.split([',', ' ']).all(|word| RUNNING.contains(&word));
    }
    found
}

/// Returns the public functions in a formatted source file; of these types only, if any are given.
fn public_functions(code: &str, types: Option<&[&str]>) -> Vec<Function> {
    let (mut functions, mut comment) = (Vec::new(), Vec::new());
    let mut block = Block::Other;
    let (mut is_hidden, mut in_attribute) = (false, false);
    for line in code.lines() {
        let trimmed = line.trim_start();
        if let Some(text) = trimmed.strip_prefix("///") {
            comment.push(text);
            continue;
        }
        if in_attribute || trimmed.starts_with("#[") {
            is_hidden |= trimmed.contains("doc(hidden)");
            in_attribute = !trimmed.ends_with(']');
            continue;
        }
        if !line.is_empty() && !line.starts_with([' ', '}']) {
            block = Block::begun_by(line).unwrap_or(Block::Other);
        }
        let counts = match (block, types) {
            (Block::Methods(name), Some(types)) => types.contains(&name),
            (_, Some(_)) => false,
            (_, None) => true,
        };
        let is_public = trimmed.starts_with("pub ") || block == Block::Trait;
        if let Some(name) = function_name(trimmed).filter(|_| counts && is_public && !is_hidden) {
            let has_example = has_example(&comment);
            functions.push(Function { name: name.to_string(), has_example });
        }
        comment.clear();
        is_hidden = false;
    }
    functions
}

/// Returns the name of the function that a line declares.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split(' ');
    let is_modifier = |word: &str| ["pub", "unsafe", "const", "async"].contains(&word);
    let keyword = words.by_ref().find(|word| !is_modifier(word))?;
    let name = words.next().filter(|_| keyword == "fn")?;
    name.split(['(', '<']).next()
}

#[test]
fn an_example_of_each_public_function_runs() {
    let (mut all, mut missing) = (0, Vec::new());
    for source in sources() {
        let is_whole = WHOLE_MODULES.contains(&&*source.layer);
        let functions = public_functions(&source.code, (!is_whole).then_some(&TYPES));
        all += functions.len();
        let without = functions.into_iter().filter(|function| !function.has_example);
        missing.extend(without.map(|function| format!("{}: {}", source.path, function.name)));
    }
    println!("{all} public functions");
    assert!(all >= 70, "{all} public functions: does this test still read the sources?");
    assert!(missing.is_empty(), "without an example that runs:\n{}", missing.join("\n"));
}

#[test]
fn only_examples_that_run_count() {
    for (fence, runs) in [
        ("", true),
        ("rust", true),
        ("standalone_crate", true),
        ("text", false),
        ("ignore", false),
        ("rust,ignore", false),
        ("no_run", false),
        ("compile_fail", false),
    ] {
        let fence = format!(" ```{fence}");
        assert_eq!(has_example(&[&fence, " assert!(true);", " ```"]), runs, "{fence}");
    }
    let after_text = ["```text", "words", "```", "```", "assert!(true);", "```"];
    assert!(has_example(&after_text));
    assert!(!has_example(&["A sentence."]));
}

#[test]
fn only_public_functions_count() {
    let code = "\
/// ```
/// assert!(true);
/// ```
pub fn free() {}

impl Store {
    fn private() {}

    /// No example.
    #[expect(
        unsafe_code
    )]
    pub unsafe fn open() {}

    pub(crate) fn internal() {}

    #[doc(hidden)]
    pub fn hidden() {}
}

impl<'a, T: Clone> Other<'a, T> {
    /// ```
    /// ```
    pub const fn other<U>() {}
}

impl fmt::Debug for Store {
    fn fmt() {}
}

pub trait Subject {
    fn choose(&self);
}

fn end() {}
";
    let names = |types| {
        let functions = public_functions(code, types).into_iter();
        functions.map(|function| (function.name, function.has_example)).collect::<Vec<_>>()
    };
    let expected = [("free", true), ("open", false), ("other", true), ("choose", false)];
    assert_eq!(names(None), expected.map(|(name, has_example)| (name.to_string(), has_example)));
    assert_eq!(names(Some(&TYPES)), [("open".to_string(), false)]);
}
