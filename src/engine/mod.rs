//! The protocol: commit, flush, checkpoint, recovery.
//!
//! **Owns** the order in which log and heap reach the disk, the superblocks, and the positions that
//! say what is durable and what is visible. **Must not know** the heap's content beyond its header,
//! or who allocates it.
//!
//! docs/design/commit.md and its neighbours argue the protocol step by step: the state of disk and
//! memory if the power, the process or the disk fails at that step.
//!
//! # Invariants
//!
//! `E1` The protocol writes a heap page to the file only from an image that holds nothing but
//! durable records, or as a bulk page that no state or image refers to. `E2` Both superblocks name
//! complete states: the log holds every record from the older one's position on. Before recovery
//! writes a page with what records past that position say, the newest one's reach covers them. `E3` One sync runs
//! at a time; after a failed one nothing more is written. `E4` The file is longer than any heap
//! that a superblock, a record or an image in use names.
//!
//! # Files
//!
//! `core` holds what all steps share, `state` what each lock guards. Each step is an `impl Core` in
//! the file of its subject, where one function names its parts in order: `append_commit`,
//! `flush_all`, `run_checkpoint`, `Recovered::find`, `persist_recovered_state`, `move_log`,
//! `take_over`.
//!
//! # Lock order
//!
//! write lock, writer, checkpointer, flush leader, images (of a shared store), pool, log. The pool's is
//! held to change lists alone, and never with the log's.

mod blocked_log;
mod checkpoint;
mod checkpoint_progress;
mod commit;
mod core;
mod deferred;
mod dirty_pages;
mod dirty_scan;
mod failures;
mod file_length;
mod flush;
mod flush_leader;
mod format_store;
mod log_move;
mod log_region;
mod log_space;
mod memory;
mod open;
mod pace;
mod poison;
mod recovery;
mod replay_horizon;
mod rounds;
mod settings;
mod sharing;
mod snapshot;
mod spill;
mod state;
mod superblocks;
mod throttle;
mod writer;

pub(crate) use self::core::Core;
pub(crate) use commit::Committed;
pub(crate) use format_store::{create, create_in_place, new_file_bytes};
pub(crate) use log_region::{LogStep, Region};
pub(crate) use recovery::{LogEnd, OnDamage, Recovered};
pub(crate) use settings::{Access, Settings, random_from_bytes};
pub(crate) use sharing::WriteLock;
pub use sharing::{ProcessInfo, SnapshotInfo};
pub(crate) use state::Writer;
pub(crate) use superblocks::{expect_store, read_head};
