//! The collections that stores of the targets hold: a fixture is one of them, or a few.

use testkit::model::kinds::{Colour, OfBytes, OfHashMap, OfPair, OfText, OfVec, Place};
use testkit::model::roots::{Root, Roots, root};
use testkit::model::sequences::{DequeOf, VecOf};
use testkit::model::tables::{BTreeMapOf, BTreeSetOf, HashMapOf, HashSetOf};

use crate::byte_runs::OfByteRuns;

/// Shelves there are. Most have one collection: a run takes as long as its store is
/// large, and what collections have to do with each other, two show as well as all.
pub const FIXTURES: usize = SINGLES + 2;

/// Shelves with one collection.
const SINGLES: usize = 14;

/// Returns one of the shelves.
pub fn fixture(number: usize) -> Roots {
    Roots(match number % FIXTURES {
        SINGLES => vec![collection(8), collection(9)],
        number if number > SINGLES => vec![collection(1), collection(4), collection(11)],
        number => vec![collection(number)],
    })
}

/// Each of them has types that no other one has.
fn collection(number: usize) -> Box<dyn Root> {
    match number {
        0 => root::<OfByteRuns>("blobs"),
        1 => root::<VecOf<u64>>("numbers"),
        2 => root::<VecOf<bool>>("flags"),
        3 => root::<OfText>("text"),
        4 => root::<VecOf<OfVec<OfText>>>("lists"),
        5 => root::<DequeOf<OfText>>("queue"),
        6 => root::<OfBytes>("bytes"),
        7 => root::<HashMapOf<OfText, OfVec<OfText>>>("index"),
        8 => root::<HashSetOf<Place>>("places"),
        9 => root::<BTreeMapOf<OfText, OfBytes>>("tree"),
        10 => root::<BTreeSetOf<OfPair>>("pairs"),
        11 => root::<HashMapOf<u64, OfHashMap<u64, OfText>>>("maps"),
        12 => root::<BTreeMapOf<u64, Colour>>("order"),
        _ => root::<DequeOf<Colour>>("colours"),
    }
}
