//! Promise: a root is asked for as what it is, and a type keeps its layout.

use flagstone::{ErrorKind, Link, Store, persist};

#[persist]
struct User {
    id: u64,
    age: u32,
    flags: u32,
}

#[persist]
struct Group {
    first: Link<User>,
}

/// `User`, as another version of the program would have it.
#[persist(name = "User")]
struct ChangedUser {
    id: u64,
    age: u64,
}

/// `Group`, unchanged but for what it links to.
#[persist(name = "Group")]
struct GroupOfChanged {
    first: Link<ChangedUser>,
}

fn store() -> flagstone::Result<Store> {
    let store = Store::in_memory()?;
    store.update(|tx| {
        let first = tx.alloc(User { id: 1, age: 2, flags: 3 })?;
        let group = tx.alloc(Group { first })?;
        tx.set_root("group", group)?;
        let ages = tx.alloc_slice([1u16, 2, 3])?;
        tx.set_root("ages", ages)
    })?;
    Ok(store)
}

#[test]
fn another_type_is_told_with_both_layouts() -> flagstone::Result<()> {
    let store = store()?;
    let tx = store.read()?;
    let error = tx.root::<User>("group").expect_err("it is a Group");
    assert!(matches!(error.kind(), ErrorKind::RootType { .. }), "{error}");
    let text = error.to_string();
    for part in ["\"group\"", "Group", "0 first: Link<User>", "0 id: u64", "8 age: u32"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(tx.root::<u16>("ages").is_err(), "a slice is no single object");
    assert!(tx.root::<[Group]>("group").is_err(), "a single object is no slice");
    assert_eq!(tx.at(tx.root::<[u16]>("ages")?)?, [1, 2, 3]);
    assert!(tx.root::<User>("nobody")?.is_null());
    Ok(())
}

#[test]
fn a_change_behind_an_unchanged_root_is_told() -> flagstone::Result<()> {
    let store = store()?;
    let error = store.read()?.root::<GroupOfChanged>("group").expect_err("User has changed");
    assert!(matches!(error.kind(), ErrorKind::TypeChanged { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("8 age: u64") && text.contains("8 age: u32"), "{text}");
    let changed = store.update(|tx| tx.alloc(ChangedUser { id: 1, age: 1 }));
    assert!(changed.is_err());
    Ok(())
}

#[test]
fn a_root_that_was_removed_may_have_another_type() -> flagstone::Result<()> {
    let store = store()?;
    store.update(|tx| {
        let number = tx.alloc(7u64)?;
        assert!(tx.set_root("group", number).is_err());
        assert!(tx.remove_root("group")? && !tx.remove_root("group")?);
        tx.set_root("group", number)
    })?;
    let tx = store.read()?;
    assert_eq!(tx.read(tx.root::<u64>("group")?)?, 7);
    Ok(())
}

#[test]
fn a_thousand_roots_are_found_listed_and_removed() -> flagstone::Result<()> {
    let store = Store::in_memory()?;
    let name = |i: u64| format!("root {:04}", i * 7919 % 1000);
    store.update(|tx| {
        (0..1000).try_for_each(|i| {
            let link = tx.alloc(i)?;
            tx.set_root(&name(i), link)
        })
    })?;
    let tx = store.read()?;
    for i in 0..1000 {
        assert_eq!(tx.read(tx.root::<u64>(&name(i))?)?, i);
    }
    let names: Vec<String> = tx.roots()?.into_iter().map(|root| root.name).collect();
    assert!(names.len() == 1000 && names.is_sorted());
    store.update(|tx| (0..1000).step_by(2).try_for_each(|i| tx.remove_root(&name(i)).map(drop)))?;
    assert_eq!(store.read()?.roots()?.len(), 500);
    assert_eq!(tx.roots()?.len(), 1000, "the snapshot stays");
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn a_root_is_one_whole_allocation() -> flagstone::Result<()> {
    let store = store()?;
    let mut tx = store.write()?;
    let ages = tx.root::<[u16]>("ages")?;
    let inside = ages.index(1).expect("an element");
    assert!(tx.set_root("inside", inside).is_err());
    let dangling = tx.alloc(1u64)?;
    tx.free(dangling)?;
    assert!(tx.set_root("dangling", dangling).is_err());
    tx.set_root("null", Link::<u64>::null())
}
