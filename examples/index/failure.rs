//! The program's errors, each with the path that it concerns.

use std::io;
use std::path::{Path, PathBuf};

/// An error of one of the commands.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Store(#[from] flagstone::Error),

    #[error("{path}: cannot {action}: {source}", path = .path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },

    #[error("{path}: neither a file nor a folder", path = .0.display())]
    NeitherFileNorFolder(PathBuf),

    #[error("{path}: has more lines than the index can number", path = .0.display())]
    TooManyLines(PathBuf),

    #[error("{path}: the store holds no index; `add` something first", path = .0.display())]
    NoIndex(PathBuf),

    #[error("{0:?} is not one word: give letters, digits and _ alone, or several words")]
    NotAWord(String),

    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),

    #[error("{0} of the files could not be used; see above")]
    Incomplete(usize),
}

/// Returns a closure for `map_err`: a failed `action` on the file at `path`.
pub fn on_file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Failure + 'a {
    move |source| Failure::File { action, path: path.to_path_buf(), source }
}
