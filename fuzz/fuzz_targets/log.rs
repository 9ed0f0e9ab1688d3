//! Promise: recovery from any log gives a store or an error: no undefined behaviour,
//! panic, hang, or allocation without bounds; and what it gave can be opened again.
//!
//! Input: records with right checksums and hostile entries, or bytes for the ring.

#![no_main]

use arbitrary::Arbitrary;
use flagstone::sim::MemoryDisk;
use flagstone_fuzz::forged_log::{ForgedLog, with_log};
use flagstone_fuzz::program::use_file;
use flagstone_fuzz::samples::Ground;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    shelf: u8,
    options: u8,
    program: [[u8; 4]; 4],
    log: Log,
}

#[derive(Arbitrary, Debug)]
enum Log {
    Forged(ForgedLog),
    Raw { at: u16, bytes: Vec<u8> },
}

thread_local! {
    static GROUND: Ground = Ground::default();
}

fn file(ground: &Ground, shelf: usize, log: &Log) -> Vec<u8> {
    match log {
        Log::Forged(log) => with_log(ground.closed(shelf), log),
        Log::Raw { at, bytes } => {
            let sample = ground.sample(shelf, 1);
            let mut file = sample.bytes.clone();
            let at = sample.log.start + usize::from(*at) % sample.log.len();
            let len = bytes.len().min(sample.log.end - at);
            file[at..at + len].copy_from_slice(&bytes[..len]);
            file
        }
    }
}

fuzz_target!(|input: Input| {
    GROUND.with(|ground| {
        let shelf = input.shelf.into();
        let disk = MemoryDisk::of(file(ground, shelf, &input.log));
        let program = input.program.as_flattened();
        use_file(ground.shelf(shelf), &disk, input.options, program, &[]);
    });
});
