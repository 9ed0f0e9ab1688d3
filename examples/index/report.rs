//! `top` and `stats`: what the index says of itself.

use std::cmp::Reverse;
use std::io::Write;

use flagstone::{ReadTx, Store};

use crate::failure::Failure;
use crate::postings::{self, Index};
use crate::table;

fn index(store: &Store, tx: &ReadTx<'_>) -> Result<Index, Failure> {
    postings::existing(tx)?.ok_or_else(|| Failure::NoIndex(store.path().to_path_buf()))
}

/// Shows the `count` most frequent words; whether there is any.
pub fn top(store: &Store, count: usize, out: &mut impl Write) -> Result<bool, Failure> {
    let tx = store.read()?;
    let mut words = Vec::new();
    for (_, entry) in table::entries(&tx, index(store, &tx)?.words)? {
        words.push((Reverse(entry.value.occurrences), table::key(&tx, entry)?, entry.value.files));
    }
    words.sort_unstable();
    for (Reverse(occurrences), word, files) in words.iter().take(count) {
        let word = String::from_utf8_lossy(word);
        writeln!(out, "{occurrences:>10} in {files:>6} files  {word}")?;
    }
    Ok(!words.is_empty())
}

/// Shows figures; always something.
pub fn stats(store: &Store, out: &mut impl Write) -> Result<bool, Failure> {
    let tx = store.read()?;
    let index = index(store, &tx)?;
    let figures = store.stats()?;
    let rows = [
        ("files", tx.at(index.files)?.count()),
        ("words", tx.at(index.words)?.count()),
        ("postings", index.postings),
        ("live bytes", figures.live_bytes),
        ("file bytes", figures.file_bytes),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<11} {value:>12}")?;
    }
    Ok(true)
}
