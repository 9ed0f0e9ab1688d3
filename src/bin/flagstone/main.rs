//! The command-line tool.
//!
//! **Owns** the commands' names, their output and their exit codes. **Must not know** the bytes of
//! a file: it uses only the crate's public items.

#![deny(unsafe_code)]

mod check;
mod failure;
mod outcome;
mod torture;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::outcome::Outcome;

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
