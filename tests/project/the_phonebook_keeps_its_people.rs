//! The phonebook example does what its help says, changes all or nothing, and releases the memory
//! of people it removes.

use std::path::Path;
use std::process::Command;

use testkit::programs::{complains, example, output, says};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, open};

fn phonebook(store: &Path, arguments: &[&str]) -> Command {
    let mut program = example("phonebook");
    program.arg(store).args(arguments);
    program
}

const BOOK: &str = "\
Anna
  number 030 1234
  number +49 170 5678
  friend Zoë
Anton with a name that is too long to lie inline
Zoë
  number 1
  friend Anna
";

/// Creates a book with three people.
fn filled(store: &Path) {
    for arguments in [
        &["add", "Zoë", "1"][..],
        &["add", "Anton with a name that is too long to lie inline"],
        &["add", " Anna ", "030 1234"],
        &["number", "Anna", "+49 170 5678"],
        &["befriend", "Zoë", "Anna"],
        &["befriend", "Anna", "Zoë"],
    ] {
        assert_eq!(says(&mut phonebook(store, arguments)), "");
    }
}

#[test]
fn it_lists_people_by_name() -> TestResult {
    let store = ScratchFile::new()?;
    filled(&store);
    assert_eq!(says(&mut phonebook(&store, &["list"])), BOOK);
    let zoe = &BOOK[BOOK.find("Zoë\n  number").expect("she is in there")..];
    assert_eq!(says(&mut phonebook(&store, &["find", "Z"])), zoe);
    assert!(BOOK.starts_with(&says(&mut phonebook(&store, &["find", "An"]))));
    for nobody in ["Annabel", "a", "B", "Zz"] {
        let output = output(&mut phonebook(&store, &["find", nobody]));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{nobody}");
    }
    Ok(())
}

#[test]
fn a_removed_person_is_nobodys_friend_and_leaves_no_memory() -> TestResult {
    let store = ScratchFile::new()?;
    filled(&store);
    let without = || -> flagstone::Result<u64> {
        let store = open(&store)?;
        assert!(store.check()?.is_clean(), "{:?}", store.check()?);
        Ok(store.stats()?.live_bytes)
    };
    let three = without()?;
    says(&mut phonebook(&store, &["add", "Bo with a name that does not lie inline", "1", "2"]));
    says(&mut phonebook(&store, &["befriend", "Bo with a name that does not lie inline", "Anna"]));
    assert!(without()? > three);
    says(&mut phonebook(&store, &["remove", "Bo with a name that does not lie inline"]));
    assert_eq!(says(&mut phonebook(&store, &["list"])), BOOK);
    says(&mut phonebook(&store, &["remove", "Anna"]));
    let rest = says(&mut phonebook(&store, &["list"]));
    assert!(!rest.contains("Anna") && rest.ends_with("Zoë\n  number 1\n"), "{rest}");
    let two = without()?;
    assert!(two < three);
    says(&mut phonebook(&store, &["remove", " Zoë "]));
    says(&mut phonebook(&store, &["remove", "Anton with a name that is too long to lie inline"]));
    let nobody = output(&mut phonebook(&store, &["list"]));
    assert_eq!((nobody.status.code(), nobody.stdout.len()), (Some(1), 0));
    assert!(without()? < two);
    Ok(())
}

#[test]
fn it_refuses_invalid_requests_and_changes_nothing() -> TestResult {
    let store = ScratchFile::new()?;
    for arguments in [&["list"][..], &["number", "Anna", "1"], &["remove", "Anna"]] {
        complains(&mut phonebook(&store, arguments));
        assert!(!store.exists(), "{arguments:?} created a store");
    }
    complains(&mut phonebook(&store, &["add", "Anna", "no number"]));
    assert!(!store.exists(), "a number that is none created a store");
    filled(&store);
    for (arguments, why) in [
        (&["add", "Anna"][..], "already"),
        (&["add", " "], "not a name"),
        (&["add", "two\nlines"], "not a name"),
        (&["add", "Bo", "1", "2", "1"], "already"),
        (&["number", "Anna", "030 1234"], "already"),
        (&["number", "Anna", ""], "not a telephone number"),
        (&["number", "Bo", "1"], "nobody"),
        (&["befriend", "Anna", "Anna"], "their own friend"),
        (&["befriend", "Anna", "Bo"], "nobody"),
        (&["remove", "Ann"], "nobody"),
    ] {
        let complaint = complains(&mut phonebook(&store, arguments));
        assert!(complaint.contains(why), "{arguments:?}: {complaint}");
        assert_eq!(says(&mut phonebook(&store, &["list"])), BOOK, "{arguments:?}");
    }
    Ok(())
}
