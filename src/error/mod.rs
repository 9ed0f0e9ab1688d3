//! The crate's errors, worded for the person who has to fix the problem.
//!
//! **Owns** the error type of the whole crate. **Must not know** how errors arise. Every message
//! says what was expected, what was found, where (path, offset, type), and what to do.
//!
//! An [`Error`] is one pointer wide, so the result of a lookup, `Result<Option<&T>, Error>`, fits
//! in registers.

mod damage;
mod kind;

use std::fmt;
use std::io;
use std::path::Path;

pub use kind::ErrorKind;

/// The result of flagstone's operations.
///
/// ```
/// fn visits(store: &flagstone::Store) -> flagstone::Result<u64> {
///     Ok(*store.read()?.root_object::<u64>("visits")?)
/// }
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = flagstone::Store::in_memory()?;
/// assert!(visits(&store).is_err());
/// store.update(|tx| tx.root_or_insert_with("visits", || 3u64).map(drop))?;
/// assert_eq!(visits(&store)?, 3);
/// # Ok(()) }
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error, one pointer wide; [`Error::kind`] says what happened.
///
/// ```
/// use flagstone::{Error, ErrorKind, OpenOptions};
///
/// let options = OpenOptions::new().create(false);
/// let error: Error = options.open_copy("/no/such/file").unwrap_err();
/// assert!(error.to_string().starts_with("/no/such/file: there is no such file"));
/// assert_eq!(size_of::<Error>(), size_of::<usize>());
/// ```
pub struct Error(Box<ErrorKind>);

impl Error {
    /// Returns the kind of the error, to match on.
    ///
    /// ```
    /// # use flagstone::{ErrorKind, Store};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # let store = Store::in_memory()?;
    /// let tx = store.read()?;
    /// let visits = match tx.root_object::<u64>("visits") {
    ///     Ok(visits) => *visits,
    ///     Err(error) if matches!(error.kind(), ErrorKind::NoSuchRoot { .. }) => 0,
    ///     Err(error) => return Err(error),
    /// };
    /// assert_eq!(visits, 0);
    /// # Ok(()) }
    /// ```
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

/// Prints the message too: `main` and `unwrap` show an error through its `Debug`, where a person
/// has to act on it as well. [`Error::kind`] has the parts.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The message is complete: it includes the operating system's error, so there is no
/// [`source`](std::error::Error::source) to print after it. A program that wants the system's
/// error finds it in [`Error::kind`].
impl std::error::Error for Error {}

/// Returns a function that turns the system's answer to `action` on `path` into an error.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| ErrorKind::Io { action, path: path.to_path_buf(), source }.into()
}
