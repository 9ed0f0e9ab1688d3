//! Reopen and verify: a reason to believe that a structure survives crashes.
//!
//! You built something on flagstone: a list, an index, a whole application's
//! data. Say how it is changed at random and what must hold, and the [`Harness`]
//! runs it through random histories: steps, durable and deferred commits,
//! rollbacks, savepoints, snapshots that are held across commits and
//! checkpoints, reopenings; and kills, at any point, of any kind that you ask
//! for. Whenever the store was opened, it is compared with what must be there.
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
//!                 return Err(format!("{} in the place of {value}", node.value).into());
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
//! In each transaction the harness sets a root of its own to the number of the
//! state that it makes. So a store that was killed says which state it claims to
//! be, and then it has to be that one:
//!
//! - It was committed, and is none older than the last commit that was
//!   acknowledged: a durable one in a power cut, any one that returned in the
//!   death of a process.
//! - [`Subject::verify`] agrees that it is as the model of that state says.
//! - [`Store::check`](crate::Store::check) finds no damage, no allocation that no
//!   root reaches ([unless](Harness::allow_unreachable) that is meant), and no
//!   link that dangles ([unless](Harness::allow_dangling) that is).
//! - The store lies at another address in memory than before, so that nothing
//!   can have kept one.
//!
//! While a store is open, each commit, each rollback and each snapshot that is
//! held is compared as well.
//!
//! # Two kinds of kills
//!
//! With [`Kills::PowerCuts`] the store lies on a simulated disk
//! ([`SimDisk`](crate::sim::SimDisk)), whose calls fail from a chosen one on, in
//! the middle of a commit or of a recovery. The store is then opened from what
//! was synced and any part of what was not. This finds what was acknowledged too
//! early or done in the wrong order. A run takes milliseconds.
//!
//! With [`Kills::Sigkill`] the store is a file, and a child process works on it
//! until it is killed. This finds what a program keeps in its memory and misses
//! when it begins anew, statics as well; memory of that kind outlives a simulated
//! cut, unless it lies in the subject, which is made anew each time. The child is
//! this program, run again: a test by its name, another program with its own
//! arguments, or what [`Harness::child_arguments`] says. Until the child comes to
//! [`Harness::run`], it does what the program does; so let that be little.
//!
//! # What it cannot
//!
//! The harness begins and ends the transactions, and a step is what happens in one:
//! code that commits by itself, such as a function that takes a [`Store`](crate::Store),
//! is not run. So it does not see an invariant that is broken between two commits of
//! such a function; a step that does both in one transaction is what it can test.
//!
//! # When it fails
//!
//! The [`Failure`] has the seed, what was violated, and a history as short as
//! could be found that still violates a promise of the same kind:
//!
//! ```text
//! Unreachable: check: 1 allocations lost, such as heap offset 0x20010: Node of 16 bytes, which no root reaches
//! the history that leads there, shrunk from 114 turns with 204 steps in 57 replays:
//!     transaction
//!         Push(0)
//!         Pop
//!         commit, durable: state 1
//! seed 30 repeats it
//! ```
//!
//! It is an error to unwrap in a test, and reads like this there too. The seed
//! goes to [`Harness::seed`] or into the environment variable `FLAGSTONE_SEED`.
//!
//! **Owns** runs of a subject: plans, sessions, kills, examination, shrinking.
//! **Must not know** the protocol, nor how the simulated disk works: whatever it
//! does, a program outside of this crate could do.

#![deny(unsafe_code)]

mod child;
mod choices;
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

use verify::Rules;
