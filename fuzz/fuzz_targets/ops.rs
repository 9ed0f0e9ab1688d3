//! Promise: every call does what its counterpart in the standard library does; a
//! transaction is all or nothing; and whatever a power cut or a failing disk leaves opens
//! as exactly one committed state, none older than the last durable one.
//!
//! Input: a byte that names a shelf, one of options, and a program (`flagstone_fuzz::program`).

#![no_main]

use flagstone_fuzz::power::run;
use flagstone_fuzz::samples::Ground;
use flagstone_fuzz::sampling::Chance;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static GROUND: Ground = Ground::default();
}

fuzz_target!(|input: &[u8]| {
    let chance = Chance::of(input);
    let [shelf, options, program @ ..] = input else { return };
    GROUND.with(|ground| {
        let (bytes, state) = ground.empty((*shelf).into());
        let shelf = ground.shelf((*shelf).into());
        run(shelf, *options, bytes.clone(), state.clone(), program, chance);
    });
});
