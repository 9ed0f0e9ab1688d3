//! The command-line tool.
//!
//! **Owns** the commands' names, their output and their exit codes. **Must not know** the bytes of
//! a file: it uses only the crate's public items.

#![deny(unsafe_code)]

mod check;
mod failure;
mod torture;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Maintain flagstone stores.
///
/// Exits with 0 on success, with 1 if a command found something, and with 2 if a command failed or
/// was not understood.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// A command; each has its own file.
#[derive(Subcommand)]
enum Command {
    Check(check::Arguments),
    Torture(torture::Arguments),
}

/// The outcome of a command that completed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Sound,
    Findings,
}

impl Outcome {
    /// Returns the outcome after it was printed. A closed pipe, as from `head`, is not an error:
    /// the reader has seen enough, and the outcome stands.
    fn told(self, written: std::io::Result<()>) -> Result<Self, Failure> {
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(self),
        }
    }
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Torture(arguments) => torture::run(&arguments),
    };
    match ended {
        Ok(Outcome::Sound) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("flagstone: {failure}");
            ExitCode::from(2)
        }
    }
}
