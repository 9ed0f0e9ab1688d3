//! The crate's source files.

use std::path::{Path, PathBuf};

/// A file of `src`, without its unit tests.
pub struct Source {
    /// Its path below `src`.
    pub path: String,
    /// Its module's path from the crate's root.
    pub module: Vec<String>,
    /// The first folder or file of its path: `engine`, `lib`.
    pub layer: String,
    pub code: String,
}

/// Returns the paths of all Rust files below `folder`.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns all files of `src`.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    rust_files(&root).iter().map(|path| source(&root, path)).collect()
}

fn source(root: &Path, path: &Path) -> Source {
    let text = std::fs::read_to_string(path).expect("a source file");
    let tests = text.find("\nmod tests {").and_then(|at| text[..at].rfind("#[cfg(test)]"));
    let code = text[..tests.unwrap_or(text.len())].to_string();
    let path = path.strip_prefix(root).expect("a path below src").with_extension("");
    let mut module: Vec<String> =
        path.iter().map(|part| part.to_str().expect("a name in UTF-8").to_string()).collect();
    let layer = module[0].clone();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    Source { path: format!("{}.rs", path.display()), module, layer, code }
}
