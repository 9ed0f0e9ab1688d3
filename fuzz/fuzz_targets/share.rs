//! Promise: of processes that share a store each sees what was committed last, and every call
//! does what its counterpart in the standard library does; one that is killed at any of its
//! calls takes nothing with it that was committed; and what a power cut leaves opens as one
//! committed state, none older than the last durable one.
//!
//! Input: a byte that names a shelf, one of options, and a program (`flagstone_fuzz::program`),
//! in which a failing disk is a process that is killed.

#![no_main]

use flagstone_fuzz::samples::Ground;
use flagstone_fuzz::sampling::Chance;
use flagstone_fuzz::sharing::run;
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
