//! Promise: whatever the bytes of a file are, opening, checking, reading and changing it gives
//! values or errors: no undefined behaviour, panic, hang or unbounded allocation.
//!
//! Input: a byte of flags, whose highest four bits choose a fixture; a byte of options; and the
//! file, as it is or in the short form of `flagstone_fuzz::sparse_file`. A program of calls
//! precedes the short form, and the checksums of such a file can be repaired, so the fuzzer
//! reaches the code behind them.

#![no_main]

use std::collections::BTreeSet;

use flagstone::sim::MemoryDisk;
use flagstone_fuzz::program::use_file;
use flagstone_fuzz::repair::Repair;
use flagstone_fuzz::samples::with_ground;
use flagstone_fuzz::sampling::Chance;
use flagstone_fuzz::sparse_file::expand;
use libfuzzer_sys::fuzz_target;

/// Length of the program before a file in the short form.
const PROGRAM_BYTES: usize = 24;

fuzz_target!(|input: &[u8]| {
    let chance = Chance::of(input);
    let [flags, bits, rest @ ..] = input else { return };
    let (program, file) = match flags & 1 {
        0 => (&[][..], rest.to_vec()),
        _ => {
            let (program, file) = rest.split_at(rest.len().min(PROGRAM_BYTES));
            let mut file = expand(file);
            let pages: BTreeSet<usize> = (0..file.len() / 4096).collect();
            Repair::from_bits(flags >> 1).run(&mut file, &pages);
            (program, file)
        }
    };
    with_ground(|ground| {
        let fixture = ground.fixture((flags >> 4).into());
        use_file(fixture, &MemoryDisk::of(file), *bits, program, &[], chance);
    });
});
