//! Promise: recovery writes over nothing that it has still to read. A log whose records are whole,
//! and which no program has written, is refused before a byte of the file changes, or ends before
//! the record that no program would have written.

use flagstone::{ErrorKind, OpenOptions};
use testkit::forge::{self, HEAP, PAGE};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, open_with};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const LOG_BYTES: u64 = 64 * 1024;
const COMMIT: u8 = 1;
const SKIP: u8 = 2;
const SPILL: u8 = 3;
/// Pages of the file past the heap.
const MORE_PAGES: u64 = 8;

/// A store that was not closed, and the numbers of it that records need.
struct Sample {
    bytes: Vec<u8>,
    epoch: u64,
    position: u64,
    heap_bytes: u64,
    /// The first page of the log, in the heap.
    log_page: u64,
}

impl Sample {
    fn new() -> TestResult<Self> {
        let path = ScratchFile::new()?;
        let store = open_with(&path, &OpenOptions::new().log_bytes(LOG_BYTES))?;
        store.update(|tx| tx.alloc(1u64).map(drop))?;
        let mut bytes = forge::closed(store, &path)?;
        forge::superblocks(&mut bytes, |block| block[28] = 0);
        let newest = forge::newest(&bytes);
        let [epoch, log, position, heap_bytes] =
            [72, 80, 104, 120].map(|field| forge::number(&bytes, newest + field));
        let log_page = (log - HEAP as u64) / PAGE as u64;
        bytes.resize(HEAP + (heap_bytes + MORE_PAGES * PAGE as u64) as usize, 0);
        Ok(Self { bytes, epoch, position, heap_bytes, log_page })
    }

    /// Returns the first word of the heap's header, with another number of pages.
    fn head(&self, heap_bytes: u64) -> u64 {
        ((forge::number(&self.bytes, HEAP) >> 32) << 32) | (heap_bytes / PAGE as u64)
    }

    /// Returns the file with these records: kind, length of the heap, body.
    fn with(&self, records: &[(u8, u64, Vec<u64>)]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let bodies: Vec<_> = records.iter().map(|(kind, _, body)| (*kind, body.clone())).collect();
        let ranges = forge::log_of(&mut bytes, &bodies, 0);
        for ((_, heap_bytes, _), range) in records.iter().zip(&ranges) {
            forge::set_number(&mut bytes, range.start + 40, *heap_bytes);
        }
        forge::reseal(&mut bytes, &ranges);
        bytes
    }
}

/// The entry that sets a word of the heap's header.
fn header_word(word: u64, value: u64) -> [u64; 2] {
    [1 << word, value]
}

/// The entries that say that a page is all zero, or was written in place.
fn zero(page: u64) -> [u64; 2] {
    [page << 8, 1 << 8 | 1]
}

fn bulk(page: u64) -> [u64; 2] {
    [page << 8, 1 << 8 | 2]
}

/// Opens the file in rounds of one page. Returns how many bytes of log were replayed, or `None` if
/// it was refused as damaged; then no byte has changed.
fn replayed_bytes(bytes: &[u8]) -> TestResult<Option<u64>> {
    let file = ScratchFile::with(bytes)?;
    let options = OpenOptions::new().log_bytes(LOG_BYTES);
    #[cfg(feature = "sim")]
    let options = options.round_pages(1);
    match open_with(&file, &options) {
        Ok(store) => Ok(Some(store.stats()?.replayed_bytes)),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{error}");
            assert!(std::fs::read(&file)? == bytes, "refused, and a byte has changed");
            Ok(None)
        }
    }
}

#[test]
fn a_spill_within_a_heap_is_no_record() -> TestResult {
    let sample = Sample::new()?;
    let (heap, page) = (sample.heap_bytes, PAGE as u64);
    let none = xxh3_64_with_seed(&[], sample.epoch);
    let is_record = |heap_bytes, offset| -> TestResult<bool> {
        let bytes = sample.with(&[(SPILL, heap_bytes, vec![offset, 0, none])]);
        Ok(replayed_bytes(&bytes)?.is_some_and(|bytes| bytes > 0))
    };
    assert!(is_record(heap, heap)?);
    assert!(is_record(heap, heap + page)?);
    assert!(!is_record(heap, heap - page)?, "it lies in the heap before the record");
    let bytes = sample.with(&[
        (COMMIT, heap + 2 * page, header_word(0, sample.head(heap + 2 * page)).to_vec()),
        (COMMIT, heap, header_word(0, sample.head(heap)).to_vec()),
        (SPILL, heap, vec![heap + page, 0, none]),
    ]);
    let without = sample.with(&[
        (COMMIT, heap + 2 * page, header_word(0, sample.head(heap + 2 * page)).to_vec()),
        (COMMIT, heap, header_word(0, sample.head(heap)).to_vec()),
    ]);
    let replayed = replayed_bytes(&without)?;
    assert!(replayed.is_some_and(|bytes| bytes > 0));
    assert_eq!(replayed_bytes(&bytes)?, replayed, "it lies in an earlier heap");
    Ok(())
}

#[test]
fn no_record_changes_pages_of_a_log_that_a_later_one_names() -> TestResult {
    let sample = Sample::new()?;
    let heap = sample.heap_bytes;
    let log_words = [5, 6].map(|word| forge::number(&sample.bytes, HEAP + 8 * word as usize));
    let place = log_words.iter().position(|word| *word as u32 == sample.log_page as u32);
    let word = 5 + place.expect("the header names the log") as u64;
    let named = header_word(word, log_words[word as usize - 5]);
    let page = sample.log_page + 3;
    let bytes = sample.with(&[
        (COMMIT, heap, header_word(word, 0).to_vec()),
        (COMMIT, heap, zero(page).to_vec()),
        (COMMIT, heap, named.to_vec()),
    ]);
    assert_eq!(replayed_bytes(&bytes)?, None, "a round would write into the log");
    let bytes = sample.with(&[
        (COMMIT, heap, header_word(word, 0).to_vec()),
        (COMMIT, heap, [zero(page), named].concat()),
    ]);
    assert_eq!(replayed_bytes(&bytes)?, None, "the same, in one record");
    let harmless = [(COMMIT, heap, header_word(word, 0).to_vec()), (COMMIT, heap, named.to_vec())];
    assert!(replayed_bytes(&sample.with(&harmless))?.is_some_and(|bytes| bytes > 0));
    Ok(())
}

#[test]
fn no_page_of_an_earlier_heap_was_written_in_place() -> TestResult {
    let sample = Sample::new()?;
    let (heap, more) = (sample.heap_bytes, sample.heap_bytes + 2 * PAGE as u64);
    let grown = header_word(0, sample.head(more));
    let page = heap / PAGE as u64;
    let bytes = sample.with(&[(COMMIT, more, [grown, bulk(page)].concat())]);
    assert!(replayed_bytes(&bytes)?.is_some_and(|bytes| bytes > 0), "past all heaps before");
    let bytes = sample.with(&[(COMMIT, more, grown.to_vec()), (COMMIT, more, bulk(page).to_vec())]);
    assert_eq!(replayed_bytes(&bytes)?, None, "an earlier record had the page in its heap");
    let bytes = sample.with(&[(COMMIT, more, [grown, bulk(page - 1)].concat())]);
    assert_eq!(replayed_bytes(&bytes)?, None, "the heap had the page before");
    let line = [((page * 64) << 8) | 1, 7];
    let bytes = sample.with(&[(COMMIT, more, [grown, line, bulk(page)].concat())]);
    assert_eq!(replayed_bytes(&bytes)?, None, "a round may have written the line");
    let bytes = sample.with(&[(COMMIT, more, [grown, bulk(page), line].concat())]);
    assert!(replayed_bytes(&bytes)?.is_some_and(|bytes| bytes > 0), "changed afterwards");
    Ok(())
}

#[test]
fn no_heap_ends_within_a_page() -> TestResult {
    let sample = Sample::new()?;
    let heap = sample.heap_bytes;
    let word = header_word(0, sample.head(heap)).to_vec();
    for other in [heap + 8, heap - 8, 8, 0] {
        let bytes = sample.with(&[(COMMIT, other, word.clone()), (COMMIT, heap, word.clone())]);
        assert_eq!(replayed_bytes(&bytes)?, None, "a heap of {other} bytes");
    }
    Ok(())
}

/// The end of such a log would be a reach that no superblock can have.
#[test]
fn no_log_is_longer_than_its_ring() -> TestResult {
    const LEAD_BYTES: u64 = PAGE as u64;
    let mut sample = Sample::new()?;
    // A commit in the ring's last block, a skip to the ring's end, and one of a whole lap.
    let position = sample.position.next_multiple_of(LOG_BYTES) + LOG_BYTES - LEAD_BYTES;
    forge::superblocks(&mut sample.bytes, |block| {
        forge::set_number(block, 104, position);
        forge::set_number(block, 128, position);
    });
    let last_page = sample.heap_bytes / PAGE as u64 - 1;
    let mut bytes = sample.with(&[(COMMIT, sample.heap_bytes, zero(last_page).to_vec())]);
    let record = forge::records(&bytes).remove(0);
    let len_bytes = record.len() as u64;
    let chain = forge::number(&bytes, record.start + 16);
    let chain = skip(&mut bytes, &sample, position + len_bytes, LEAD_BYTES - len_bytes, chain);
    skip(&mut bytes, &sample, position + LEAD_BYTES, LOG_BYTES, chain);
    assert_eq!(replayed_bytes(&bytes)?, Some(LEAD_BYTES));
    Ok(())
}

/// Puts a skip of `len_bytes` at a position; returns its checksum.
fn skip(bytes: &mut [u8], sample: &Sample, position: u64, len_bytes: u64, chain: u64) -> u64 {
    let base = forge::number(bytes, forge::newest(bytes) + 96);
    let log = HEAP as u64 + sample.log_page * PAGE as u64;
    let at = (log + (position - base) % LOG_BYTES) as usize;
    let header = &mut bytes[at..at + forge::RECORD_HEADER];
    header.fill(0);
    header[..4].copy_from_slice(&[b'f', b'l', b'r', SKIP]);
    forge::set_number32(header, 4, len_bytes as u32);
    forge::set_number(header, 8, position);
    forge::set_number(header, 24, chain);
    let sum = xxh3_64_with_seed(header, sample.epoch);
    forge::set_number(header, 16, sum);
    sum
}

/// Recovery would count past what a superblock may say, and leave none that is valid.
#[test]
fn a_store_that_cannot_count_on_is_not_opened() -> TestResult {
    const LIMIT: u64 = 1 << 62;
    let sample = Sample::new()?;
    for generation in [LIMIT / 2, LIMIT / 2 + 2, LIMIT] {
        let mut bytes = sample.bytes.clone();
        forge::superblocks(&mut bytes, |block| forge::set_number(block, 64, generation));
        assert_eq!(replayed_bytes(&bytes)?.is_some(), generation == LIMIT / 2, "{generation}");
    }
    for shift in [LIMIT / 4, LIMIT - LOG_BYTES * 16] {
        let mut bytes = sample.bytes.clone();
        forge::superblocks(&mut bytes, |block| {
            [96, 104, 128].into_iter().for_each(|field| {
                let number = forge::number(block, field);
                forge::set_number(block, field, number + shift);
            });
        });
        assert_eq!(replayed_bytes(&bytes)?.is_some(), shift == LIMIT / 4, "{shift}");
    }
    Ok(())
}
