//! The allocator: typed slabs and runs of pages.
//!
//! **Owns** the page descriptors, the free runs, the slabs, and the heap's length. **Must not
//! know** Rust types: it works with registry numbers, sizes and alignments.
//!
//! All its structures are plain structs in the heap, changed in the transaction that allocates. An
//! allocation is thus atomic with the data that uses it, and a crash needs no separate recovery.
//!
//! # Invariants
//!
//! `A1` Every page below the heap's end has a descriptor, and the first page of a run or a free
//! run records its length. `A2` Two free runs never touch. `A3` The list of a type and slot size
//! holds exactly the slabs that have a free slot. `A4` Every value from the file is validated
//! before use: a damaged structure is an error, never an endless loop or a write to another
//! allocation's page.

#![forbid(unsafe_code)]

mod allocate;
mod descriptors;
mod free_runs;
mod pages;
mod request;
mod segments;
mod slabs;
mod system;
mod trim;

pub(crate) use allocate::{allocate, expect_whole, free, type_entry_offset};
pub(crate) use free_runs::{long_free_runs, unused_runs};
pub(crate) use pages::{
    allocate_log_region, allocate_log_region_within, free_log_region, heap_pages_without,
};
pub(crate) use request::Request;
pub(crate) use system::{SystemArray, free_bytes, grow_array, store_bytes};
pub(crate) use trim::trim_end;
