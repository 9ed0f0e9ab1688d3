//! The collections in the targets' stores. A fixture is one of them, or a few.

use testkit::model::kinds::{Colour, OfBytes, OfHashMap, OfPair, OfText, OfVec, Place};
use testkit::model::roots::{Root, Roots, root};
use testkit::model::sequences::{DequeOf, VecOf};
use testkit::model::tables::{BTreeMapOf, BTreeSetOf, HashMapOf, HashSetOf};

use crate::byte_runs::OfByteRuns;

/// The number of fixtures. Most have one collection: a run on a large store takes long, and two
/// collections show as well as all of them how they affect each other.
pub const FIXTURES: usize = SINGLES + 2;

/// The number of fixtures with one collection.
const SINGLES: usize = 14;

/// Returns one of the fixtures.
pub fn fixture(number: usize) -> Roots {
    Roots(match number % FIXTURES {
        SINGLES => vec![collection(8), collection(9)],
        number if number > SINGLES => vec![collection(1), collection(4), collection(11)],
        number => vec![collection(number)],
    })
}

/// Returns one of the collections. Each has types that no other one has.
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
