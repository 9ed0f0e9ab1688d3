//! `find`: the lines that contain all of some words.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use flagstone::{Image, Store};

use crate::failure::{Failure, on_file};
use crate::postings::{self, File, Index};
use crate::text;

/// Lines of a file.
struct Hit<'a> {
    path: &'a Path,
    file: &'a File,
    lines: Vec<u32>,
}

/// Prints each line that contains all words, as `path:line:text`; returns whether there was one.
/// The lines are read from the files; those of a changed file are skipped.
pub fn run(store: &Store, typed: &[String], out: &mut impl Write) -> Result<bool, Failure> {
    let words = typed
        .iter()
        .map(|typed| text::as_word(typed).ok_or_else(|| Failure::NotAWord(typed.clone())))
        .collect::<Result<Vec<_>, _>>()?;
    let tx = store.read()?;
    let index = postings::existing(&tx)?;
    let index = index.ok_or_else(|| Failure::NoIndex(store.path().to_path_buf()))?;

    let mut failed = 0;
    let hits = hits(&tx, index, &words)?;
    for hit in &hits {
        match show(&tx, hit, out) {
            Ok(()) => {}
            Err(failure @ Failure::File { .. }) => {
                eprintln!("index: {failure}");
                failed += 1;
            }
            Err(failure) => return Err(failure),
        }
    }
    match failed {
        0 => Ok(!hits.is_empty()),
        failed => Err(Failure::Incomplete(failed)),
    }
}

/// Returns the lines with all of `words`, by path.
fn hits<'a>(image: &'a Image, index: &'a Index, words: &[String]) -> Result<Vec<Hit<'a>>, Failure> {
    let mut words = words.iter();
    let Some(first) = words.next() else {
        return Ok(Vec::new());
    };
    let mut common: HashMap<_, _> = lines_of(image, index, first)?
        .into_iter()
        .map(|(file, lines)| (file, lines.to_vec()))
        .collect();
    for word in words {
        let others = lines_of(image, index, word)?;
        common.retain(|file, lines| {
            let others = others.get(file).copied().unwrap_or_default();
            lines.retain(|line| others.binary_search(line).is_ok());
            !lines.is_empty()
        });
    }
    let mut hits = common
        .into_iter()
        .filter_map(|(number, lines)| hit(image, index, number, lines).transpose())
        .collect::<Result<Vec<_>, Failure>>()?;
    hits.sort_by_key(|hit| hit.path);
    Ok(hits)
}

fn hit<'a>(
    image: &'a Image,
    index: &'a Index,
    number: u64,
    lines: Vec<u32>,
) -> Result<Option<Hit<'a>>, Failure> {
    let Some(file) = index.files.get(image, &number)? else { return Ok(None) };
    Ok(Some(Hit { path: file.path(image)?, file, lines }))
}

/// Returns the lines of a word in each of its files, by the file's number.
fn lines_of<'a>(
    image: &'a Image,
    index: &Index,
    word: &str,
) -> Result<HashMap<u64, &'a [u32]>, Failure> {
    let mut lines = HashMap::new();
    if let Some(word) = index.words.get(image, word)? {
        for place in word.places.iter(image)? {
            lines.insert(place.file, place.lines.as_slice(image)?);
        }
    }
    Ok(lines)
}

fn show(image: &Image, hit: &Hit<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let Hit { path, file, lines } = hit;
    let source = fs::File::open(path).map_err(on_file("open the file", path))?;
    let metadata = source.metadata().map_err(on_file("look at", path))?;
    if !file.stamp.holds_for(path, &metadata)? {
        let count = lines.len();
        let why = format!("it has changed since it was added; `add` it again ({count} lines)");
        return Err(on_file("show the lines", path)(std::io::Error::other(why)));
    }
    let name = short(path);
    let mut text = Vec::new();
    for &line in lines {
        let Some((start, end)) = file.place_of_line(image, line)? else { continue };
        text.resize(end.saturating_sub(start) as usize, 0);
        let read = source.read_exact_at(&mut text, start);
        read.map_err(on_file("read a line of the file", path))?;
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        out.write_all(name.as_os_str().as_bytes())?;
        write!(out, ":{line}:")?;
        // The bytes of the file, unchanged, as grep prints them.
        out.write_all(text)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Returns the path relative to the current folder, if it is inside.
fn short(path: &Path) -> &Path {
    let folder = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(folder).unwrap_or(path)
}
