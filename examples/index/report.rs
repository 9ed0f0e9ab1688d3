//! `top` and `stats`: figures about the index itself.

use std::cmp::Reverse;
use std::io::Write;

use flagstone::{ReadTx, Store};

use crate::failure::Failure;
use crate::postings::{self, Index};

fn index<'a>(store: &Store, tx: &'a ReadTx<'_>) -> Result<&'a Index, Failure> {
    postings::existing(tx)?.ok_or_else(|| Failure::NoIndex(store.path().to_path_buf()))
}

/// Prints the `count` most frequent words; returns whether there is any.
pub fn top(store: &Store, count: usize, out: &mut impl Write) -> Result<bool, Failure> {
    let tx = store.read()?;
    let mut words = Vec::new();
    for entry in index(store, &tx)?.words.iter(&tx)? {
        let (text, word) = entry?;
        words.push((Reverse(word.occurrences), text.as_str(&tx)?, word.places.len()));
    }
    words.sort_unstable();
    for (Reverse(occurrences), word, files) in words.iter().take(count) {
        writeln!(out, "{occurrences:>10} in {files:>6} files  {word}")?;
    }
    Ok(!words.is_empty())
}

/// Prints figures; always returns true.
pub fn stats(store: &Store, out: &mut impl Write) -> Result<bool, Failure> {
    let tx = store.read()?;
    let index = index(store, &tx)?;
    let figures = store.stats()?;
    let rows = [
        ("files", index.files.len()),
        ("words", index.words.len()),
        ("postings", index.postings),
        ("live bytes", figures.live_bytes),
        ("file bytes", figures.file_bytes),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<11} {value:>12}")?;
    }
    Ok(true)
}
