//! Promise: each process that shares a store sees the last commit, and every call does what its
//! counterpart in the standard library does. A process that is killed at any of its calls loses
//! nothing that was committed. Whatever a power cut leaves opens as one committed state, no older
//! than the last durable one.
//!
//! Input: a byte that chooses a fixture, a byte of options, and a program
//! (`flagstone_fuzz::program`), in which a failing disk stands for a killed process.

#![no_main]

use flagstone_fuzz::samples::with_program;
use flagstone_fuzz::sharing::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| with_program(input, run));
