//! The book: what lies in the store, and what is done with it.

use std::io::Write;

use flagstone::collections::Vec as StoreVec;
use flagstone::{Image, Link, Text, WriteTx, field, persist};

use crate::failure::Failure;

/// The name under which the store keeps the book.
pub const ROOT: &str = "book";

/// All people. A link owns nothing: each person is an object of its own, which
/// stays where it is while the list changes, so that friends can link to it.
#[persist]
pub struct Book {
    /// Sorted by name, and no name twice.
    people: StoreVec<Link<Person>>,
}

#[persist]
pub struct Person {
    name: Text,
    /// In the order in which they were added.
    numbers: StoreVec<Text>,
    /// Each of them has this person among theirs.
    friends: StoreVec<Link<Person>>,
}

/// What was typed, if it can be a name.
pub fn as_name(typed: &str) -> Result<&str, Failure> {
    let name = typed.trim();
    let is_name = name.chars().any(char::is_alphanumeric) && !name.contains(char::is_control);
    is_name.then_some(name).ok_or_else(|| Failure::NotAName(typed.to_string()))
}

/// What was typed, if it can be a telephone number.
pub fn as_number(typed: &str) -> Result<&str, Failure> {
    let number = typed.trim();
    let is_part = |c: char| c.is_ascii_digit() || " +-/.()".contains(c);
    let is_number = number.contains(|c: char| c.is_ascii_digit()) && number.chars().all(is_part);
    is_number.then_some(number).ok_or_else(|| Failure::NotANumber(typed.to_string()))
}

/// The index of the person called `name`, or where they would go.
fn place(tx: &Image, book: &Book, name: &str) -> flagstone::Result<Result<u64, u64>> {
    book.people.binary_search_with(tx, |tx, person| Ok(name_of(tx, *person)?.cmp(name)))
}

fn name_of(tx: &Image, person: Link<Person>) -> flagstone::Result<&str> {
    tx.at(person)?.name.as_str(tx)
}

/// The book, and the place in it of the person called `name`.
fn known(tx: &WriteTx<'_>, name: &str) -> Result<(Link<Book>, u64), Failure> {
    let unknown = || Failure::Unknown(name.to_string());
    let book = tx.root::<Book>(ROOT)?;
    let content = tx.get(book)?.ok_or_else(unknown)?;
    let index = place(tx, content, name.trim())?.map_err(|_| unknown())?;
    Ok((book, index))
}

fn person(tx: &WriteTx<'_>, name: &str) -> Result<Link<Person>, Failure> {
    let (book, index) = known(tx, name)?;
    let found = tx.at(book)?.people.get(tx, index)?.copied();
    found.ok_or_else(|| Failure::Unknown(name.to_string()))
}

pub fn add(tx: &mut WriteTx<'_>, name: &str, numbers: &[&str]) -> Result<(), Failure> {
    let book = tx.root_or_insert_with(ROOT, || Book { people: StoreVec::new() })?;
    let Err(index) = place(tx, tx.at(book)?, name)? else {
        return Err(Failure::Known(name.to_string()));
    };
    let text = Text::new(tx, name)?;
    let (numbers_of, friends) = (StoreVec::new(), StoreVec::new());
    let person = tx.alloc(Person { name: text, numbers: numbers_of, friends })?;
    book.field(field!(Book, people)).insert(tx, index, person)?;
    numbers.iter().try_for_each(|number| add_number(tx, name, number))
}

pub fn add_number(tx: &mut WriteTx<'_>, name: &str, number: &str) -> Result<(), Failure> {
    let person = person(tx, name)?;
    for known in tx.at(person)?.numbers.iter(tx)? {
        if known.as_str(tx)? == number {
            let (name, number) = (name.to_string(), number.to_string());
            return Err(Failure::KnownNumber { name, number });
        }
    }
    let number = Text::new(tx, number)?;
    person.field(field!(Person, numbers)).push(tx, number)?;
    Ok(())
}

/// Makes two people each other's friends; if they are, they stay it.
pub fn befriend(tx: &mut WriteTx<'_>, one: &str, other: &str) -> Result<(), Failure> {
    let (first, second) = (person(tx, one)?, person(tx, other)?);
    if first == second {
        return Err(Failure::OwnFriend(one.to_string()));
    }
    for (person, friend) in [(first, second), (second, first)] {
        if !tx.at(person)?.friends.contains(tx, &friend)? {
            person.field(field!(Person, friends)).push(tx, friend)?;
        }
    }
    Ok(())
}

pub fn remove(tx: &mut WriteTx<'_>, name: &str) -> Result<(), Failure> {
    let (book, index) = known(tx, name)?;
    let person = book.field(field!(Book, people)).remove(tx, index)?;
    let friends = tx.at(person)?.friends.as_slice(tx)?.to_vec();
    for friend in friends {
        friend.field(field!(Person, friends)).retain(tx, |other| *other != person)?;
    }
    // With the name and the numbers, which are the person's own.
    tx.free_deep(person)?;
    Ok(())
}

/// The people whose names begin with `prefix`, by name.
pub fn found<'a>(
    tx: &'a Image,
    book: Link<Book>,
    prefix: &str,
) -> flagstone::Result<&'a [Link<Person>]> {
    let Some(book) = tx.get(book)? else {
        return Ok(&[]);
    };
    let start = place(tx, book, prefix)?.unwrap_or_else(|place| place);
    let behind = book.people.get_range(tx, start..)?.unwrap_or_default();
    let mut count = 0;
    for person in behind {
        if !name_of(tx, *person)?.starts_with(prefix) {
            break;
        }
        count += 1;
    }
    Ok(&behind[..count])
}

pub fn show(tx: &Image, person: Link<Person>, out: &mut impl Write) -> Result<(), Failure> {
    let person = tx.at(person)?;
    writeln!(out, "{}", person.name.as_str(tx)?)?;
    for number in person.numbers.iter(tx)? {
        writeln!(out, "  number {}", number.as_str(tx)?)?;
    }
    for friend in person.friends.iter(tx)? {
        writeln!(out, "  friend {}", name_of(tx, *friend)?)?;
    }
    Ok(())
}
