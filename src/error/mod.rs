//! What can go wrong, in the words of the person who has to mend it.
//!
//! **Owns** the error type of the whole crate. **Must not know** how any of it
//! comes about. Every message says what was expected, what was found, where
//! (path, offset, type), and what to do.
//!
//! An [`Error`] is one pointer wide: a lookup that returns
//! `Result<Option<&T>, Error>` then fits in registers.

mod damage;
mod kind;

use std::fmt;

pub use kind::ErrorKind;

/// What flagstone's operations return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error, one pointer wide; [`Error::kind`] says what happened.
pub struct Error(Box<ErrorKind>);

impl Error {
    /// What happened, to match on.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }
}

impl From<ErrorKind> for Error {
    #[cold]
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The message as well: `main` and `unwrap` show an error by its `Debug`, and whoever reads it
/// there has to mend it too. [`Error::kind`] has the parts.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The message is whole: what the operating system said is in it, so there is no
/// [`source`](std::error::Error::source) to be printed behind it. A program that
/// wants the system's error finds it in [`Error::kind`].
impl std::error::Error for Error {}

/// Which roots there are.
fn near(nearest: &[String], roots: u64) -> String {
    match nearest {
        [] if roots == 0 => "the store has no roots".to_string(),
        _ => format!("of the store's {roots} root(s), the nearest are {nearest:?}"),
    }
}
