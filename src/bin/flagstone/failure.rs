//! Why a command could not do its work.

use std::io;
use std::path::PathBuf;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{path}: there is no such file; check the path", path = .0.display())]
    NoSuchFile(PathBuf),

    #[error(transparent)]
    Store(#[from] flagstone::Error),

    /// The harness could not do its work.
    #[error("{0}")]
    Harness(String),

    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}
