//! The data in the store, and the operations on it.

use std::io::Write;

use flagstone::collections::{BTreeMap, Vec as StoreVec, prefix};
use flagstone::{Image, Link, Text, WriteTx, field, persist};

use crate::failure::Failure;

/// The name under which the store keeps the book.
pub const ROOT: &str = "book";

/// All people by name. A link owns nothing: each person is a separate object, which does not move
/// when the map changes, so friends can link to it.
type Book = BTreeMap<Text, Link<Person>>;

#[persist]
pub struct Person {
    name: Text,
    /// In the order in which they were added.
    numbers: StoreVec<Text>,
    /// Friendship is mutual: each friend's list has this person too.
    friends: StoreVec<Link<Person>>,
}

/// Returns the argument, if it can be a name.
pub fn as_name(typed: &str) -> Result<&str, Failure> {
    let name = typed.trim();
    let is_name = name.chars().any(char::is_alphanumeric) && !name.contains(char::is_control);
    is_name.then_some(name).ok_or_else(|| Failure::NotAName(typed.to_string()))
}

/// Returns the argument, if it can be a telephone number.
pub fn as_number(typed: &str) -> Result<&str, Failure> {
    let number = typed.trim();
    let is_part = |c: char| c.is_ascii_digit() || " +-/.()".contains(c);
    let is_number = number.contains(|c: char| c.is_ascii_digit()) && number.chars().all(is_part);
    is_number.then_some(number).ok_or_else(|| Failure::NotANumber(typed.to_string()))
}

/// Returns the book, and in it the person called `name`.
fn known(tx: &WriteTx<'_>, name: &str) -> Result<(Link<Book>, Link<Person>), Failure> {
    let book = tx.root::<Book>(ROOT)?;
    let people = tx.get(book)?;
    let person = people.map(|people| people.get(tx, name.trim())).transpose()?.flatten();
    let person = person.ok_or_else(|| Failure::Unknown(name.to_string()))?;
    Ok((book, *person))
}

pub fn add(tx: &mut WriteTx<'_>, name: &str, numbers: &[&str]) -> Result<(), Failure> {
    let book = tx.root_or_insert_with(ROOT, Book::new)?;
    if tx.at(book)?.contains_key(tx, name)? {
        return Err(Failure::Known(name.to_string()));
    }
    // The name is stored twice: friends are shown through their links, and a link does not lead
    // back to the key.
    let text = Text::new(tx, name)?;
    let (numbers_of, friends) = (StoreVec::new(), StoreVec::new());
    let person = tx.alloc(Person { name: text, numbers: numbers_of, friends })?;
    book.insert(tx, name, person)?;
    numbers.iter().try_for_each(|number| add_number(tx, name, number))
}

pub fn add_number(tx: &mut WriteTx<'_>, name: &str, number: &str) -> Result<(), Failure> {
    let (_, person) = known(tx, name)?;
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

/// Makes two people each other's friends; has no effect if they already are.
pub fn befriend(tx: &mut WriteTx<'_>, one: &str, other: &str) -> Result<(), Failure> {
    let ((_, first), (_, second)) = (known(tx, one)?, known(tx, other)?);
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
    let (book, person) = known(tx, name)?;
    book.remove(tx, name.trim())?;
    let friends = tx.at(person)?.friends.as_slice(tx)?.to_vec();
    for friend in friends {
        friend.field(field!(Person, friends)).retain(tx, |other| *other != person)?;
    }
    // Also frees the name and the numbers, which the person owns.
    tx.free_deep(person)?;
    Ok(())
}

/// Returns the people whose names begin with `start`, by name.
pub fn found(tx: &Image, book: Link<Book>, start: &str) -> flagstone::Result<Vec<Link<Person>>> {
    let Some(book) = tx.get(book)? else {
        return Ok(Vec::new());
    };
    book.range(tx, prefix(start))?.map(|entry| Ok(*entry?.1)).collect()
}

pub fn show(tx: &Image, person: Link<Person>, out: &mut impl Write) -> Result<(), Failure> {
    let person = tx.at(person)?;
    writeln!(out, "{}", person.name.as_str(tx)?)?;
    for number in person.numbers.iter(tx)? {
        writeln!(out, "  number {}", number.as_str(tx)?)?;
    }
    for friend in person.friends.iter(tx)? {
        writeln!(out, "  friend {}", tx.at(*friend)?.name.as_str(tx)?)?;
    }
    Ok(())
}
