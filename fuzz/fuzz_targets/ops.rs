//! Promise: every call does what its counterpart in the standard library does; a transaction is all
//! or nothing; and whatever a power cut or a failing disk leaves opens as exactly one committed
//! state, no older than the last durable one.
//!
//! Input: a byte that chooses a fixture, a byte of options, and a program
//! (`flagstone_fuzz::program`).

#![no_main]

use flagstone_fuzz::power::run;
use flagstone_fuzz::samples::with_program;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| with_program(input, run));
