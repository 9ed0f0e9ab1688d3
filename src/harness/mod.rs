//! Reopen and verify: evidence that a structure survives crashes.
//!
//! You built something on flagstone: a list, an index, a whole application's data. Describe its
//! random changes and its invariants, and the [`Harness`] runs it through random histories:
//! steps, durable and deferred commits, rollbacks, savepoints, snapshots pinned across commits
//! and checkpoints, reopenings, and kills at any point, of the kind that you ask for. Each time
//! the store is opened, its content is compared with what is expected.
//!
//! ```
//! use flagstone::harness::{Choices, Harness, Subject, Verdict};
//! use flagstone::{Link, ReadTx, WriteTx, persist};
//!
//! #[persist]
//! struct Node {
//!     value: u64,
//!     next: Link<Node>,
//! }
//!
//! #[derive(Debug)]
//! enum Step {
//!     Push(u64),
//!     Pop,
//! }
//!
//! struct Stack;
//!
//! impl Subject for Stack {
//!     type Model = Vec<u64>;
//!     type Step = Step;
//!
//!     fn choose(&self, choices: &mut Choices, model: &Vec<u64>) -> Step {
//!         if model.is_empty() || !choices.one_in(3) {
//!             Step::Push(choices.below(100))
//!         } else {
//!             Step::Pop
//!         }
//!     }
//!
//!     fn apply(&self, tx: &mut WriteTx<'_>, step: &Step, _model: &Vec<u64>) -> Verdict {
//!         let head = tx.root::<Node>("head")?;
//!         match *step {
//!             Step::Push(value) => {
//!                 let node = tx.alloc(Node { value, next: head })?;
//!                 tx.set_root("head", node)?;
//!             }
//!             Step::Pop => {
//!                 let next = tx.at(head)?.next;
//!                 tx.set_root("head", next)?;
//!                 tx.free(head)?; // without this line: a leak, found in 4 steps or so
//!             }
//!         }
//!         Ok(())
//!     }
//!
//!     fn advance(&self, model: &mut Vec<u64>, step: &Step) {
//!         match *step {
//!             Step::Push(value) => model.push(value),
//!             Step::Pop => drop(model.pop()),
//!         }
//!     }
//!
//!     fn verify(&self, tx: &ReadTx<'_>, model: &Vec<u64>) -> Verdict {
//!         let mut at = tx.root::<Node>("head")?;
//!         for value in model.iter().rev() {
//!             let node = tx.get(at)?.ok_or("the list is too short")?;
//!             if node.value != *value {
//!                 return Err(format!("found {}, expected {value}", node.value).into());
//!             }
//!             at = node.next;
//!         }
//!         if at.is_null() { Ok(()) } else { Err("the list is too long".into()) }
//!     }
//! }
//!
//! let summary = Harness::new().run(|| Stack)?;
//! assert!(summary.power_cuts > 500);
//! # Ok::<(), flagstone::harness::Failure>(())
//! ```
//!
//! # What is checked
//!
//! In each transaction the harness sets a root of its own to the number of the state that the
//! transaction makes. A store that was killed thus says which state it claims to hold, and the
//! harness checks that claim:
//!
//! - The state was committed, and is no older than the last acknowledged commit: a durable one
//!   for a power cut, any commit that has returned for the death of a process.
//! - [`Subject::verify`] agrees that the content matches the model of that state.
//! - [`Store::check`](crate::Store::check) finds no damage, no allocation that no root reaches
//!   ([unless allowed](Harness::allow_unreachable)), and no dangling link ([unless
//!   allowed](Harness::allow_dangling)).
//! - The store is mapped at another address than before, so a stored address would be found.
//!
//! While a store is open, the harness also compares each commit, each rollback and each pinned
//! snapshot.
//!
//! # Two kinds of kills
//!
//! With [`Kills::PowerCuts`] the store is on a simulated disk ([`SimDisk`](crate::sim::SimDisk)),
//! whose calls fail from some point on, in the middle of a commit or of a recovery. The store is
//! then opened from the synced data and any part of the rest. This finds commits that were
//! acknowledged too early and writes in the wrong order. A run takes milliseconds.
//!
//! With [`Kills::Sigkill`] the store is a file, and a child process works on it until it is
//! killed. This finds state that a program keeps in memory and misses after a restart, including
//! statics. Such memory survives a simulated cut, unless it is in the subject, which is made anew
//! each time. The child is this program, run again: a test by its name, another program with its
//! own arguments or those of [`Harness::child_arguments`]. Until the child reaches
//! [`Harness::run`], it does what the program does, so keep that short.
//!
//! # What it cannot check
//!
//! The harness begins and ends the transactions, and a step runs within one. It cannot run code
//! that commits, such as a function that takes a [`Store`](crate::Store), so it does not see an
//! invariant that is broken between two commits of such a function. It can test a step that does
//! both parts in one transaction.
//!
//! # When it fails
//!
//! The [`Failure`] has the seed, the violation, and the shortest history found that violates a
//! promise of the same kind:
//!
//! ```text
//! Unreachable: check: 1 allocations lost, such as heap offset 0x20010: Node of 16 bytes, which no root reaches
//! the history that leads there, shrunk from 114 operations with 204 steps in 57 replays:
//!     transaction
//!         Push(0)
//!         Pop
//!         commit, durable: state 1
//! seed 30 repeats it
//! ```
//!
//! A test can unwrap this error, and prints the same text. To repeat the run, pass the seed to
//! [`Harness::seed`] or set the environment variable `FLAGSTONE_SEED`.
//!
//! **Owns** runs of a subject: plans, sessions, kills, examination, shrinking. **Must not know**
//! the protocol, nor how the simulated disk works: a program outside this crate could do the
//! same.

#![deny(unsafe_code)]

mod child;
mod choices;
mod course;
mod driver;
mod failure;
mod mailbox;
mod plan;
mod power;
mod process;
mod replay;
mod run;
mod shrink;
mod states;
pub mod structures;
mod subject;
mod verify;
mod violation;

pub use choices::Choices;
pub use failure::{Failure, Summary};
pub use run::{Harness, Kills};
pub use subject::{Subject, Verdict};
pub use violation::{Violation, ViolationKind};
