//! The outcome of a command.

use std::io::ErrorKind;

use crate::failure::Failure;

/// The outcome of a command that completed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Sound,
    Findings,
}

impl Outcome {
    /// Returns the outcome after it was printed. A closed pipe, as from `head`, is not an error:
    /// the reader has seen enough, and the outcome stands.
    pub fn told(self, written: std::io::Result<()>) -> Result<Self, Failure> {
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(self),
        }
    }
}
