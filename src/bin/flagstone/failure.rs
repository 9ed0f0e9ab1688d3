//! Why a command could not do its work.

use std::io;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Store(#[from] flagstone::Error),

    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}
