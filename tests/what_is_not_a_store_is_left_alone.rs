//! Promise: what cannot be opened gives an error of its own, and stays as it
//! was, byte for byte.

mod common;

use std::os::unix::process::CommandExt;
use std::path::Path;

use common::{Random, child, open, open_with};
use flagstone::{ErrorKind, OpenOptions};

/// Opens `path`, which must fail and change nothing; returns the error.
fn refused(path: &Path) -> flagstone::Error {
    let look = || std::fs::read(path).ok().zip(std::fs::metadata(path).ok()?.modified().ok());
    let before = look();
    let error = open(path).expect_err("this is no store");
    assert_eq!(look(), before, "{error}: the file was changed");
    assert!(error.to_string().contains(path.to_str().expect("a name")), "{error}: no path");
    error
}

macro_rules! assert_refused {
    ($path:expr, $kind:pat) => {
        let error = refused($path);
        assert!(matches!(error.kind(), $kind), "{error}");
    };
}

/// A store with one root, closed.
fn store_bytes(folder: &Path) -> Vec<u8> {
    let path = folder.join("good");
    let store = open(&path).expect("a store");
    let made = store.update(|tx| {
        let link = tx.alloc(42u64)?;
        tx.set_root("answer", link)
    });
    made.expect("a commit");
    store.close().expect("a close");
    std::fs::read(&path).expect("the file")
}

fn answer(path: &Path) -> flagstone::Result<u64> {
    let store = open(path)?;
    let tx = store.read()?;
    tx.read(tx.root::<u64>("answer")?)
}

#[test]
fn a_folder_a_fifo_and_a_missing_parent_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_refused!(folder.path(), ErrorKind::NotAFile { found: "a directory", .. });
    let fifo = folder.path().join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a FIFO");
    let error = open(&fifo).expect_err("this is no store");
    assert!(matches!(error.kind(), ErrorKind::NotAFile { found: "a FIFO", .. }), "{error}");
    assert_refused!(&folder.path().join("no/such/folder"), ErrorKind::Io { .. });
    let missing = folder.path().join("missing");
    let error = open_with(&missing, &OpenOptions::new().create(false)).expect_err("no file");
    assert!(matches!(error.kind(), ErrorKind::Io { .. }) && !missing.exists(), "{error}");
}

#[test]
fn foreign_files_of_any_size_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("foreign");
    std::fs::write(&path, b"").expect("a file");
    assert_refused!(&path, ErrorKind::EmptyFile { .. });
    let mut random = Random(1);
    for len in [1, 15, 16, 100, 511, 4096, 5000, 16_383, 16_384, 20_000, 2_000_000] {
        let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        std::fs::write(&path, bytes).expect("a file");
        assert_refused!(&path, ErrorKind::NotAStore { .. });
        std::fs::write(&path, vec![0; len]).expect("a file");
        assert_refused!(&path, ErrorKind::NotAStore { .. });
    }
}

#[test]
fn a_store_that_was_cut_off_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = store_bytes(folder.path());
    let path = folder.path().join("short");
    for len in (16..bytes.len()).step_by(4096).chain([17, 511, 5000, bytes.len() - 1]) {
        std::fs::write(&path, &bytes[..len]).expect("a file");
        if len < 16_384 {
            assert_refused!(&path, ErrorKind::TooShort { .. });
        } else {
            assert_refused!(&path, ErrorKind::Truncated { .. });
        }
    }
}

#[test]
fn one_damaged_superblock_is_enough_to_open_and_two_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = store_bytes(folder.path());
    let path = folder.path().join("damaged");
    for damaged in [100, 4196] {
        let mut bytes = bytes.clone();
        bytes[damaged] ^= 1;
        std::fs::write(&path, bytes).expect("a file");
        assert_eq!(answer(&path).expect("a store"), 42);
    }
    let mut both = bytes.clone();
    (both[100], both[4196]) = (!both[100], !both[4196]);
    std::fs::write(&path, both).expect("a file");
    assert_refused!(&path, ErrorKind::SuperblocksDamaged { .. });
}

#[test]
fn another_version_byte_order_and_a_half_made_file_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = store_bytes(folder.path());
    let path = folder.path().join("other");
    let mut version = bytes.clone();
    (version[16], version[4096 + 16]) = (99, 99);
    std::fs::write(&path, &version).expect("a file");
    assert_refused!(&path, ErrorKind::UnknownVersion { found: 99, known: 1, .. });
    version[16] = 1;
    std::fs::write(&path, &version).expect("a file");
    assert_refused!(&path, ErrorKind::UnknownVersion { .. });
    let mut half = bytes;
    half[..8192].fill(0);
    half[8192..8208].copy_from_slice(b"flagstone begun\n");
    std::fs::write(&path, half).expect("a file");
    assert_refused!(&path, ErrorKind::HalfMade { .. });
}

#[test]
fn a_file_that_may_not_be_written_is_told() {
    if let Some(path) = std::env::var_os("FLAGSTONE_CHILD") {
        assert_refused!(Path::new(&path), ErrorKind::Io { .. });
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    store_bytes(folder.path());
    let path = folder.path().join("good");
    let mode = |path: &Path, mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    mode(folder.path(), 0o755);
    mode(&path, 0o444);
    let mut child = child("a_file_that_may_not_be_written_is_told", "FLAGSTONE_CHILD", &path);
    if rustix::process::geteuid().is_root() {
        // Root may write what nobody else may.
        let program = folder.path().join("program");
        std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy");
        mode(&program, 0o755);
        let args: Vec<_> = child.get_args().map(ToOwned::to_owned).collect();
        child = std::process::Command::new(program);
        child.args(args).env("FLAGSTONE_CHILD", &path).uid(65534).gid(65534);
    }
    assert!(child.status().expect("a child").success());
}
