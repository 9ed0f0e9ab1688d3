//! The command-line tool.
//!
//! **Owns** what its commands are called, what they print, and how they end. **Must
//! not know** the bytes of a file: it uses what the crate makes public.

#![deny(unsafe_code)]

mod check;
mod failure;
mod torture;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Look after flagstone stores.
///
/// Ends with 0 if all is well, with 1 if something was found, and with 2 if a command
/// could not do its work or was not understood.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// A command; each is a file of its own.
#[derive(Subcommand)]
enum Command {
    Check(check::Arguments),
    Torture(torture::Arguments),
}

/// How a command that did its work ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Sound,
    Findings,
}

impl Outcome {
    /// The same, after it was told. Whoever reads the answer may have enough of it, such as
    /// `head`: what was found stays so.
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
