//! Promise: whatever a file contains, no object is in the heap header. Images read the position
//! of the log from there, and it changes under all of them: an object there would give the
//! program references to bytes that change.

use flagstone::{Link, OpenOptions, Store};
use testkit::forge::{self, HEAP, PAGE};
use testkit::{TestResult, assert_refused, open_with};

/// Fields of the heap header.
const ROOTS: usize = 24;
const LOG: usize = 40;
/// The size of an entry of the root directory, and the offsets of its fields.
const ROOT: usize = 32;
const TYPE_NUMBER: usize = 12;
const OFFSET: usize = 16;

/// Returns a closed store with the roots `blob` and `visits`, in this order.
fn sample(folder: &tempfile::TempDir) -> TestResult<Vec<u8>> {
    let path = folder.path().join("sample");
    let store = open_with(&path, &options())?;
    store.update(|tx| {
        let _ = tx.root_or_insert_with("visits", || 0u64)?;
        let blob = tx.alloc_slice_copy(&[1u8; PAGE])?;
        tx.set_root("blob", blob)
    })?;
    forge::closed(store, &path)
}

fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024)
}

fn open(folder: &tempfile::TempDir, bytes: &[u8]) -> TestResult<Store> {
    let path = folder.path().join("forged");
    std::fs::write(&path, bytes)?;
    Ok(open_with(&path, &options())?)
}

/// Describes page 0 as a run of this type.
fn claim_the_header(bytes: &mut [u8], type_number: u32) {
    let descriptor = HEAP + PAGE;
    bytes[descriptor] = 2;
    forge::set_number32(bytes, descriptor + 4, type_number);
    forge::set_number32(bytes, descriptor + 12, 1);
    forge::set_number(bytes, descriptor + 24, PAGE as u64);
}

#[test]
fn its_page_described_as_an_object_is_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut bytes = sample(&folder)?;
    let roots = HEAP + forge::number32(&bytes, HEAP + ROOTS) as usize * PAGE;
    let type_of_visits = forge::number32(&bytes, roots + ROOT + TYPE_NUMBER);
    claim_the_header(&mut bytes, type_of_visits);
    let log = u64::from(forge::number32(&bytes, HEAP + LOG));
    forge::set_number(&mut bytes, roots + OFFSET, log * PAGE as u64);
    forge::set_number(&mut bytes, roots + ROOT + OFFSET, LOG as u64);
    let store = open(&folder, &bytes)?;
    let blob = |store: &Store| -> flagstone::Result<usize> {
        let tx = store.read()?;
        tx.at(tx.root::<[u8]>("blob")?).map(<[u8]>::len)
    };
    assert_refused!(blob(&store), LinkOutOfBounds { .. } | LinkNotLive { .. });
    let mut tx = store.write()?;
    let visits: Link<u64> = tx.root("visits")?;
    assert_refused!(tx.at_mut(visits), LinkNotLive { .. });
    assert_refused!(tx.put(visits, 7), LinkNotLive { .. });
    assert_refused!(tx.free(visits), LinkNotWhole { .. });
    // The refused requests left nothing behind, and the log has not moved.
    tx.commit()?;
    assert_refused!(blob(&store), LinkOutOfBounds { .. } | LinkNotLive { .. });
    let _ = store.update(|tx| tx.alloc(1u64))?;
    Ok(())
}

#[test]
fn its_page_described_as_the_root_directory_is_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let mut bytes = sample(&folder)?;
    forge::set_number(&mut bytes, HEAP + ROOTS, 1 << 32);
    forge::set_number(&mut bytes, HEAP + ROOTS + 8, 3);
    claim_the_header(&mut bytes, 0);
    // The second root of such a directory: the first word, the number of roots, is read as the
    // position of its name, and the page count of the log as the name's length.
    let (start, len) = (HEAP + 3, forge::number32(&bytes, HEAP + LOG) as usize);
    let name = std::str::from_utf8(&bytes[start..][..len])?.to_string();
    let log = bytes[HEAP + LOG..][..16].to_vec();
    let store = open(&folder, &bytes)?;
    let mut tx = store.write()?;
    assert_refused!(tx.remove_root(&name), Corrupt { .. });
    let link = tx.alloc(1u64)?;
    assert!(tx.set_root("zzz", link).is_err());
    tx.commit()?;
    let after = forge::closed(store, &folder.path().join("forged"))?;
    assert_eq!(after[HEAP + LOG..][..16], log);
    Ok(())
}
