//! A list of nodes with links to both neighbours.

use super::shared::{ROOT, expect_same};
use crate::error::Result;
use crate::harness::choices::Choices;
use crate::harness::subject::{Subject, Verdict};
use crate::image::Image;
use crate::persist::Link;
use crate::store::{ReadTx, WriteTx};

/// A doubly linked list, changed in the middle and at its ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct List;

#[repr(C)]
#[derive(Clone, Copy)]
struct Node {
    value: u64,
    next: Link<Node>,
    previous: Link<Node>,
}

crate::persist::persist_own!(Node as "Node" { value, next, previous });

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Ends {
    first: Link<Node>,
    last: Link<Node>,
    len: u64,
}

crate::persist::persist_own!(Ends as "Ends" { first, last, len });

/// A change to the list; positions count from 0.
#[derive(Clone, Debug)]
pub enum Step {
    /// Inserts a node before the one at a position, or at the end.
    Insert(usize, u64),
    /// Removes the node at a position.
    Remove(usize),
    /// Moves the node at a position to the front.
    ToFront(usize),
    /// Removes all nodes.
    Clear,
}

impl Subject for List {
    type Model = Vec<u64>;
    type Step = Step;

    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx.root_or_insert_with(ROOT, Ends::default)?;
        Ok(())
    }

    fn choose(&self, choices: &mut Choices, model: &Vec<u64>) -> Step {
        match choices.below(40) {
            0..20 => Step::Insert(choices.index(model.len() + 1), choices.below(1000)),
            20..34 if !model.is_empty() => Step::Remove(choices.index(model.len())),
            34..39 if !model.is_empty() => Step::ToFront(choices.index(model.len())),
            _ => Step::Clear,
        }
    }

    fn apply(&self, tx: &mut WriteTx<'_>, step: &Step, model: &Vec<u64>) -> Verdict {
        let ends = tx.root(ROOT)?;
        match *step {
            Step::Insert(place, value) => {
                let node = tx.alloc(Node { value, next: Link::null(), previous: Link::null() })?;
                insert_before(tx, ends, place, node)?;
            }
            Step::Remove(place) => {
                let node = take(tx, ends, place)?;
                expect_same("removed", tx.at(node)?.value, model[place])?;
                tx.free(node)?;
            }
            Step::ToFront(place) => {
                let node = take(tx, ends, place)?;
                insert_before(tx, ends, 0, node)?;
            }
            Step::Clear => {
                for _ in model {
                    let node = take(tx, ends, 0)?;
                    tx.free(node)?;
                }
            }
        }
        Ok(())
    }

    fn advance(&self, model: &mut Vec<u64>, step: &Step) {
        match *step {
            Step::Insert(place, value) => model.insert(place, value),
            Step::Remove(place) => drop(model.remove(place)),
            Step::ToFront(place) => model[..=place].rotate_right(1),
            Step::Clear => model.clear(),
        }
    }

    fn verify(&self, tx: &ReadTx<'_>, model: &Vec<u64>) -> Verdict {
        let ends = *tx.root_object::<Ends>(ROOT)?;
        expect_same("length", ends.len, model.len() as u64)?;
        let (mut at, mut before) = (ends.first, Link::null());
        for (place, value) in model.iter().enumerate() {
            let node = tx.at(at)?;
            expect_same(&format!("node {place}"), node.value, *value)?;
            expect_same(&format!("the link back from node {place}"), node.previous, before)?;
            (before, at) = (at, node.next);
        }
        expect_same("the link from the last node", at, Link::null())?;
        expect_same("the last node", ends.last, before)
    }
}

fn node_at(tx: &Image, ends: Link<Ends>, place: usize) -> Result<Link<Node>> {
    let mut at = tx.at(ends)?.first;
    for _ in 0..place {
        at = tx.at(at)?.next;
    }
    Ok(at)
}

/// Inserts a node before the one at a position, or at the end if there is no such position.
fn insert_before(
    tx: &mut WriteTx<'_>,
    ends: Link<Ends>,
    place: usize,
    node: Link<Node>,
) -> Result<()> {
    let mut all = *tx.at(ends)?;
    let next = if place as u64 == all.len { Link::null() } else { node_at(tx, ends, place)? };
    let previous = tx.get(next)?.map_or(all.last, |next| next.previous);
    match tx.get_mut(previous)? {
        Some(previous) => previous.next = node,
        None => all.first = node,
    }
    match tx.get_mut(next)? {
        Some(next) => next.previous = node,
        None => all.last = node,
    }
    let inserted = tx.at_mut(node)?;
    (inserted.next, inserted.previous) = (next, previous);
    all.len += 1;
    tx.put(ends, all)
}

/// Unlinks the node at a position; it stays allocated.
fn take(tx: &mut WriteTx<'_>, ends: Link<Ends>, place: usize) -> Result<Link<Node>> {
    let link = node_at(tx, ends, place)?;
    let (node, mut all) = (*tx.at(link)?, *tx.at(ends)?);
    match tx.get_mut(node.previous)? {
        Some(previous) => previous.next = node.next,
        None => all.first = node.next,
    }
    match tx.get_mut(node.next)? {
        Some(next) => next.previous = node.previous,
        None => all.last = node.previous,
    }
    all.len -= 1;
    tx.put(ends, all)?;
    Ok(link)
}
