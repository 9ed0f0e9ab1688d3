//! The data in the store: words with their places, and files.
//!
//! A place lists the lines of one file that contain one word. It is stored with its word, where
//! `find` looks for it. A file lists its words, through which all its places are found when the
//! file is removed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use flagstone::collections::{BTreeMap, HashMap, Vec};
use flagstone::{Bytes, Image, Link, ReadTx, Result, Text as StoredText, WriteTx, field, persist};

use crate::source::Stamp;
use crate::text::{Occurrences, Text};

/// The name of the root.
const ROOT: &str = "index";

/// The root.
#[persist]
#[derive(Default)]
pub struct Index {
    pub words: HashMap<StoredText, Word>,
    /// By number; numbers are not reused.
    pub files: BTreeMap<u64, File>,
    /// The number of the file at an absolute path.
    numbers: HashMap<Bytes, u64>,
    last_number: u64,
    /// The number of lines in all places.
    pub postings: u64,
}

/// A word, over all files.
#[persist]
#[derive(Default)]
pub struct Word {
    pub occurrences: u64,
    /// In ascending order of the file's number.
    pub places: Vec<Place>,
}

/// A word in one file.
#[persist]
pub struct Place {
    pub file: u64,
    occurrences: u64,
    /// Line numbers from 1, ascending.
    pub lines: Vec<u32>,
}

/// A file.
#[persist]
pub struct File {
    path: Bytes,
    pub stamp: Stamp,
    /// The offset of each line in bytes.
    line_starts: Vec<u64>,
    words: Vec<StoredText>,
}

impl File {
    /// Returns the absolute path.
    pub fn path<'a>(&'a self, image: &'a Image) -> Result<&'a Path> {
        Ok(Path::new(OsStr::from_bytes(self.path.as_bytes(image)?)))
    }

    /// Returns the start and end of a line, including its newline; `None` for a number that only
    /// damage can produce.
    pub fn place_of_line(&self, image: &Image, number: u32) -> Result<Option<(u64, u64)>> {
        let Some(index) = u64::from(number).checked_sub(1) else { return Ok(None) };
        let Some(start) = self.line_starts.get(image, index)? else { return Ok(None) };
        let next = self.line_starts.get(image, u64::from(number))?;
        Ok(Some((*start, next.copied().unwrap_or(self.stamp.size_bytes))))
    }
}

/// Returns the index in the store, if there is one.
pub fn existing<'a>(tx: &'a ReadTx<'_>) -> Result<Option<&'a Index>> {
    tx.get(tx.root::<Index>(ROOT)?)
}

/// Returns the index in the store, and creates it if needed.
pub fn existing_or_new(tx: &mut WriteTx<'_>) -> Result<Link<Index>> {
    tx.root_or_insert_with(ROOT, Index::default)
}

/// Returns the number of the file at `path`, if it is in the index.
pub fn number_of(image: &Image, index: &Index, path: &Path) -> Result<Option<u64>> {
    Ok(index.numbers.get(image, path.as_os_str().as_bytes())?.copied())
}

/// Adds a file that is not in the index.
pub fn add_file(
    tx: &mut WriteTx<'_>,
    index: Link<Index>,
    path: &Path,
    stamp: Stamp,
    text: &Text,
) -> Result<()> {
    let path = path.as_os_str().as_bytes();
    let number = tx.at(index)?.last_number + 1;
    tx.at_mut(index)?.last_number = number;
    index.field(field!(Index, numbers)).insert(tx, path, number)?;
    let path = Bytes::new(tx, path)?;
    let line_starts = Vec::from_iter(tx, text.line_starts.iter().copied())?;
    let mut words = std::vec::Vec::new();
    for (word, occurrences) in &text.words {
        add_place(tx, index, number, word, occurrences)?;
        words.push(StoredText::new(tx, word)?);
    }
    let words = Vec::from_iter(tx, words)?;
    let file = File { path, stamp, line_starts, words };
    index.field(field!(Index, files)).insert(tx, &number, file)?;
    Ok(())
}

fn add_place(
    tx: &mut WriteTx<'_>,
    index: Link<Index>,
    file: u64,
    word: &str,
    occurrences: &Occurrences,
) -> Result<()> {
    let lines = Vec::from_iter(tx, occurrences.lines.iter().copied())?;
    tx.at_mut(index)?.postings += lines.len();
    let words = index.field(field!(Index, words));
    words.entry(tx, word)?.or_default()?.occurrences += occurrences.count;
    let place = Place { file, occurrences: occurrences.count, lines };
    // The link leads into the map, and is good as long as no word is added or removed.
    let word = tx.at(words)?.link(tx, word)?.expect("it was inserted");
    word.field(field!(Word, places)).push(tx, place)
}

/// Removes a file with its places, and the words that no other file contains.
pub fn remove_file(tx: &mut WriteTx<'_>, index: Link<Index>, number: u64) -> Result<()> {
    let Some(file) = index.field(field!(Index, files)).remove(tx, &number)? else {
        return Ok(());
    };
    let path = file.path.as_bytes(tx)?.to_vec();
    index.field(field!(Index, numbers)).remove(tx, &path[..])?;
    for at in 0..file.words.len() {
        let Some(word) = file.words.get(tx, at)? else { break };
        let word = word.as_str(tx)?.to_string();
        remove_place(tx, index, number, &word)?;
    }
    tx.release(file)
}

fn remove_place(tx: &mut WriteTx<'_>, index: Link<Index>, file: u64, word: &str) -> Result<()> {
    let words = index.field(field!(Index, words));
    let Some(found) = tx.at(words)?.link(tx, word)? else { return Ok(()) };
    let places = found.field(field!(Word, places));
    let Ok(at) = tx.at(places)?.binary_search_by_key(tx, &file, |place| place.file)? else {
        return Ok(());
    };
    let place = places.remove(tx, at)?;
    tx.at_mut(index)?.postings -= place.lines.len();
    tx.at_mut(found)?.occurrences -= place.occurrences;
    tx.release(place)?;
    if tx.at(places)?.is_empty()
        && let Some(word) = words.remove(tx, word)?
    {
        tx.release(word)?;
    }
    Ok(())
}
