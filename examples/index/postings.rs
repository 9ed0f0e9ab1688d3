//! What lies in the store: words, files, and the blocks between them.
//!
//! A block says in which lines of one file one word stands. It hangs in two
//! lists: its word's, which `find` follows, and its file's, by which all
//! postings of a file are found again when the file goes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use flagstone::{Image, Link, ReadTx, Result, WriteTx, persist};

use crate::source::Stamp;
use crate::table::{self, Entry, EntryLink, Table};
use crate::text::{Occurrences, Text};

/// The name of the root.
const ROOT: &str = "index";

/// The root.
#[persist]
#[derive(Clone, Copy)]
pub struct Index {
    pub words: Link<Table<Word>>,
    /// By absolute path.
    pub files: Link<Table<File>>,
    /// Lines in all blocks.
    pub postings: u64,
}

/// The value of a word in the table.
#[persist]
#[derive(Clone, Copy)]
pub struct Word {
    pub occurrences: u64,
    /// Files that it stands in.
    pub files: u64,
    pub first: Link<Block>,
}

/// The value of a file in the table.
#[persist]
#[derive(Clone, Copy)]
pub struct File {
    pub stamp: Stamp,
    /// Where each line begins, in bytes.
    pub line_starts: Link<[u64]>,
    first: Link<Block>,
}

/// The lines of one file in which one word stands.
#[persist]
#[derive(Clone, Copy)]
pub struct Block {
    word: EntryLink<Word>,
    pub file: EntryLink<File>,
    previous_of_word: Link<Block>,
    pub next_of_word: Link<Block>,
    next_of_file: Link<Block>,
    occurrences: u64,
    /// Numbers from 1, ascending.
    pub lines: Link<[u32]>,
}

/// The index in the store; `None` if there is none.
pub fn existing(tx: &ReadTx<'_>) -> Result<Option<Index>> {
    Ok(tx.get(tx.root::<Index>(ROOT)?)?.copied())
}

/// The index in the store, made if there is none.
pub fn existing_or_new(tx: &mut WriteTx<'_>, seed: u64) -> Result<Link<Index>> {
    let index = tx.root::<Index>(ROOT)?;
    if !index.is_null() {
        return Ok(index);
    }
    let words = table::create(tx, seed)?;
    let files = table::create(tx, seed)?;
    let postings = 0;
    let index = tx.alloc(Index { words, files, postings })?;
    tx.set_root(ROOT, index)?;
    Ok(index)
}

/// The file at `path`; null if it is not in the index.
pub fn find_file(image: &Image, index: Index, path: &Path) -> Result<EntryLink<File>> {
    table::find(image, index.files, path.as_os_str().as_bytes())
}

/// The path of a file.
pub fn path<'a>(image: &'a Image, file: &Entry<File>) -> Result<&'a Path> {
    let bytes = table::key(image, file)?;
    Ok(Path::new(OsStr::from_bytes(bytes)))
}

/// Adds a file that is not in the index.
pub fn add_file(
    tx: &mut WriteTx<'_>,
    index: Link<Index>,
    path: &Path,
    stamp: Stamp,
    text: &Text,
) -> Result<()> {
    let line_starts = tx.alloc_slice_copy(&text.line_starts)?;
    let file = File { stamp, line_starts, first: Link::null() };
    let files = tx.at(index)?.files;
    let file = table::insert(tx, files, path.as_os_str().as_bytes(), file)?;
    for (word, occurrences) in &text.words {
        add_block(tx, index, file, word, occurrences)?;
    }
    Ok(())
}

fn add_block(
    tx: &mut WriteTx<'_>,
    index: Link<Index>,
    file: EntryLink<File>,
    word: &str,
    occurrences: &Occurrences,
) -> Result<()> {
    let lines = tx.alloc_slice_copy(&occurrences.lines)?;
    tx.at_mut(index)?.postings += lines.len();
    let word = word_or_new(tx, index, word)?;
    let next_of_word = tx.at(word)?.value.first;
    let next_of_file = tx.at(file)?.value.first;
    let block = tx.alloc(Block {
        word,
        file,
        previous_of_word: Link::null(),
        next_of_word,
        next_of_file,
        occurrences: occurrences.count,
        lines,
    })?;
    if let Some(next) = tx.get_mut(next_of_word)? {
        next.previous_of_word = block;
    }
    let word = &mut tx.at_mut(word)?.value;
    word.first = block;
    word.files += 1;
    word.occurrences += occurrences.count;
    tx.at_mut(file)?.value.first = block;
    Ok(())
}

fn word_or_new(tx: &mut WriteTx<'_>, index: Link<Index>, word: &str) -> Result<EntryLink<Word>> {
    let words = tx.at(index)?.words;
    let found = table::find(tx, words, word.as_bytes())?;
    if !found.is_null() {
        return Ok(found);
    }
    let unused = Word { occurrences: 0, files: 0, first: Link::null() };
    table::insert(tx, words, word.as_bytes(), unused)
}

/// Removes a file with its postings, and the words that stand in no other.
pub fn remove_file(tx: &mut WriteTx<'_>, index: Link<Index>, file: EntryLink<File>) -> Result<()> {
    let File { line_starts, first, .. } = tx.at(file)?.value;
    let mut at = first;
    while let Some(&block) = tx.get(at)? {
        remove_from_word(tx, index, &block)?;
        tx.at_mut(index)?.postings -= block.lines.len();
        tx.free(block.lines)?;
        tx.free(at)?;
        at = block.next_of_file;
    }
    tx.free(line_starts)?;
    let files = tx.at(index)?.files;
    table::remove(tx, files, file)
}

fn remove_from_word(tx: &mut WriteTx<'_>, index: Link<Index>, block: &Block) -> Result<()> {
    let (previous, next) = (block.previous_of_word, block.next_of_word);
    if let Some(next) = tx.get_mut(next)? {
        next.previous_of_word = previous;
    }
    let word = &mut tx.at_mut(block.word)?.value;
    word.files -= 1;
    word.occurrences -= block.occurrences;
    if !previous.is_null() {
        tx.at_mut(previous)?.next_of_word = next;
        return Ok(());
    }
    word.first = next;
    if next.is_null() {
        let words = tx.at(index)?.words;
        table::remove(tx, words, block.word)?;
    }
    Ok(())
}

/// Where a line of a file begins and ends, its newline included.
pub fn place_of_line(image: &Image, file: &File, number: u32) -> Result<(u64, u64)> {
    // No line has the number 0; like any other number that only damage makes,
    // it gives a null link, which is an error when it is followed.
    let start = u64::from(number).checked_sub(1).and_then(|index| file.line_starts.index(index));
    let start = image.read(start.unwrap_or_default())?;
    let end = match file.line_starts.index(number.into()) {
        Some(next) => image.read(next)?,
        None => file.stamp.size_bytes,
    };
    Ok((start, end))
}
