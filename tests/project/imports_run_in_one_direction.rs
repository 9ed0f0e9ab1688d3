//! Promises about imports: a layer imports only from those below it, and no files import each
//! other in a circle.
//!
//! Names are resolved as the compiler does, as far as that needs no types: `use` with nested
//! braces, `crate::`, `super::` and paths that begin with a child module, wherever they stand. A
//! name that a module only re-exports leads to the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Source, sources};

/// The layers, lowest first: a module imports only from those before it.
const LAYERS: &[&str] = &[
    "error",
    "mutation",
    "sync",
    "deadline",
    "persist",
    "format",
    "map",
    "disk",
    "log",
    "image",
    "workspace",
    "engine",
    "alloc",
    "catalog",
    "check",
    "store",
    "collections",
    "sim",
    "harness",
    "lib",
];

/// A module's path from the crate's root: `["image", "pool"]`.
type Module = Vec<String>;

/// A path as it is written: `["super", "pool", "Pool"]`.
type Written = Vec<String>;

/// Which modules each module imports from, with the path that says so.
type Imports<'a> = BTreeMap<&'a Module, BTreeMap<Module, String>>;

/// One file of the crate.
struct File {
    path: String,
    /// The paths that its code names.
    named: Vec<Written>,
    /// The names that it brings into scope, and what they stand for.
    uses: BTreeMap<String, Written>,
    /// Modules that are declared here.
    children: BTreeSet<String>,
}

/// All files by the module that each holds.
struct Crate(BTreeMap<Module, File>);

/// Splits code into identifiers, `::` and single other characters. Comments, texts and characters
/// are left out.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            text_length(rest)
        } else if first == '\'' && rest.chars().nth(2) == Some('\'') {
            rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at)
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..end].to_string());
            end
        } else if rest.starts_with("::") {
            tokens.push("::".to_string());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    tokens
}

/// Returns the length of the text in quotes at the start of `code`.
fn text_length(code: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in code.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    code.len()
}

/// Reads the path, or the tree of paths, that begins at `tokens[at]`. Adds each with the name that
/// it brings into scope, and returns where the tree ends.
fn read_tree(
    tokens: &[String],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(String, Written)>,
) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut path = prefix.to_vec();
    loop {
        if token(at) == "{" {
            at += 1;
            while !["}", ""].contains(&token(at)) {
                at = if token(at) == "," { at + 1 } else { read_tree(tokens, at, &path, found) };
            }
            return at + 1;
        }
        if !token(at).starts_with(|c: char| c.is_alphabetic() || c == '_') {
            break;
        }
        path.push(token(at).to_string());
        at += 1;
        if token(at) != "::" {
            break;
        }
        at += 1;
    }
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if token(at) == "as" {
        name = token(at + 1).to_string();
        at += 2;
    }
    found.push((name, path));
    at
}

fn read_file(source: &Source) -> File {
    let tokens = tokens(&source.code);
    let mut file = File {
        path: source.path.clone(),
        named: Vec::new(),
        uses: BTreeMap::new(),
        children: declared(&tokens),
    };
    // The depths of braces at which modules within this file began.
    let mut inner: Vec<usize> = Vec::new();
    let (mut at, mut depth) = (0, 0);
    while at < tokens.len() {
        let next = tokens.get(at + 1).map_or("", String::as_str);
        let begins_path = (at == 0 || !["::", "$"].contains(&&*tokens[at - 1]))
            && next == "::"
            && (["crate", "super", "self"].contains(&&*tokens[at])
                || file.children.contains(&tokens[at]));
        match tokens[at].as_str() {
            "{" if at > 1 && tokens[at - 2] == "mod" => {
                depth += 1;
                inner.push(depth);
            }
            "{" => depth += 1,
            "}" => {
                inner.pop_if(|began| *began == depth);
                depth -= 1;
            }
            _ => (),
        }
        let is_use = tokens[at] == "use";
        if !is_use && !begins_path {
            at += 1;
            continue;
        }
        let is_export = is_use && at > 0 && ["pub", ")"].contains(&&*tokens[at - 1]);
        let mut found = Vec::new();
        at = read_tree(&tokens, at + usize::from(is_use), &[], &mut found).max(at + 1);
        for (name, mut path) in found {
            // `super` in a module within the file means the file.
            let up = path.iter().take(inner.len()).take_while(|name| *name == "super").count();
            path.splice(..up, (up > 0).then(|| "self".to_string()));
            if is_use && inner.is_empty() {
                file.uses.insert(name.clone(), path.clone());
            }
            // A re-export alone is no import: nothing in this file needs it.
            let is_used = tokens.iter().filter(|token| **token == name).count() > 1;
            if !is_export || is_used {
                file.named.push(path);
            }
        }
    }
    file
}

/// Returns the modules that have files of their own.
fn declared(tokens: &[String]) -> BTreeSet<String> {
    let declared = tokens.windows(3).filter(|three| three[0] == "mod" && three[2] == ";");
    declared.map(|three| three[1].clone()).collect()
}

impl Crate {
    fn read() -> Self {
        let files = sources().into_iter().filter(|source| source.layer != "bin");
        Self(files.map(|source| (source.module.clone(), read_file(&source))).collect())
    }

    /// Returns the module whose file defines what `path` names, as seen from `from`; `None` for
    /// paths to other crates.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        assert!(depth < 20, "{path:?} in {from:?} leads in a circle");
        let mut module = from.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => module.clear(),
            "self" => (),
            "super" => {
                module.pop();
            }
            child if self.0[from].children.contains(child) => {
                module.push(child.to_string());
            }
            _ => return None,
        }
        rest = &rest[1..];
        while let Some(name) = rest.first() {
            if name == "super" {
                module.pop();
            } else {
                let file = self.0.get(&module)?;
                if file.children.contains(name) {
                    module.push(name.clone());
                } else if let Some(path) = file.uses.get(name) {
                    let path: Vec<String> = path.iter().chain(&rest[1..]).cloned().collect();
                    return self.resolve(&module, &path, depth + 1);
                } else {
                    break;
                }
            }
            rest = &rest[1..];
        }
        self.0.contains_key(&module).then_some(module)
    }

    /// Returns which modules each module imports from, with the path that says so.
    fn imports(&self) -> Imports<'_> {
        let of = |from: &Module, file: &File| {
            let import = |path: &Written| Some((self.resolve(from, path, 0)?, path.join("::")));
            let imports = file.named.iter().filter_map(import);
            imports.filter(|(to, _)| to != from).collect::<BTreeMap<_, _>>()
        };
        self.0.iter().map(|(module, file)| (module, of(module, file))).collect()
    }
}

fn layer(module: &Module) -> &str {
    module.first().map_or("lib", String::as_str)
}

fn rank(layer: &str) -> usize {
    let rank = LAYERS.iter().position(|known| *known == layer);
    rank.unwrap_or_else(|| panic!("module {layer} has no place among the layers"))
}

#[test]
fn modules_import_only_from_layers_below() {
    let files = Crate::read();
    for (from, imports) in files.imports() {
        for (to, path) in imports {
            let file = &files.0[from].path;
            let (from, to) = (layer(from), layer(&to));
            assert!(rank(to) <= rank(from), "{file}: `{path}` leads up from {from} to {to}");
        }
    }
}

#[test]
fn no_module_imports_through_the_crates_root() {
    for (module, file) in Crate::read().0 {
        let is_root = |path: &&Written| {
            let at = |index: usize| path.get(index).map_or("", String::as_str);
            at(0) == "crate" && at(1).starts_with(char::is_uppercase)
        };
        let found = file.named.iter().find(is_root);
        assert!(module.is_empty() || found.is_none(), "{}: {found:?}", file.path);
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = Crate::read();
    let imports = files.imports();
    let circular = imports.iter().flat_map(|(from, to)| {
        let returns = to.iter().filter(|(to, _)| reached_from(to, &imports).contains(*from));
        returns.map(|(to, path)| {
            format!("{} -> {} by `{path}`", files.0[*from].path, files.0[to].path)
        })
    });
    let circular: Vec<String> = circular.collect();
    assert!(circular.is_empty(), "files import each other in a circle:\n{}", circular.join("\n"));
}

/// Returns all modules that `start` imports from, directly or through others.
fn reached_from<'a>(start: &'a Module, imports: &'a Imports<'_>) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next = vec![start];
    while let Some(module) = next.pop() {
        let new = imports[module].keys().filter(|to| reached.insert(*to));
        next.extend(new);
    }
    reached
}

#[test]
fn the_reader_of_imports_sees_each_way_to_write_one() {
    let code = r#"
        use crate::a::{self, b::{C, d as E}};
        pub(crate) use inner::Shown;
        mod inner;
        fn f(x: super::super::Up) -> crate::g::H { inner::go("crate::no::T", '"') } // crate::no::T
    "#;
    let source =
        Source { path: "example".into(), module: vec![], layer: "lib".into(), code: code.into() };
    let file = read_file(&source);
    let named: Vec<String> = file.named.iter().map(|path| path.join("::")).collect();
    assert_eq!(
        named,
        [
            "crate::a",
            "crate::a::b::C",
            "crate::a::b::d",
            "super::super::Up",
            "crate::g::H",
            "inner::go"
        ]
    );
    assert_eq!(file.uses["E"].join("::"), "crate::a::b::d");
    assert_eq!(file.uses["Shown"].join("::"), "inner::Shown");
}
