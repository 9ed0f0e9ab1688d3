//! Promise: a store that was damaged in any way, and is then used in any way, gives values or
//! errors. If `check` finds nothing and no checksum was forged, the store holds a committed state,
//! and works.

#![no_main]

use arbitrary::Arbitrary;
use flagstone::sim::MemoryDisk;
use flagstone_fuzz::damage::{Edit, damaged};
use flagstone_fuzz::program::use_file;
use flagstone_fuzz::repair::Repair;
use flagstone_fuzz::samples::with_ground;
use flagstone_fuzz::sampling::read;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    fixture: u8,
    sample: u8,
    options: u8,
    repair: u8,
    edits: Vec<Edit>,
    program: Vec<[u8; 4]>,
}

fuzz_target!(|bytes: &[u8]| {
    let Some((input, chance)) = read::<Input>(bytes) else { return };
    with_ground(|ground| {
        let fixture = ground.fixture(input.fixture.into());
        let sample = ground.sample(input.fixture.into(), input.sample.into());
        let repair = Repair::from_bits(input.repair);
        let file = damaged(sample, &input.edits, repair);
        let believed = if repair.is_none() { &sample.states[..] } else { &[] };
        let disk = MemoryDisk::of(file);
        use_file(fixture, &disk, input.options, input.program.as_flattened(), believed, chance);
    });
});
