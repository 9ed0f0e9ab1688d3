//! Vectors and texts: what they contain, release and refuse.

use flagstone::collections::Vec as StoreVec;
use flagstone::{Bytes, Link, Store, Text, field, persist};
use testkit::TestResult;

#[persist]
struct Person {
    name: Text,
    numbers: StoreVec<Text>,
    parents: [Text; 2],
}

fn used(store: &Store) -> u64 {
    store.stats().unwrap().live_bytes
}

const LONG: &str = "a text that is too long to lie inline, and so has an allocation";

#[test]
fn what_is_owned_deep_inside_is_released() {
    let store = Store::in_memory().unwrap();
    store
        .update(|tx| -> flagstone::Result<()> {
            let list = tx.alloc(StoreVec::<Person>::new())?;
            tx.set_root("people", list)?;
            // Registers each type and allocates its slabs.
            fill(tx, list)?;
            list.clear(tx)
        })
        .unwrap();
    let before = used(&store);
    let list = store.read().unwrap().root::<StoreVec<Person>>("people").unwrap();
    store.update(|tx| fill(tx, list)).unwrap();
    assert!(used(&store) > before + 400 * 60);
    store.update(|tx| list.truncate(tx, 50)).unwrap();
    store.update(|tx| list.retain(tx, |person| person.numbers.len() == 1)).unwrap();
    store
        .update(|tx| {
            let person = list.swap_remove(tx, 3)?;
            tx.release(person)
        })
        .unwrap();
    store.update(|tx| list.clear(tx)).unwrap();
    assert_eq!(used(&store), before);
    assert!(store.check().unwrap().is_clean());
}

fn fill(tx: &mut flagstone::WriteTx<'_>, list: Link<StoreVec<Person>>) -> flagstone::Result<()> {
    for i in 0..100 {
        let (name, a, b) = (Text::new(tx, LONG)?, Text::new(tx, LONG)?, Text::new(tx, "short")?);
        list.push(tx, Person { name, numbers: StoreVec::new(), parents: [a, b] })?;
        let numbers = tx.at(list)?.link(i).unwrap().field(field!(Person, numbers));
        for _ in 0..=i % 2 {
            let number = Text::new(tx, LONG)?;
            numbers.push(tx, number)?;
        }
    }
    Ok(())
}

#[test]
fn texts_of_all_lengths_come_back() {
    let store = Store::in_memory().unwrap();
    let mut tx = store.write().unwrap();
    let text = tx.alloc(Text::empty()).unwrap();
    let bytes = tx.alloc(Bytes::empty()).unwrap();
    for len in (0..70).chain([5000, 100_000]) {
        let expected = "ä".repeat(len) + &"x".repeat(len % 3);
        text.set(&mut tx, &expected).unwrap();
        bytes.set(&mut tx, expected.as_bytes()).unwrap();
        assert_eq!(tx.at(text).unwrap().as_str(&tx).unwrap(), expected);
        assert_eq!(tx.at(bytes).unwrap().as_bytes(&tx).unwrap(), expected.as_bytes());
        assert_eq!(tx.at(text).unwrap().len().unwrap(), expected.len() as u64);
    }
}

#[test]
fn what_owns_itself_is_an_error_and_no_loop() {
    let store = Store::in_memory().unwrap();
    let mut tx = store.write().unwrap();
    let outer = tx.alloc(StoreVec::<StoreVec<u64>>::new()).unwrap();
    outer.push(&mut tx, StoreVec::new()).unwrap();
    let inner = tx.at(outer).unwrap().link(0).unwrap();
    inner.push(&mut tx, 1).unwrap();
    outer.push(&mut tx, StoreVec::new()).unwrap();
    // Both elements own the same allocation now.
    let raw = tx.read(Link::<[u64; 3]>::from_parts(inner.offset(), 1)).unwrap();
    let second = tx.at(outer).unwrap().link(1).unwrap();
    tx.put(Link::<[u64; 3]>::from_parts(second.offset(), 1), raw).unwrap();
    assert!(tx.free_deep(outer).is_err());
}

/// A large element that owns memory.
#[persist]
struct Large {
    name: Text,
    rest: [u64; 400],
}

#[persist]
#[derive(Default)]
struct Holder {
    items: StoreVec<Large>,
    last: Link<Large>,
}

/// An array of one large element in its own pages was taken for an object, in which every value
/// must be valid; but it may hold the remains of an element that was taken out.
#[test]
fn an_array_of_one_large_element_is_no_object() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let holder = tx.root_or_insert_with("holder", Holder::default)?;
    let items = holder.field(field!(Holder, items));
    items.reserve_exact(&mut tx, 1)?;
    let name = Text::new(&mut tx, "a name that is too long to lie in the text itself")?;
    items.push(&mut tx, Large { name, rest: [7; 400] })?;
    let link = tx.at(items)?.link(0).ok_or("an element")?;
    tx.at_mut(holder)?.last = link;
    // Can be freed only as the type that it has.
    assert!(tx.free(link).is_err());
    tx.commit()?;
    assert!(store.check()?.is_clean());
    let mut tx = store.write()?;
    let large = items.pop(&mut tx)?.ok_or("an element")?;
    let single = tx.alloc(large)?;
    tx.set_root("single", single)?;
    tx.commit()?;
    assert!(store.check()?.is_clean(), "{:?}", store.check()?);
    let mut tx = store.write()?;
    tx.remove_root("single")?;
    tx.free_deep(single)?;
    tx.commit()?;
    assert!(store.check()?.is_clean(), "{:?}", store.check()?);
    Ok(())
}
