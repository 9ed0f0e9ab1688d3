//! `add`: brings the index up to date with the files.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use flagstone::{Link, Store, WriteTx, field};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{Failure, on_file};
use crate::postings::{self, Index};
use crate::source::{self, Stamp};
use crate::text::Text;

/// The result for one file.
enum Outcome {
    Added,
    Replaced,
    Unchanged,
    Binary,
}

/// The results for all files.
#[derive(Default)]
struct Tally {
    added: usize,
    replaced: usize,
    unchanged: usize,
    dropped: usize,
    binary: usize,
    failed: usize,
}

/// The files under the user's paths.
#[derive(Default)]
struct Gathered {
    roots: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    /// Roots that do not exist, each with the error.
    gone: Vec<(PathBuf, Failure)>,
    /// The number of paths that could not be read.
    failed: usize,
}

/// Indexes the files at `paths`, and prints what was done.
pub fn run(store_path: &Path, paths: &[PathBuf], out: &mut impl Write) -> Result<(), Failure> {
    // Gathered first, so a mistyped path does not create a store.
    let gathered = gather(store_path, paths)?;
    let store = crate::open(store_path, true)?;
    let mut tally = Tally { failed: gathered.failed, ..Tally::default() };
    let index = store.update(postings::existing_or_new)?;
    tally.dropped = drop_vanished(&store, index, &gathered.roots, &gathered.files, gathered.gone)?;
    add_all(&store, index, &gathered.files, &mut tally)?;
    store.sync()?;
    store.close()?;
    tally.write(out)?;
    match tally.failed {
        0 => Ok(()),
        failed => Err(Failure::Incomplete(failed)),
    }
}

fn gather(store_path: &Path, paths: &[PathBuf]) -> Result<Gathered, Failure> {
    let mut gathered = Gathered::default();
    for path in paths {
        let root = source::resolved(path)?;
        let mut failed = 0;
        let files = source::files_under(&root, |failure| {
            eprintln!("index: {failure}");
            failed += 1;
        });
        gathered.failed += failed;
        match files {
            Ok(files) => gathered.files.extend(files),
            // The path may have existed when it was indexed.
            Err(failure) if store_path.exists() && source::is_vanished(&root) => {
                gathered.gone.push((root.clone(), failure));
            }
            Err(failure) => return Err(failure),
        }
        gathered.roots.insert(root);
    }
    // The index does not index itself.
    gathered.files.remove(&source::resolved(store_path)?);
    Ok(gathered)
}

/// Removes the files under `roots` that no longer exist, and returns their number. A root that
/// neither exists nor is in the index is an error.
fn drop_vanished(
    store: &Store,
    index: Link<Index>,
    roots: &BTreeSet<PathBuf>,
    found: &BTreeSet<PathBuf>,
    gone: Vec<(PathBuf, Failure)>,
) -> Result<usize, Failure> {
    let vanished = vanished(store, index, roots, found)?;
    for (root, failure) in gone {
        if !vanished.iter().any(|(path, _)| path.starts_with(&root)) {
            return Err(failure);
        }
    }
    for &(_, file) in &vanished {
        store.update(|tx| postings::remove_file(tx, index, file))?;
    }
    Ok(vanished.len())
}

fn vanished(
    store: &Store,
    index: Link<Index>,
    roots: &BTreeSet<PathBuf>,
    found: &BTreeSet<PathBuf>,
) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let tx = store.read()?;
    let mut vanished = Vec::new();
    for file in tx.at(index)?.files.iter(&tx)? {
        let (number, file) = file?;
        let path = file.path(&tx)?;
        let was_asked_for = path.ancestors().any(|folder| roots.contains(folder));
        // A file that was not found may be in a folder that is unreadable now.
        if was_asked_for && !found.contains(path) && source::is_vanished(path) {
            vanished.push((path.to_path_buf(), *number));
        }
    }
    Ok(vanished)
}

fn add_all(
    store: &Store,
    index: Link<Index>,
    files: &BTreeSet<PathBuf>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let bar = progress_bar(files.len());
    for path in files {
        bar.set_message(path.display().to_string());
        let note = |text: String| bar.suspend(|| eprintln!("index: {text}"));
        match add(store, index, path) {
            Ok(Outcome::Added) => tally.added += 1,
            Ok(Outcome::Replaced) => tally.replaced += 1,
            Ok(Outcome::Unchanged) => tally.unchanged += 1,
            Ok(Outcome::Binary) => {
                tally.binary += 1;
                note(format!(
                    "{}: skipped, a NUL in its first bytes makes it binary",
                    path.display()
                ));
            }
            // Without the store nothing more can be done; one failed file still leaves the
            // others.
            Err(failure @ Failure::Store(_)) => return Err(failure),
            Err(failure) => {
                tally.failed += 1;
                note(failure.to_string());
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Returns a bar on standard error, if that is a terminal.
fn progress_bar(files: usize) -> ProgressBar {
    let bar = ProgressBar::new(files as u64);
    // If indicatif refuses the template, the default stays.
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

fn add(store: &Store, index: Link<Index>, path: &Path) -> Result<Outcome, Failure> {
    let metadata = path.metadata().map_err(on_file("look at", path))?;
    let known = known(store, index, path)?;
    if known.is_some_and(|(_, stamp)| stamp.is_time_of(&metadata)) {
        return Ok(Outcome::Unchanged);
    }
    let Some(content) = source::read_text(path)? else {
        if let Some((file, _)) = known {
            store.update(|tx| postings::remove_file(tx, index, file))?;
        }
        return Ok(Outcome::Binary);
    };
    let stamp = Stamp::of(&metadata, &content);
    match known {
        Some((file, old)) if old.is_content_of(&stamp) => {
            if old != stamp {
                store.try_update(|tx| restamp(tx, index, file, stamp))?;
            }
            return Ok(Outcome::Unchanged);
        }
        _ => {}
    }
    let text = Text::of(&content).ok_or_else(|| Failure::TooManyLines(path.to_path_buf()))?;
    // One transaction per file: no reader and no crash sees a file with half of its words, or an
    // old version removed and the new one missing.
    store.update(|tx| {
        if let Some((file, _)) = known {
            postings::remove_file(tx, index, file)?;
        }
        postings::add_file(tx, index, path, stamp, &text)
    })?;
    Ok(match known {
        Some(_) => Outcome::Replaced,
        None => Outcome::Added,
    })
}

fn restamp(
    tx: &mut WriteTx<'_>,
    index: Link<Index>,
    number: u64,
    stamp: Stamp,
) -> Result<(), Failure> {
    let files = index.field(field!(Index, files));
    if let Some(file) = files.get_mut(tx, &number)? {
        file.stamp = stamp;
    }
    Ok(())
}

/// Returns the file's number and stamp in the index.
fn known(store: &Store, index: Link<Index>, path: &Path) -> Result<Option<(u64, Stamp)>, Failure> {
    let tx = store.read()?;
    let index = tx.at(index)?;
    let Some(number) = postings::number_of(&tx, index, path)? else { return Ok(None) };
    let file = index.files.get(&tx, &number)?;
    Ok(file.map(|file| (number, file.stamp)))
}

impl Tally {
    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Self { added, replaced, unchanged, dropped, binary, failed } = self;
        writeln!(
            out,
            "{added} added, {replaced} replaced, {unchanged} unchanged, \
             {dropped} dropped, {binary} binary, {failed} failed"
        )
    }
}
