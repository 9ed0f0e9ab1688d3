//! Promises about the code: unsafe code stays in its two modules with a SAFETY argument, and files
//! stay small enough to read.

use std::path::Path;

use super::sources::{Source, rust_files, sources};

/// Modules that may contain unsafe code.
const UNSAFE_MODULES: [&str; 2] = ["map", "persist"];

/// Maximum number of unsafe blocks and implementations in the crate.
const MAX_UNSAFE: usize = 48;

/// Maximum number of lines in a file, without its tests.
const MAX_LINES: usize = 520;

#[test]
fn unsafe_code_is_little_in_its_place_and_argued_for() {
    let mut count = 0;
    for Source { path, layer, code, .. } in sources() {
        let lines: Vec<&str> = code.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let is_promise = code.contains("pub unsafe fn") || code.contains("pub unsafe trait");
            if is_promise || !(code.contains("unsafe {") || code.contains("unsafe impl")) {
                continue;
            }
            // Passing on the caller's promise needs no argument here.
            let passes_on = ["store", "harness", "bin"].contains(&&*layer)
                && [".open(path)", "::check_file(path)"].iter().any(|call| code.contains(call));
            count += usize::from(!passes_on);
            let place = format!("{path}:{}", index + 1);
            assert!(passes_on || UNSAFE_MODULES.contains(&&*layer), "{place}: unsafe code here");
            let before = lines[index.saturating_sub(6)..index].join("\n");
            assert!(before.contains("SAFETY:"), "{place}: no SAFETY argument");
        }
    }
    println!("{count} unsafe blocks and implementations");
    assert!(count > 0 && count <= MAX_UNSAFE, "{count}");
}

#[test]
fn the_attribute_emits_no_unsafe_code() {
    let paths = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("derive/src"));
    assert!(!paths.is_empty());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a source file");
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            assert!(!line.contains("unsafe"), "{}: {line}", path.display());
        }
    }
}

#[test]
fn files_have_a_head_and_one_subject() {
    for Source { path, code, .. } in sources() {
        assert!(code.starts_with("//! "), "{path}: no head");
        let lines = code.lines().count();
        // A list of kinds with their messages cannot be split.
        let is_list = path == "error/kind.rs";
        assert!(is_list || lines <= MAX_LINES, "{path}: {lines} lines");
    }
}

#[test]
fn the_reading_trips_name_files_and_functions_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let lines = text.lines().count();
    assert!(lines <= 150, "ARCHITECTURE.md is one page, and has {lines} lines");
    let (_, rest) = text.split_once("\n## Four reading trips\n").expect("the reading trips");
    let trips = rest.split("\n## ").next().unwrap_or_default();
    let mut file: Option<(&str, String)> = None;
    let mut functions = 0;
    // Every second part lies between backticks: a file, or a function of the file before it.
    for name in trips.split('`').skip(1).step_by(2) {
        if name.starts_with("src/") && name.ends_with(".rs") {
            let code = std::fs::read_to_string(root.join(name));
            file = Some((name, code.unwrap_or_else(|error| panic!("{name}: {error}"))));
            continue;
        }
        let Some((path, code)) = &file else { panic!("`{name}` follows no file") };
        let is_it =
            |rest: &str| rest.strip_prefix(name).is_some_and(|after| after.starts_with(['(', '<']));
        assert!(code.split("fn ").skip(1).any(is_it), "{path} has no function `{name}`");
        functions += 1;
    }
    assert!(functions >= 30, "{functions} functions: are these the reading trips?");
}
