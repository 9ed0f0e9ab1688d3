//! Repeats system calls that a signal interrupts.

use std::io;

/// Repeats a call until no signal interrupts it.
pub(crate) fn uninterrupted<T, E: Into<io::Error>>(
    mut call: impl FnMut() -> Result<T, E>,
) -> io::Result<T> {
    loop {
        match call().map_err(Into::into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
