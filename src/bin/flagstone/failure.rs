//! The errors of commands.

use std::io;
use std::path::PathBuf;

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{path}: there is no such file; check the path", path = .0.display())]
    NoSuchFile(PathBuf),

    #[error(transparent)]
    Store(#[from] flagstone::Error),

    /// The harness failed to run.
    #[error("{0}")]
    Harness(String),

    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}
