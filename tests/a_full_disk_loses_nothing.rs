//! Promise: where the file cannot grow, the transaction gets an error, the store
//! works on, and what was committed is there.

mod common;

use std::path::Path;
use std::process::Command;

use common::{child, open};
use flagstone::{ErrorKind, Link, Store};

/// Commits arrays until there is no room; returns those that were committed.
fn fill(store: &Store) -> Vec<Link<[u64]>> {
    let mut links = Vec::new();
    for value in 0.. {
        let done = store.update(|tx| {
            let link = tx.alloc_slice(std::iter::repeat_n(value, 20_000))?;
            tx.set_root(&format!("array {value}"), link)?;
            Ok::<_, flagstone::Error>(link)
        });
        match done {
            Ok(link) => links.push(link),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::NoSpace { .. }), "{error}");
                return links;
            }
        }
    }
    links
}

fn expect_arrays(store: &Store, links: &[Link<[u64]>]) {
    let tx = store.read().expect("a snapshot");
    for (value, link) in (0u64..).zip(links) {
        let found = tx.at(*link).expect("an array");
        assert!(found.len() == 20_000 && found.iter().all(|x| *x == value));
    }
    store.check().expect("a look").into_result().expect("no damage");
}

fn fill_and_reopen(path: &Path) {
    let store = open(path).expect("a store");
    let links = fill(&store);
    assert!(links.len() > 3, "{}", links.len());
    expect_arrays(&store, &links);
    // Small things still fit, and freeing makes room.
    store.update(|tx| tx.alloc(1u64)).expect("room for a number");
    let last = links.len() - 1;
    store
        .update(|tx| {
            tx.remove_root(&format!("array {last}"))?;
            tx.free(links[last])?;
            let again = tx.alloc_slice(std::iter::repeat_n(0u64, 20_000))?;
            tx.free(again)
        })
        .expect("room that was freed");
    expect_arrays(&store, &links[..last]);
    drop(store);
    expect_arrays(&open(path).expect("the store"), &links[..last]);
}

#[test]
fn a_limit_on_the_files_length() {
    if let Some(path) = std::env::var_os("FLAGSTONE_CHILD") {
        return fill_and_reopen(Path::new(&path));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let child = child("a_limit_on_the_files_length", "FLAGSTONE_CHILD", &path);
    // The limit is in blocks of 1024 bytes; the signal that comes with it is
    // ignored, as a program that sets such a limit has to.
    let mut shell = Command::new("bash");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$@\"", "limited"]);
    shell.arg(child.get_program()).args(child.get_args()).env("FLAGSTONE_CHILD", &path);
    assert!(shell.status().expect("a child").success());
}

/// A small file system in memory, gone when it is dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=5m", "tmpfs"]).arg(folder.path());
        let done = mount.output().map_err(|error| error.to_string())?;
        match done.status.success() {
            true => Ok(Self(folder)),
            false => Err(String::from_utf8_lossy(&done.stderr).trim().to_string()),
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_small_file_system() {
    match Tmpfs::mount() {
        Ok(tmpfs) => fill_and_reopen(&tmpfs.0.path().join("store")),
        Err(reason) => println!("SKIP[tmpfs]: {reason}"),
    }
}
