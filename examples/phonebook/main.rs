//! An address book in one file: people, their numbers, and their friends.
//!
//! The program neither loads anything when it starts nor saves anything when it ends: it uses
//! maps, vectors, texts and links in place in the store.

mod book;
mod failure;

use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use flagstone::{OpenOptions, Store};

use crate::failure::Failure;

/// Keep an address book in a flagstone store.
///
/// Exits with 0 if something was found or done, with 1 if nobody was found, and with 2 after an
/// error, which changes nothing.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The file that holds the book; `add` creates it.
    store: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add a person.
    Add {
        /// A name that is not in the book yet.
        name: String,
        /// Telephone numbers.
        #[arg(value_name = "NUMBER")]
        numbers: Vec<String>,
    },
    /// Add a telephone number to a person.
    Number { name: String, number: String },
    /// Show the people whose names begin with PREFIX.
    Find { prefix: String },
    /// Make two people each other's friends.
    Befriend {
        #[arg(value_name = "NAME")]
        one: String,
        #[arg(value_name = "OTHER")]
        other: String,
    },
    /// Remove a person, also from the friends of others.
    Remove { name: String },
    /// Show all people, by name.
    List,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // The reader of the output, such as `head`, has closed it.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("phonebook: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether there was anything to do or to print.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let path = &arguments.store;
    match &arguments.command {
        Command::Add { name, numbers } => {
            // Checked first, so a mistyped name does not create a store.
            let name = book::as_name(name)?;
            let numbers: Result<Vec<_>, _> = numbers.iter().map(|x| book::as_number(x)).collect();
            let numbers = numbers?;
            let store = open(path, true)?;
            store.try_update(|tx| book::add(tx, name, &numbers))?;
            store.close()?;
        }
        Command::Number { name, number } => {
            let number = book::as_number(number)?;
            change(path, |tx| book::add_number(tx, name, number))?;
        }
        Command::Befriend { one, other } => change(path, |tx| book::befriend(tx, one, other))?,
        Command::Remove { name } => change(path, |tx| book::remove(tx, name))?,
        Command::Find { prefix } => return show(path, prefix),
        Command::List => return show(path, ""),
    }
    Ok(true)
}

/// Changes an existing book: makes the whole change or nothing.
fn change(
    path: &Path,
    change: impl FnOnce(&mut flagstone::WriteTx<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let store = open(path, false)?;
    store.try_update(change)?;
    Ok(store.close()?)
}

/// Prints the people whose names begin with `prefix`; returns whether there were any.
fn show(path: &Path, prefix: &str) -> Result<bool, Failure> {
    let store = open(path, false)?;
    let tx = store.read()?;
    let mut out = BufWriter::new(stdout().lock());
    let found = book::found(&tx, tx.root(book::ROOT)?, prefix)?;
    for person in &found {
        book::show(&tx, *person, &mut out)?;
    }
    out.flush()?;
    Ok(!found.is_empty())
}

fn open(path: &Path, create: bool) -> Result<Store, Failure> {
    let options = OpenOptions::new().create(create);
    // SAFETY: only this program is expected to change a file that its user names as its store;
    // the store's lock keeps a second instance out.
    Ok(unsafe { options.open(path) }?)
}
