//! Promise: recovery from any log gives a store or an error: no undefined behaviour, panic, hang or
//! unbounded allocation. A store that it gave can be opened again.
//!
//! Input: records with valid checksums and hostile entries, or bytes for the ring. A run does
//! little more than open a store of minimal size: `damage` tests what collections make of
//! unchecked bytes.

#![no_main]

use arbitrary::Arbitrary;
use flagstone::sim::MemoryDisk;
use flagstone_fuzz::forged_log::{ForgedLog, with_log};
use flagstone_fuzz::program::recover;
use flagstone_fuzz::samples::{Ground, with_ground};
use flagstone_fuzz::sampling::read;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    options: u8,
    log: Log,
}

#[derive(Arbitrary, Debug)]
enum Log {
    Forged(ForgedLog),
    Raw { at: u16, bytes: Vec<u8> },
}

/// A fixture of one small collection: each run copies the store.
const FIXTURE: usize = 12;

fn file(ground: &Ground, log: &Log) -> Vec<u8> {
    match log {
        Log::Forged(log) => with_log(ground.closed(FIXTURE), log),
        Log::Raw { at, bytes } => {
            let sample = ground.logged(FIXTURE);
            let mut file = sample.bytes.clone();
            let at = sample.log.start + usize::from(*at) % sample.log.len();
            let len = bytes.len().min(sample.log.end - at);
            file[at..at + len].copy_from_slice(&bytes[..len]);
            file
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((input, chance)) = read::<Input>(bytes) else { return };
    with_ground(|ground| {
        let disk = MemoryDisk::of(file(ground, &input.log));
        recover(ground.fixture(FIXTURE), &disk, input.options, chance);
    });
});
