//! Promise: what was committed is there in the next run: objects with the links between them, and
//! maps with the words of a real list.

use std::collections::{BTreeMap as StdMap, BTreeSet as StdSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use flagstone::collections::{BTreeMap, BTreeSet, HashMap};
use flagstone::{Durability, Link, Store, Text, persist};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, open};

/// Debian's word list, from `wamerican` and similar packages.
const WORD_LIST: &str = "/usr/share/dict/words";

/// The maximum amount of text to read if there is no word list.
const MAX_BYTES: usize = 8 << 20;

#[persist]
struct Node {
    value: i64,
    next: Link<Node>,
}

fn values(store: &Store) -> flagstone::Result<Vec<i64>> {
    let tx = store.read()?;
    let mut at = tx.root::<Node>("head")?;
    let mut values = Vec::new();
    while let Some(node) = tx.get(at)? {
        values.push(node.value);
        at = node.next;
    }
    Ok(values)
}

#[test]
fn a_linked_list_comes_back() -> TestResult {
    let path = ScratchFile::new()?;
    let expected: Vec<i64> = (0..1000).rev().collect();
    let store = open(&path)?;
    for value in 0..1000 {
        store.update(|tx| {
            let next = tx.root("head")?;
            let node = tx.alloc(Node { value, next })?;
            tx.set_root("head", node)
        })?;
    }
    assert_eq!(values(&store)?, expected);
    store.close()?;
    let store = open(&path)?;
    assert_eq!(values(&store)?, expected);
    store.check()?.into_result()?;
    Ok(())
}

#[persist]
#[derive(Default)]
struct Words {
    hashed: HashMap<Text, u64>,
    sorted: BTreeMap<Text, u64>,
    set: BTreeSet<Text>,
}

/// Returns the lines of the word list, or else the words of the toolchain's documentation, and
/// their source.
fn words() -> (String, PathBuf) {
    if let Ok(list) = std::fs::read_to_string(WORD_LIST) {
        return (list, WORD_LIST.into());
    }
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc");
    let folder = Path::new(String::from_utf8_lossy(&rustc.stdout).trim()).join("share/doc");
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for folder in [own.join("src"), own.join("README.md"), folder.clone()] {
        for file in walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten() {
            if text.len() < MAX_BYTES
                && let Ok(content) = std::fs::read_to_string(file.path())
            {
                text += &content;
            }
        }
    }
    (text.split_whitespace().collect::<Vec<_>>().join("\n"), folder)
}

#[test]
fn a_word_list_comes_back() {
    let (list, source) = words();
    let mut expected = StdMap::<&str, u64>::new();
    for (line, word) in list.lines().enumerate() {
        expected.insert(word, line as u64);
    }
    println!("{} words of {}", expected.len(), source.display());
    assert!(expected.len() > 1000, "{} has too few words", source.display());

    let path = ScratchFile::new().unwrap();
    let store = open(&path).unwrap();
    let lines: Vec<_> = list.lines().enumerate().collect();
    for part in lines.chunks(10_000) {
        add(&store, part).unwrap();
    }
    store.close().unwrap();

    let store = open(&path).unwrap();
    let tx = store.read().unwrap();
    let words = tx.at(tx.root::<Words>("words").unwrap()).unwrap();
    assert_eq!(words.hashed.len(), expected.len() as u64);
    for (word, line) in &expected {
        assert_eq!(words.hashed.get(&tx, *word).unwrap(), Some(line), "{word}");
        assert_eq!(words.sorted.get(&tx, *word).unwrap(), Some(line), "{word}");
        assert!(!words.hashed.contains_key(&tx, &format!("{word}\n")[..]).unwrap());
    }
    let sorted: Vec<_> = words
        .sorted
        .iter(&tx)
        .unwrap()
        .map(|entry| entry.map(|(word, line)| (word.as_str(&tx).unwrap(), *line)).unwrap())
        .collect();
    assert_eq!(sorted, expected.iter().map(|(word, line)| (*word, *line)).collect::<Vec<_>>());
    let hashed: StdSet<_> =
        words.hashed.keys(&tx).unwrap().map(|word| word.unwrap().as_str(&tx).unwrap()).collect();
    assert!(hashed.iter().copied().eq(expected.keys().copied()));
    let set: Vec<_> =
        words.set.iter(&tx).unwrap().map(|word| word.unwrap().as_str(&tx).unwrap()).collect();
    assert!(set.into_iter().eq(expected.keys().copied()));
    drop(tx);
    let report = store.check().unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.unreachable.allocations, 0);
}

fn add(store: &Store, part: &[(usize, &str)]) -> flagstone::Result<()> {
    let mut tx = store.write()?;
    tx.set_durability(Durability::Deferred);
    let words = tx.root_or_insert_with("words", Words::default)?;
    let hashed = words.field(flagstone::field!(Words, hashed));
    let sorted = words.field(flagstone::field!(Words, sorted));
    let set = words.field(flagstone::field!(Words, set));
    for (line, word) in part {
        hashed.insert(&mut tx, *word, *line as u64)?;
        sorted.insert(&mut tx, *word, *line as u64)?;
        set.insert(&mut tx, *word)?;
    }
    tx.commit()
}
