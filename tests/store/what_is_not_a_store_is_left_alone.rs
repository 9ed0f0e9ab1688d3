//! Promise: a file that is not a store, or no longer one, is not opened; the error distinguishes
//! the many cases; and the file stays unchanged, byte for byte. Data that one superblock can
//! still reach is not lost.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use flagstone::{Error, ErrorKind, OpenOptions, Result, Store};
use rustix::fs::{CWD, Mode, mkfifoat};
use testkit::forge::{self, COORDINATION, PAGE, SLOTS};
use testkit::scratch::{ScratchFile, open_read_only, open_shared};
use testkit::{Random, TestResult, assert_refused, open, open_with, refusal};

use crate::as_nobody;

/// Superblocks and coordination page, with zeros behind each, which every store has.
const HEAD: usize = forge::HEAP;
/// The first bytes of both superblocks.
const MAGIC: &[u8] = b"flagstone heap\r\n";
/// The first bytes of the coordination page while the file is being created.
const UNFINISHED: &[u8] = b"flagstone begun\n";

/// Returns everything that must not change: the file's identity, times, mode and bytes, and the
/// number of files.
fn look(file: &ScratchFile) -> io::Result<(String, Vec<u8>)> {
    let found = fs::metadata(file)?;
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    let files = fs::read_dir(file.folder())?.count();
    let id = format!("{} {:o} {times:?} {files}", found.ino(), found.mode());
    let bytes = if found.is_file() { fs::read(file)? } else { Vec::new() };
    Ok((id, bytes))
}

/// Returns the error of opening, with and without permission to create and with salvage; checks
/// that nothing changes.
#[track_caller]
fn refused_untouched(file: &ScratchFile) -> Result<()> {
    let before = look(file).expect("to look at it");
    let options = OpenOptions::new();
    refusal(open_with(file, &options.clone().salvage(true)));
    refusal(open_with(file, &options));
    assert!(before == look(file).expect("to look at it"), "it was changed");
    refused_without_permission_to_create(file)
}

/// Returns the error of opening without permission to create, in each way; checks that nothing
/// changes.
#[track_caller]
fn refused_without_permission_to_create(file: &ScratchFile) -> Result<()> {
    let before = look(file).expect("to look at it");
    let options = OpenOptions::new().create(false);
    refusal(options.open_copy(file));
    refusal(options.open_private(file));
    refusal(open_shared(file, &options));
    refusal(open_read_only(file));
    let error = refusal(open_with(file, &options));
    assert!(before == look(file).expect("to look at it"), "it was changed; {error}");
    assert!(error.to_string().starts_with(&file.display().to_string()), "{error}");
    Err(error)
}

/// Returns a closed store that holds `numbers`.
fn store(numbers: &[u64]) -> TestResult<ScratchFile> {
    let file = ScratchFile::new()?;
    let store = open_with(&file, &OpenOptions::new().log_bytes(64 * 1024))?;
    store.update(|tx| {
        let numbers = tx.alloc_slice_copy(numbers)?;
        tx.set_root("numbers", numbers)
    })?;
    store.close()?;
    Ok(file)
}

fn numbers(store: &Store) -> Result<Vec<u64>> {
    let tx = store.read()?;
    Ok(tx.at(tx.root::<[u64]>("numbers")?)?.to_vec())
}

/// Changes both superblocks and recomputes their checksums.
fn change_superblocks(file: &ScratchFile, change: impl Fn(&mut [u8])) -> io::Result<()> {
    let mut bytes = fs::read(file)?;
    forge::superblocks(&mut bytes, change);
    fs::write(file, bytes)
}

#[test]
fn a_folder_a_fifo_a_socket_and_a_device_are_named_in_the_error() -> TestResult {
    let [folder, fifo, socket] = [ScratchFile::new()?, ScratchFile::new()?, ScratchFile::new()?];
    fs::create_dir(&folder)?;
    mkfifoat(CWD, &*fifo, Mode::RUSR | Mode::WUSR)?;
    let _socket = std::os::unix::net::UnixListener::bind(&socket)?;
    assert_refused!(refused_untouched(&folder), NotAFile { found: "a directory", .. });
    assert_refused!(refused_untouched(&fifo), NotAFile { found: "a FIFO", .. });
    assert!(fs::metadata(&fifo)?.file_type().is_fifo());
    assert_refused!(refused_untouched(&socket), NotAFile { found: "a socket", .. });
    assert_refused!(open(Path::new("/dev/zero")), NotAFile { found: "a device", .. });
    Ok(())
}

#[test]
fn an_empty_file_is_reported_as_empty() -> TestResult {
    let file = ScratchFile::with(&[])?;
    assert_refused!(refused_without_permission_to_create(&file), EmptyFile { .. });
    expect_advice_to_create(&file);
    Ok(())
}

fn expect_advice_to_create(file: &ScratchFile) {
    let error = refusal(refused_without_permission_to_create(file));
    assert!(error.to_string().contains("create(true)"), "what to do is said: {error}");
}

#[test]
fn a_foreign_file_of_any_length_is_no_store() -> TestResult {
    let mut random = Random::new(7);
    for len in [1, 15, 16, 100, 4095, 5000, 2 * PAGE, 20_000, HEAD - 1, HEAD, 1 << 20] {
        let foreign = ScratchFile::with(&random.bytes(len))?;
        assert_refused!(refused_untouched(&foreign), NotAStore { .. });
        let zeros = ScratchFile::with(&vec![0; len])?;
        assert_refused!(refused_untouched(&zeros), NotAStore { .. });
    }
    Ok(())
}

#[test]
fn a_file_shorter_than_the_first_pages_is_too_short() -> TestResult {
    let whole = fs::read(store(&[1])?)?;
    for len in
        [16, 17, 511, 512, PAGE, SLOTS[1], SLOTS[1] + 16, COORDINATION, 3 * SLOTS[1], HEAD - 1]
    {
        let file = ScratchFile::with(&whole[..len])?;
        let found = len as u64;
        assert_refused!(refused_untouched(&file), TooShort { found_bytes, .. } if *found_bytes == found);
    }
    let mut second_alone = whole[..HEAD - 1].to_vec();
    second_alone[..PAGE].fill(0);
    assert_refused!(refused_untouched(&ScratchFile::with(&second_alone)?), TooShort { .. });
    Ok(())
}

#[test]
fn a_truncated_store_is_reported_as_truncated() -> TestResult {
    let file = store(&[7; 1000])?;
    let whole = fs::read(&file)?;
    let pages = (HEAD..whole.len()).step_by(PAGE);
    for len in pages.chain([HEAD + 1, HEAD + 5000, whole.len() - 1, whole.len() - 4095]) {
        let cut = ScratchFile::with(&whole[..len])?;
        assert_refused!(refused_untouched(&cut), Truncated { .. });
    }
    assert_eq!(numbers(&open(&file)?)?, [7; 1000]);
    Ok(())
}

#[test]
fn two_damaged_superblocks_are_reported() -> TestResult {
    let whole = fs::read(store(&[1])?)?;
    for positions in [[40, 70], [504, 511], [3, 504], [20, 24]] {
        let mut bytes = whole.clone();
        bytes[positions[0]] ^= 1;
        bytes[SLOTS[1] + positions[1]] ^= 0x80;
        let file = ScratchFile::with(&bytes)?;
        assert_refused!(refused_untouched(&file), SuperblocksDamaged { .. });
    }
    Ok(())
}

/// Returns a store whose last transaction is only in the log, as a crash leaves it.
fn crashed_store() -> TestResult<ScratchFile> {
    let (file, crashed) = (store(&[7; 100])?, ScratchFile::new()?);
    let store = open(&file)?;
    store.update(|tx| {
        let numbers = tx.root::<[u64]>("numbers")?;
        tx.at_mut(numbers).map(|numbers| numbers[99] = 8)
    })?;
    fs::copy(&file, &crashed)?;
    Ok(crashed)
}

#[test]
fn one_damaged_superblock_costs_nothing() -> TestResult {
    /// A byte of each field, and some unused bytes.
    const BYTES: [usize; 19] =
        [0, 16, 20, 24, 28, 32, 48, 64, 72, 80, 88, 96, 104, 112, 120, 128, 503, 504, 511];
    for (file, last) in [(store(&[7; 100])?, 7), (crashed_store()?, 8)] {
        let mut expected = [7; 100];
        expected[99] = last;
        let whole = fs::read(&file)?;
        for byte in BYTES.into_iter().flat_map(|byte| SLOTS.map(|slot| slot + byte)) {
            let mut bytes = whole.clone();
            bytes[byte] ^= 4;
            let damaged = ScratchFile::with(&bytes)?;
            for _ in 0..2 {
                let store = open(&damaged).map_err(|error| format!("{byte}: {error}"))?;
                assert_eq!(numbers(&store)?, expected, "byte {byte}");
                // Nothing else is wrong, and the next write repairs the superblock too.
                let report = store.check()?;
                assert!(
                    report.findings.iter().all(|found| found.file_offset < COORDINATION as u64)
                );
                store.update(|tx| tx.alloc(1u64).map(drop))?;
                store.check()?.into_result()?;
                store.close()?;
            }
        }
    }
    Ok(())
}

#[test]
fn another_version_or_byte_order_is_refused() -> TestResult {
    for version in [0u32, 1, 2, 4, u32::MAX] {
        let file = store(&[1])?;
        change_superblocks(&file, |block| forge::set_number32(block, 16, version))?;
        assert_refused!(refused_untouched(&file), UnknownVersion { found, known: 3, .. } if *found == version);
    }
    // A later version may store its checksum elsewhere.
    let mut bytes = fs::read(store(&[1])?)?;
    SLOTS.into_iter().for_each(|slot| bytes[slot + 16] = 4);
    assert_refused!(
        refused_untouched(&ScratchFile::with(&bytes)?),
        UnknownVersion { found: 4, .. }
    );
    let file = store(&[1])?;
    change_superblocks(&file, |block| block[20..24].reverse())?;
    assert_refused!(refused_untouched(&file), ForeignByteOrder { .. });
    Ok(())
}

/// In versions 1 and 2 the second superblock lies at 4096, and the heap begins at 16384.
#[test]
fn a_store_of_an_earlier_version_is_refused_as_one() -> TestResult {
    let earlier = |version, change: fn(&mut [u8])| {
        let whole = fs::read(store(&[7; 100])?)?;
        let mut bytes = whole[..16384].to_vec();
        bytes.copy_within(..512, PAGE);
        for at in [0, PAGE] {
            forge::superblock(&mut bytes[at..at + PAGE], |block| {
                forge::set_number32(block, 16, version);
                forge::set_number(block, 80, 61440);
            });
        }
        bytes.extend(&whole[HEAD..]);
        change(&mut bytes);
        TestResult::Ok(bytes)
    };
    let damages: [fn(&mut [u8]); 5] = [
        |_| (),
        // One of the superblocks is torn, or both are.
        |bytes| bytes[100] ^= 1,
        |bytes| bytes[PAGE + 100] ^= 1,
        |bytes| bytes[3] ^= 1,
        |bytes| [100, PAGE + 100].into_iter().for_each(|at| bytes[at] ^= 1),
    ];
    for (version, damage) in [1, 2].into_iter().flat_map(|version| damages.map(|it| (version, it)))
    {
        let bytes = earlier(version, damage)?;
        assert!(bytes.len() < HEAD, "such a file may be shorter than the head of a later one");
        for more in [0, HEAD] {
            let mut bytes = bytes.clone();
            bytes.resize(bytes.len() + more, 5);
            let file = ScratchFile::with(&bytes)?;
            assert_refused!(refused_untouched(&file), UnknownVersion { found, known: 3, .. } if *found == version);
        }
    }
    Ok(())
}

/// Returns files that a crash can leave while a store is being created.
fn unfinished() -> TestResult<Vec<Vec<u8>>> {
    let file = ScratchFile::new()?;
    let new = forge::closed(open_with(&file, &OpenOptions::new().log_bytes(64 * 1024))?, &file)?;
    let mark = COORDINATION..COORDINATION + UNFINISHED.len();
    let mut marked = vec![0; HEAD + 100 * PAGE];
    marked[mark.clone()].copy_from_slice(UNFINISHED);
    let mut torn = marked.clone();
    torn[..MAGIC.len()].copy_from_slice(MAGIC);
    let mut whole_heap = new.clone();
    whole_heap[..HEAD].copy_from_slice(&marked[..HEAD]);
    // Both superblocks are torn, down to bytes.
    let mut last = new;
    last[..HEAD].copy_from_slice(&marked[..HEAD]);
    last[..8].copy_from_slice(&MAGIC[..8]);
    last[SLOTS[1] + 3..SLOTS[1] + MAGIC.len()].copy_from_slice(&MAGIC[3..]);
    let shorter =
        [mark.end, mark.end + 1, COORDINATION + PAGE, HEAD].map(|len| marked[..len].to_vec());
    // Of the mark's write, the length is durable and the bytes are not, or a part of them.
    let mut cut = marked[..mark.end].to_vec();
    cut[mark.start + 5..].fill(0);
    let lost = vec![0; mark.end];
    Ok(shorter.into_iter().chain([marked, torn, whole_heap, last, cut, lost]).collect())
}

#[test]
fn an_unfinished_store_is_reported_or_created_again() -> TestResult {
    for bytes in unfinished()? {
        let file = ScratchFile::with(&bytes)?;
        assert_refused!(refused_without_permission_to_create(&file), Unfinished { .. });
        expect_advice_to_create(&file);
        let inode = fs::metadata(&file)?.ino();
        let store = open(&file)?;
        store.update(|tx| tx.root_or_insert_with("one", || 1u64).map(drop))?;
        store.check()?.into_result()?;
        store.close()?;
        assert_eq!(inode, fs::metadata(&file)?.ino());
        open_with(&file, &OpenOptions::new().create(false))?.check()?.into_result()?;
    }
    Ok(())
}

/// The unfinished mark alone does not permit flagstone to discard a file.
#[test]
fn a_marked_file_with_other_content_is_left_alone() -> TestResult {
    let used = fs::read(store(&[7; 100])?)?;
    let mark = COORDINATION..COORDINATION + UNFINISHED.len();
    let mut random = Random::new(3);
    // A store that was in use, and whose superblocks were both damaged later.
    let mut damaged = used.clone();
    damaged[mark.clone()].copy_from_slice(UNFINISHED);
    SLOTS.into_iter().for_each(|slot| damaged[slot + 504] ^= 0xff);
    let mut foreign = random.bytes(HEAD + PAGE);
    foreign[mark.clone()].copy_from_slice(UNFINISHED);
    let mut foreign_first_page = vec![0; HEAD + PAGE];
    foreign_first_page[mark.clone()].copy_from_slice(UNFINISHED);
    let mut foreign_behind = foreign_first_page.clone();
    foreign_first_page[100] = 1;
    foreign_behind[mark.end + 1] = 1;
    let mut short = vec![0; mark.end - 1];
    short[mark.start..].copy_from_slice(&UNFINISHED[1..]);
    // Zeros of another length are not what the mark's write leaves.
    let zeros = [mark.end - 1, mark.end + 1, HEAD + PAGE].map(|len| vec![0; len]);
    let marked = [damaged, foreign, foreign_first_page, foreign_behind, short];
    for bytes in marked.into_iter().chain(zeros) {
        refused_untouched(&ScratchFile::with(&bytes)?).expect_err("it is refused");
    }
    // Usable superblocks are used: a crash just before the end of the creation left the mark.
    let mut marked = used;
    marked[mark.clone()].copy_from_slice(UNFINISHED);
    let marked = ScratchFile::with(&marked)?;
    assert_eq!(numbers(&open(&marked)?)?, [7; 100]);
    assert!(!fs::read(&marked)?[mark].starts_with(UNFINISHED), "the mark is taken away");
    Ok(())
}

#[test]
fn an_empty_file_becomes_a_store_and_stays_the_same_file() -> TestResult {
    type Way = fn(&Path) -> Result<Store>;
    let ways: [Way; 3] = [
        |path| open(path),
        |path| OpenOptions::new().open_copy(path),
        |path| open_shared(path, &OpenOptions::new()),
    ];
    for way in ways {
        let named = tempfile::NamedTempFile::new()?;
        fs::set_permissions(named.path(), fs::Permissions::from_mode(0o640))?;
        let before = named.as_file().metadata()?;
        let store = way(named.path())?;
        store.update(|tx| tx.root_or_insert_with("one", || 1u64).map(drop))?;
        assert_refused!(open(named.path()), Locked { .. });
        store.close()?;
        let after = fs::metadata(named.path())?;
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
        open(named.path())?.check()?.into_result()?;
    }
    Ok(())
}

/// Some of these numbers are possible. A store that opens with them must not end the process, and
/// a file that is refused must not change.
#[test]
fn no_number_in_a_superblock_does_harm() -> TestResult {
    let whole = fs::read(store(&[7; 100])?)?;
    for field in (64..136).step_by(8) {
        for number in [u64::MAX, u64::MAX - 4095, 1 << 63, 1 << 62, 1 << 47, 4096, 8, 1, 0] {
            let file = ScratchFile::with(&whole)?;
            change_superblocks(&file, |block| forge::set_number(block, field, number))?;
            let before = look(&file)?;
            match open(&file) {
                Ok(store) => {
                    let _ = numbers(&store);
                    let _ = store.update(|tx| tx.alloc(1u64).map(drop));
                    let _ = store.close();
                }
                Err(error) => assert!(look(&file)? == before, "{field} {number:#x}: {error}"),
            }
        }
    }
    Ok(())
}

fn is_io(error: &Error, expected: io::ErrorKind) -> bool {
    matches!(error.kind(), ErrorKind::Io { source, .. } if source.kind() == expected)
}

#[test]
fn a_missing_file_is_created_only_with_permission_and_a_folder() -> TestResult {
    let file = ScratchFile::new()?;
    let error = refusal(open_with(&file, &OpenOptions::new().create(false)));
    assert!(matches!(error.kind(), ErrorKind::NoSuchFile { .. }), "{error}");
    assert!(error.to_string().contains("there is no such file"), "{error}");
    let nowhere = file.beside("no/such/folder/file");
    let error = refusal(open(&nowhere));
    assert!(is_io(&error, io::ErrorKind::NotFound), "{error}");
    assert!(error.to_string().contains("folder"), "{error}");
    assert!(std::error::Error::source(&error).is_none(), "its text is in the message: {error}");
    assert!(error.to_string().contains("No such file or directory"), "{error}");
    symlink(&nowhere, file.beside("link"))?;
    refusal(open(&file.beside("link")));
    assert_eq!(fs::read_dir(file.folder())?.count(), 1, "nothing was made but the link");
    fs::write(&file, "a file")?;
    refusal(open(&file.join("below a file")));
    assert_eq!(fs::read(&file)?, b"a file");
    Ok(())
}

#[test]
fn a_dangling_symlink_and_an_empty_path_are_reported() -> TestResult {
    let file = ScratchFile::new()?;
    symlink(file.beside("nowhere"), &file)?;
    let says = |path: &Path, what: &str| {
        let error = refusal(open(path));
        assert!(error.to_string().contains(what), "{error}");
    };
    says(&file, "a symbolic link whose target does not exist");
    assert!(file.is_symlink() && !file.exists());
    says(Path::new(""), "the path has no file name");
    Ok(())
}

#[test]
fn a_name_may_be_as_long_as_the_file_system_allows() -> TestResult {
    let file = ScratchFile::new()?;
    open(&file.beside(&"n".repeat(255)))?.close()?;
    refusal(open(&file.beside(&"n".repeat(256))));
    assert_eq!(fs::read_dir(file.folder())?.count(), 1);
    Ok(())
}

#[test]
fn without_permission_nothing_is_opened_or_created() -> TestResult {
    let file = store(&[1])?;
    fs::set_permissions(file.folder(), fs::Permissions::from_mode(0o555))?;
    for mode in [0o444, 0o000] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        let before = look(&file)?;
        let error = as_nobody(|| refusal(open(&file)));
        assert!(is_io(&error, io::ErrorKind::PermissionDenied), "{error}");
        assert!(before == look(&file)?);
    }
    let new = file.beside("new");
    let error = as_nobody(|| refusal(open(&new)));
    assert!(is_io(&error, io::ErrorKind::PermissionDenied), "{error}");
    fs::set_permissions(file.folder(), fs::Permissions::from_mode(0o755))?;
    Ok(())
}
