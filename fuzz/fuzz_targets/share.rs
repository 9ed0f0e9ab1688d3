//! Promise: of processes that share a store each sees what was committed last, and every call
//! does what its counterpart in the standard library does; one that is killed at any of its
//! calls takes nothing with it that was committed; and what a power cut leaves opens as one
//! committed state, none older than the last durable one.
//!
//! Input: a byte that names a fixture, one of options, and a program (`flagstone_fuzz::program`),
//! in which a failing disk is a process that is killed.

#![no_main]

use flagstone_fuzz::samples::with_program;
use flagstone_fuzz::sharing::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| with_program(input, run));
