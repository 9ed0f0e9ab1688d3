//! A persistent full-text index: which lines of which files contain a word.
//!
//! `index STORE add PATH…` indexes files, `index STORE find WORD…` answers as `grep -nwi WORD`
//! does. The program neither loads nor rebuilds anything when it starts: it uses hash tables, a
//! tree and vectors in place in the store.

mod add;
mod failure;
mod find;
mod postings;
mod report;
mod source;
mod text;

use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use flagstone::{Durability, OpenOptions, Store};

use crate::failure::Failure;

/// Keep a full-text index in a flagstone store.
///
/// Exits with 0 if something was found or done, with 1 if nothing was found, and with 2 after an
/// error.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The file that holds the index; `add` creates it.
    store: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Index files, again if they changed, and drop those that are gone.
    Add {
        /// Files, or folders with everything in them.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Show the lines that contain all of the words, in any case.
    Find {
        /// Whole words: letters, digits and _.
        #[arg(required = true, value_name = "WORD")]
        words: Vec<String>,
    },
    /// Show the most frequent words.
    Top {
        /// How many.
        #[arg(default_value_t = 10, value_name = "N")]
        count: usize,
    },
    /// Show figures of the index and of its store.
    Stats,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // The reader of the output, such as `head`, has closed it.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("index: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether there was anything to print.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let path = &arguments.store;
    let mut out = BufWriter::new(stdout().lock());
    let answered = match &arguments.command {
        Command::Add { paths } => add::run(path, paths, &mut out).map(|()| true),
        Command::Find { words } => find::run(&open(path, false)?, words, &mut out),
        Command::Top { count } => report::top(&open(path, false)?, *count, &mut out),
        Command::Stats => report::stats(&open(path, false)?, &mut out),
    };
    // Prints the results before an error is reported.
    out.flush()?;
    answered
}

/// Opens the store.
///
/// Commits are deferred: each file is a separate transaction, and waiting for the disk after each
/// would take most of the time. A power cut may lose the last files, but never half of one, and
/// the next `add` indexes them again; `add` syncs once at its end.
fn open(path: &Path, create: bool) -> Result<Store, Failure> {
    let options = OpenOptions::new().create(create).durability(Durability::Deferred);
    // SAFETY: only this program is expected to change a file that its user names as its store;
    // the store's lock keeps a second instance out.
    Ok(unsafe { options.open(path) }?)
}
