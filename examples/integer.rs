//! The smallest persistent program: one struct in one file.
//!
//! `integer write FILE` stores a random number in -100..=100 and prints it; each `integer read
//! FILE` prints the number and stores its double.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use flagstone::{OpenOptions, Store, persist};

/// The name under which both commands find the number.
const ROOT: &str = "number";

/// The contents of the file.
#[persist]
struct Number {
    value: i64,
}

/// Keep one number in a flagstone store.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Store a random number in -100..=100 and print it.
    Write {
        /// The store; created if it does not exist.
        file: PathBuf,
    },
    /// Print the stored number and store its double.
    Read {
        /// The store; it must exist.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Write { file } => write(&file),
        Command::Read { file } => read(&file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("integer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(file: &Path) -> Result<(), Box<dyn Error>> {
    let value = random_value()?;
    let store = open(OpenOptions::new(), file)?;
    let mut tx = store.write()?;
    // An existing number is replaced in place.
    let number = tx.root_or_insert_with(ROOT, || Number { value })?;
    tx.put(number, Number { value })?;
    tx.commit()?;
    store.close()?;
    print(value)
}

fn read(file: &Path) -> Result<(), Box<dyn Error>> {
    let store = open(OpenOptions::new().create(false), file)?;
    let mut tx = store.write()?;
    let link = tx.root::<Number>(ROOT)?;
    let Some(number) = tx.get_mut(link)? else {
        let file = file.display();
        return Err(format!("{file}: the store holds no number; `write` one first").into());
    };
    let value = number.value;
    // The error drops the transaction, which then changes nothing.
    number.value = value.checked_mul(2).ok_or_else(|| {
        let file = file.display();
        format!("{file}: the double of {value} does not fit into 64 bits; nothing was changed")
    })?;
    tx.commit()?;
    store.close()?;
    print(value)
}

fn open(options: OpenOptions, file: &Path) -> Result<Store, flagstone::Error> {
    // SAFETY: only this program is expected to change a file that its user names as its store;
    // the store's lock keeps a second instance out.
    unsafe { options.open(file) }
}

/// Returns a number in -100..=100, each with equal probability: the remainder of 64 random bits
/// by 201 favours none by more than one part in 2^56.
fn random_value() -> Result<i64, getrandom::Error> {
    let below_201 = getrandom::u64()? % 201;
    Ok(below_201 as i64 - 100)
}

fn print(value: i64) -> Result<(), Box<dyn Error>> {
    // Not `println!`, which panics when the output is closed.
    writeln!(stdout(), "value: {value}")?;
    Ok(())
}
