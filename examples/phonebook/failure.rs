//! The program's errors, in its users' terms.

use std::io;

/// An error of one of the commands.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Store(#[from] flagstone::Error),

    #[error("{0:?} is not a name: give some letters, in one line")]
    NotAName(String),

    #[error(
        "{0:?} is not a telephone number: give digits, and between them spaces or any of +-/.()"
    )]
    NotANumber(String),

    #[error("{0} is in the book already; `number` adds a number")]
    Known(String),

    #[error("nobody in the book is called {0:?}; `add` them first, or `find` how they are spelt")]
    Unknown(String),

    #[error("{0} cannot be their own friend; give two names")]
    OwnFriend(String),

    #[error("{name} has the number {number} already")]
    KnownNumber { name: String, number: String },

    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}
