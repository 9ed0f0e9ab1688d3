//! Collections in collections.

use std::collections::BTreeMap as Model;

use super::shared::{ROOT, any_text, expect_same};
use crate::collections::{BTreeMap, Deque, HashMap, Text, Vec as StoreVec};
use crate::error::Result;
use crate::harness::choices::Choices;
use crate::harness::subject::{Subject, Verdict};
use crate::image::Image;
use crate::persist::Link;
use crate::persist::own_field;
use crate::store::{ReadTx, WriteTx};

/// A map of shelves, each with a map of books by title; a book has chapters, and the numbers of
/// its readers. Removing an element frees everything that it owns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nested;

#[repr(C)]
#[derive(Default)]
struct Shelf {
    books: HashMap<Text, Book>,
}

crate::persist::persist_own!(Shelf as "Shelf" { books });

#[repr(C)]
#[derive(Default)]
struct Book {
    chapters: StoreVec<Text>,
    readers: Deque<u64>,
}

crate::persist::persist_own!(Book as "Book" { chapters, readers });

type Shelves = BTreeMap<u64, Shelf>;

/// A book in the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookModel {
    chapters: Vec<String>,
    readers: Vec<u64>,
}

/// A change; the first fields are the shelf and the title.
#[derive(Clone, Debug)]
pub enum Step {
    /// Appends a chapter to a book, which is created if it is new.
    Write(u64, String, String),
    /// Adds a reader to a book, which is created if it is new.
    Read(u64, String, u64),
    /// Removes a book.
    Discard(u64, String),
    /// Removes a shelf.
    Clear(u64),
}

impl Subject for Nested {
    type Model = Model<u64, Model<String, BookModel>>;
    type Step = Step;

    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx.root_or_insert_with(ROOT, Shelves::new)?;
        Ok(())
    }

    fn choose(&self, choices: &mut Choices, _model: &Self::Model) -> Step {
        let (shelf, title) = (choices.below(6), choices.letters(0..=1));
        match choices.below(20) {
            0..9 => Step::Write(shelf, title, any_text(choices)),
            9..14 => Step::Read(shelf, title, choices.below(100)),
            14..18 => Step::Discard(shelf, title),
            _ => Step::Clear(shelf),
        }
    }

    fn apply(&self, tx: &mut WriteTx<'_>, step: &Step, _model: &Self::Model) -> Verdict {
        let shelves = tx.root::<Shelves>(ROOT)?;
        match step {
            Step::Write(shelf, title, chapter) => {
                let book = book(tx, shelves, *shelf, title)?;
                let chapter = Text::new(tx, chapter)?;
                book.field(own_field!(Book, chapters)).push(tx, chapter)?;
            }
            Step::Read(shelf, title, reader) => {
                let book = book(tx, shelves, *shelf, title)?;
                book.field(own_field!(Book, readers)).push_back(tx, *reader)?;
            }
            Step::Discard(shelf, title) => {
                let Some(shelf) = tx.at(shelves)?.link(tx, shelf)? else { return Ok(()) };
                let books = shelf.field(own_field!(Shelf, books));
                if let Some(book) = books.remove(tx, title.as_str())? {
                    tx.release(book)?;
                }
            }
            Step::Clear(shelf) => {
                if let Some(shelf) = shelves.remove(tx, shelf)? {
                    tx.release(shelf)?;
                }
            }
        }
        Ok(())
    }

    fn advance(&self, model: &mut Self::Model, step: &Step) {
        match step {
            Step::Write(shelf, title, chapter) => {
                book_in(model, *shelf, title).chapters.push(chapter.clone());
            }
            Step::Read(shelf, title, reader) => book_in(model, *shelf, title).readers.push(*reader),
            Step::Discard(shelf, title) => {
                model.entry(*shelf).and_modify(|books| drop(books.remove(title)));
            }
            Step::Clear(shelf) => drop(model.remove(shelf)),
        }
    }

    fn verify(&self, tx: &ReadTx<'_>, model: &Self::Model) -> Verdict {
        let shelves = tx.root_object::<Shelves>(ROOT)?;
        let mut found = Self::Model::new();
        for entry in shelves.iter(tx)? {
            let (number, shelf) = entry?;
            found.insert(*number, books_on(tx, shelf)?);
        }
        expect_same("shelves", &found, model)
    }
}

fn book_in<'a>(
    model: &'a mut Model<u64, Model<String, BookModel>>,
    shelf: u64,
    title: &str,
) -> &'a mut BookModel {
    model.entry(shelf).or_default().entry(title.to_string()).or_default()
}

/// Returns the book, which is created if it is new. The link is good until the shelf changes.
fn book(
    tx: &mut WriteTx<'_>,
    shelves: Link<Shelves>,
    shelf: u64,
    title: &str,
) -> Result<Link<Book>> {
    shelves.entry(tx, &shelf)?.or_default()?;
    let shelf = tx.at(shelves)?.link(tx, &shelf)?.expect("it was inserted");
    let books = shelf.field(own_field!(Shelf, books));
    books.entry(tx, title)?.or_default()?;
    Ok(tx.at(books)?.link(tx, title)?.expect("it was inserted"))
}

fn books_on(tx: &Image, shelf: &Shelf) -> Result<Model<String, BookModel>> {
    let mut found = Model::new();
    for entry in shelf.books.iter(tx)? {
        let (title, book) = entry?;
        let text = |text: &Text| text.as_str(tx).map(str::to_string);
        let book = BookModel {
            chapters: book.chapters.iter(tx)?.map(text).collect::<Result<_>>()?,
            readers: book.readers.iter(tx)?.copied().collect(),
        };
        found.insert(title.as_str(tx)?.to_string(), book);
    }
    Ok(found)
}
