//! Promise: for any invalid value, and for anything wrong in the memory that a collection owns,
//! `check` reports the position, the type and the field. It uses only the descriptions in the
//! store, and finds the damage even though every checksum is correct.

use flagstone::collections::{BTreeMap, Deque, HashMap, HashSet, Vec as StoreVec};
use flagstone::{Bytes, Link, Report, Result, Store, Text, WriteTx, field, persist};
use testkit::{TestResult, forge};

#[persist]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
enum Colour {
    #[default]
    Red = 1,
    Blue = 200,
}

#[persist]
#[derive(Clone, Copy, Default)]
struct Flags {
    one: bool,
    more: [bool; 3],
    colours: [Colour; 4],
}

#[persist]
#[derive(Default)]
struct All {
    flags: Flags,
    vec: StoreVec<Flags>,
    other: StoreVec<Flags>,
    texts: StoreVec<Text>,
    deque: Deque<Colour>,
    bytes: Bytes,
    text: Text,
    long: Text,
    hash: HashMap<Text, Colour>,
    numbers: HashSet<u64>,
    tree: BTreeMap<Text, Text>,
    places: BTreeMap<u64, Flags>,
    list: Link<[Flags]>,
}

/// Returns a store with a bit of everything, and its root.
fn store() -> Result<(Store, Link<All>)> {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let all = tx.root_or_insert_with("all", All::default)?;
    let vec = all.field(field!(All, vec));
    (0..5).try_for_each(|_| vec.push(&mut tx, Flags::default()))?;
    let texts = all.field(field!(All, texts));
    for text in ["short", "a text that is too long to lie inline"] {
        let text = Text::new(&mut tx, text)?;
        texts.push(&mut tx, text)?;
    }
    let deque = all.field(field!(All, deque));
    (0..6).try_for_each(|_| deque.push_back(&mut tx, Colour::Blue))?;
    deque.pop_front(&mut tx)?;
    all.field(field!(All, bytes)).set(&mut tx, b"some")?;
    all.field(field!(All, text)).set(&mut tx, "some")?;
    all.field(field!(All, long)).set(&mut tx, &"ä".repeat(40))?;
    let hash = all.field(field!(All, hash));
    let tree = all.field(field!(All, tree));
    let places = all.field(field!(All, places));
    let numbers = all.field(field!(All, numbers));
    for number in 0..400u64 {
        let key = format!("{number:030}");
        if number < 40 {
            hash.insert(&mut tx, &key, Colour::Red)?;
        }
        numbers.insert(&mut tx, &number)?;
        let value = Text::new(&mut tx, &key)?;
        tree.insert(&mut tx, &key, value)?;
        places.insert(&mut tx, &number, Flags::default())?;
    }
    for number in 0..20u64 {
        numbers.remove(&mut tx, &number)?;
    }
    let list = tx.alloc_slice([Flags::default(); 3])?;
    tx.put(all.field(field!(All, list)), list)?;
    tx.commit()?;
    store.check()?.into_result()?;
    Ok((store, all))
}

/// Returns the word at an offset of the heap.
fn word(tx: &WriteTx<'_>, offset: u64) -> Result<u64> {
    Ok(u64::from_le_bytes(tx.read(Link::<[u8; 8]>::from_parts(offset, 1))?))
}

fn set_word(tx: &mut WriteTx<'_>, offset: u64, word: u64) -> Result<()> {
    tx.put(Link::from_parts(offset, 1), word.to_le_bytes())
}

fn set_byte(tx: &mut WriteTx<'_>, offset: u64, byte: u8) -> Result<()> {
    tx.put(Link::from_parts(offset, 1), byte)
}

fn add_to_word(tx: &mut WriteTx<'_>, offset: u64, add: u64) -> Result<()> {
    let old = word(tx, offset)?;
    set_word(tx, offset, old.wrapping_add(add))
}

/// Returns the findings after `change`, which no correct program would make.
fn after(change: impl FnOnce(&mut WriteTx<'_>, Link<All>) -> Result<()>) -> Result<Report> {
    let (store, all) = store()?;
    store.update(|tx| change(tx, all))?;
    store.check()
}

/// Changes bytes, and expects exactly one finding, with this type, field and text, plus those
/// that `more` names.
#[track_caller]
fn expect(
    (type_name, field, what): (&str, &str, &str),
    change: impl FnOnce(&mut WriteTx<'_>, Link<All>) -> Result<()>,
) {
    let report = after(change).expect("a report");
    let shown = Vec::from_iter(report.findings.iter().map(ToString::to_string));
    let is_it = report.findings.iter().any(|found| {
        found.type_name == type_name && found.field == field && found.what.contains(what)
    });
    assert!(is_it, "expected {type_name}: {field}: {what}, found {shown:#?}");
    assert!(shown.len() <= 2, "one thing is wrong, and these were found: {shown:#?}");
    let found = &report.findings[0];
    assert_eq!(
        found.heap_offset.map(|offset| offset + forge::HEAP as u64),
        Some(found.file_offset)
    );
}

/// Sets a byte, and expects one finding.
#[track_caller]
fn expect_byte(expected: (&str, &str, &str), at: impl Fn(Link<All>) -> u64, byte: u8) {
    expect(expected, |tx, all| set_byte(tx, at(all), byte));
}

/// Sets a word, and expects one finding.
#[track_caller]
fn expect_word(expected: (&str, &str, &str), at: impl Fn(Link<All>) -> u64, word: u64) {
    expect(expected, |tx, all| set_word(tx, at(all), word));
}

/// Returns the offset of a byte of a field.
macro_rules! at {
    ($field:ident + $plus:expr) => {
        |all: Link<All>| all.field(field!(All, $field)).offset() + $plus
    };
}

#[test]
fn invalid_bools_and_variants_are_found_everywhere() {
    expect_byte(("All", "flags.one", "expected a bool, 0 or 1, found 2"), at!(flags + 0), 2);
    expect_byte(("All", "flags.more[1]", "found 255"), at!(flags + 2), 255);
    let variant = "expected a variant of Colour, found 0";
    expect_byte(("All", "flags.colours[2]", variant), at!(flags + 6), 0);
    expect(("Flags", "colours[0]", "found 3"), |tx, all| {
        let third = tx.at(all)?.vec.link(3).expect("an element");
        set_byte(tx, third.offset() + 4, 3)
    });
    expect(("Flags", "one", "found 9"), |tx, all| {
        let second = tx.at(all)?.list.index(1).expect("an element");
        set_byte(tx, second.offset(), 9)
    });
    expect(("Colour", "", "found 2"), |tx, all| {
        let last = tx.at(all)?.deque.link(4).expect("an element");
        set_byte(tx, last.offset(), 2)
    });
    expect(("flagstone::HashEntry<flagstone::Text, Colour>", "value", "found 2"), |tx, all| {
        let value = tx.at(all)?.hash.link(tx, &format!("{:030}", 7))?.expect("an entry");
        set_byte(tx, value.offset(), 2)
    });
    let (leaf, value) = ("flagstone::BTreeLeaf<u64, Flags>", "values[0].more[2]");
    expect((leaf, value, "found 4"), |tx, all| {
        let value = tx.at(all)?.places.link(tx, &0)?.expect("an entry");
        set_byte(tx, value.offset() + 3, 4)
    });
}

/// A program may link to memory that was never in use.
#[test]
fn zeros_behind_a_link_are_no_damage() -> TestResult {
    let report = after(|tx, all| {
        let second = tx.at(all)?.list.index(1).expect("an element");
        set_word(tx, second.offset(), 0)
    })?;
    assert!(report.is_clean(), "{:?}", report.findings);
    Ok(())
}

#[test]
fn strings_match_what_their_last_byte_says() {
    let length = "expected a length up to 23, or 255, found 24";
    expect_byte(("All", "bytes", length), at!(bytes + 23), 24);
    expect_byte(("All", "bytes", "the rest of a string"), at!(bytes + 22), 1);
    expect_byte(("All", "text", "expected UTF-8"), at!(text + 0), 255);
    expect(("All", "long", "expected UTF-8"), |tx, all| {
        let content = word(tx, at!(long + 0)(all))?;
        set_byte(tx, content + 40, 255)
    });
    let length = "expected 24 bytes or more in the heap, found 23";
    expect_word(("All", "long", length), at!(long + 8), 23);
    expect_byte(("All", "long", "the rest of a string"), at!(long + 17), 1);
    expect_word(("All", "long", "its bytes leads to"), at!(long + 8), 1000);
    let entry = "flagstone::Text";
    expect((entry, "", "expected UTF-8"), |tx, all| {
        let first = tx.at(all)?.texts.link(0).expect("an element");
        set_byte(tx, first.offset() + 1, 200)
    });
}

#[test]
fn vectors_and_deques_have_capacity_for_their_elements() {
    let (vec, deque) = (at!(vec + 0), at!(deque + 0));
    let more = "expected no more elements than room";
    expect_word(("All", "vec", more), at!(vec + 8), 1000);
    expect_word(("All", "vec", more), at!(vec + 16), 0);
    expect_word(("All", "vec", "items leads to"), at!(vec + 16), 100);
    expect(("All", "vec", "items leads to"), |tx, all| add_to_word(tx, vec(all), 8));
    expect(("All", "vec", "items leads to"), |tx, all| {
        let items = word(tx, all.field(field!(All, texts)).offset())?;
        set_word(tx, vec(all), items)
    });
    expect(("All", "other", "memory that something else owns"), |tx, all| {
        let other = all.field(field!(All, other)).offset();
        (0..3).try_for_each(|field| {
            let word = word(tx, vec(all) + 8 * field)?;
            set_word(tx, other + 8 * field, word)
        })
    });
    expect(("All", "deque", "expected no more elements than slots"), |tx, all| {
        let slots = word(tx, deque(all) + 8)?;
        set_word(tx, deque(all) + 16, slots)
    });
    expect_word(("All", "deque", "expected no more elements than slots"), at!(deque + 24), 1000);
    expect(("Colour", "", "expected zeros in slot 0, which is not in use"), |tx, all| {
        let slots = word(tx, deque(all))?;
        set_byte(tx, slots, 1)
    });
}

/// Returns the offset of the tags, their number, and the slots of the first shard of `numbers`.
fn shard(tx: &WriteTx<'_>, all: Link<All>) -> Result<[u64; 4]> {
    let directory = word(tx, all.field(field!(All, numbers)).offset())?;
    let shard = word(tx, directory)?;
    Ok([shard, word(tx, shard)?, word(tx, shard + 8)?, word(tx, shard + 16)?])
}

/// Returns the first slot whose tag satisfies `is_it`.
fn slot(tx: &WriteTx<'_>, [_, tags, len, _]: [u64; 4], is_it: fn(u8) -> bool) -> Result<u64> {
    let tags = tx.at(Link::<[u8]>::from_parts(tags, len - 8))?;
    Ok(tags.iter().position(|tag| is_it(*tag)).expect("a slot") as u64)
}

#[test]
fn hash_tables_find_each_entry_by_its_key() {
    let entry = "flagstone::HashEntry<u64, [u8; 0]>";
    let shard_type = "flagstone::HashShard<u64, [u8; 0]>";
    expect(("All", "numbers", "expected 381 entries, found 380"), |tx, all| {
        add_to_word(tx, at!(numbers + 24)(all), 1)
    });
    for capacity in [0, 1 << 40] {
        expect_word(
            ("All", "numbers", "expected entries only in shards"),
            at!(numbers + 16),
            capacity,
        );
    }
    expect_word(("All", "numbers", "directory leads to"), at!(numbers + 8), 500);
    expect((entry, "key", "expected the tag"), |tx, all| {
        let shard = shard(tx, all)?;
        let at = shard[1] + slot(tx, shard, |tag| tag > 1)?;
        let tag: u8 = tx.read(Link::from_parts(at, 1))?;
        set_byte(tx, at, if tag == 255 { 254 } else { tag + 1 })
    });
    expect((entry, "key", "by its key"), |tx, all| {
        let shard = shard(tx, all)?;
        let slot = slot(tx, shard, |tag| tag > 1)?;
        add_to_word(tx, shard[3] + 8 * slot, 1 << 40)
    });
    expect((entry, "key", "a slot without an entry"), |tx, all| {
        let shard = shard(tx, all)?;
        let slot = slot(tx, shard, |tag| tag < 2)?;
        set_word(tx, shard[3] + 8 * slot, 1 << 40)
    });
    expect((shard_type, "tags", "found counts of"), |tx, all| {
        let shard = shard(tx, all)?;
        add_to_word(tx, shard[1] + shard[2] - 8, 1)
    });
    expect((shard_type, "tags", "bytes of tags"), |tx, all| {
        let [shard, ..] = shard(tx, all)?;
        add_to_word(tx, shard + 8, 16)
    });
    expect((shard_type, "slots[0]", "slots leads to"), |tx, all| {
        let [shard, _, _, slots] = shard(tx, all)?;
        set_word(tx, shard + 16, slots + 8)
    });
    let entry = "flagstone::HashEntry<flagstone::Text, Colour>";
    expect((entry, "value", "what no field takes"), |tx, all| {
        let value = tx.at(all)?.hash.link(tx, &format!("{:030}", 7))?.expect("an entry");
        set_byte(tx, value.offset() + 3, 4)
    });
}

/// The offset of the children in an inner node of texts; FORMAT.md says that the type's
/// description gives it.
const CHILDREN: u64 = 1520;

#[test]
fn nodes_of_trees_match_each_other() {
    let tree = at!(tree + 0);
    let child =
        |tx: &WriteTx<'_>, all, index: u64| word(tx, word(tx, tree(all))? + CHILDREN + 8 * index);
    let inner = "flagstone::BTreeInner<flagstone::Text, flagstone::Text>";
    let leaf = "flagstone::BTreeLeaf<flagstone::Text, flagstone::Text>";
    expect(("All", "tree", "expected 401 entries, found 400"), |tx, all| {
        add_to_word(tx, tree(all) + 8, 1)
    });
    let parts = "expected a root, a length and a height";
    expect_word(("All", "tree", parts), at!(tree + 16), 33);
    expect_word((inner, "level", "expected level 2"), at!(tree + 16), 2);
    expect_word(("All", "tree", "a node leads to"), at!(tree + 16), 0);
    expect((inner, "level", "expected level 1, and a length from 2 to 64"), |tx, all| {
        let root = word(tx, tree(all))?;
        set_byte(tx, root, 2)
    });
    expect((inner, "level", "found level 1, length 1"), |tx, all| {
        let root = word(tx, tree(all))?;
        set_byte(tx, root + 4, 1)
    });
    expect((inner, "children[2]", "a node leads to"), |tx, all| {
        let root = word(tx, tree(all))?;
        add_to_word(tx, root + CHILDREN + 16, 64)
    });
    expect((inner, "children[2]", "memory that something else owns"), |tx, all| {
        let (root, first) = (word(tx, tree(all))?, child(tx, all, 0)?);
        set_word(tx, root + CHILDREN + 16, first)
    });
    expect((inner, "children[63]", "an entry that is not in use"), |tx, all| {
        let (root, first) = (word(tx, tree(all))?, child(tx, all, 0)?);
        set_word(tx, root + CHILDREN + 8 * 63, first)
    });
    expect((inner, "keys[1]", "the first key of the leaf behind it"), |tx, all| {
        let root = word(tx, tree(all))?;
        add_to_word(tx, root + 8 + 24, 1)
    });
    expect((leaf, "level", "expected level 0"), |tx, all| {
        let leaf = child(tx, all, 3)?;
        set_byte(tx, leaf, 1)
    });
    expect((leaf, "prev", "the leaf before"), |tx, all| {
        let (first, third) = (child(tx, all, 0)?, child(tx, all, 2)?);
        set_word(tx, third + 8, first)
    });
    expect((leaf, "next", "the leaf behind"), |tx, all| {
        let (first, third) = (child(tx, all, 0)?, child(tx, all, 2)?);
        set_word(tx, first + 16, third)
    });
    expect((leaf, "keys[41]", "an entry that is not in use"), |tx, all| {
        // The last leaf, which is not full.
        let leaf = child(tx, all, 9)?;
        set_byte(tx, leaf + 24 + 41 * 24, 1)
    });
    expect((leaf, "rest[7]", "what no entry takes"), |tx, all| {
        let leaf = child(tx, all, 0)?;
        set_byte(tx, leaf + 2047, 1)
    });
}
