//! The child: a process that works on a store in a file until it is killed.
//!
//! **Owns** how a process recognizes that it is such a child, and the notes that it writes for
//! its parent. **Must not know** when the kill comes, except for the points at which it waits for
//! one.

use std::cell::Cell;
use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use memmap2::{MmapMut, MmapOptions};

use super::course::Setup;
use super::driver::{Session, Stop, Watch};
use super::mailbox::{Folder, Job, Notes};
use super::plan::{Kill, Operation};
use super::replay::Replay;
use super::states::Ledger;
use super::subject::Subject;
use super::verify::{begin, examine, place};
use super::violation::{Violation, ViolationKind, failed, same_address};
use crate::error::Result as StoreResult;
use crate::store::{Durability, OpenOptions, Store};

/// Attempts to map the store at another address.
const MAX_TRIES: usize = 64;

/// The environment variable that names the folder of a child's job.
const VARIABLE: &str = "FLAGSTONE_HARNESS_CHILD";

/// The role of a process in a run.
pub(super) enum Role {
    /// Not a child; the `ordinal`th run with children of this thread begins.
    Parent { ordinal: usize },
    /// A child that has reached its run.
    Child(Folder, Job),
    /// A child, in a run that is not its own.
    Bystander,
}

impl Role {
    /// Returns the role for the run that begins now. A child reaches its run along the same path
    /// as its parent, so each thread counts its runs with children.
    ///
    /// Several threads of a child may get here. With arguments that lead to more than the
    /// parent's run, other runs may get here too. So the job names its run and is handed out
    /// once.
    pub(super) fn of_next_run(has_children: bool, name: &str) -> Self {
        thread_local!(static RUNS: Cell<usize> = const { Cell::new(0) });
        let ordinal = RUNS.get();
        RUNS.set(ordinal + usize::from(has_children));
        let Some(folder) = std::env::var_os(VARIABLE) else {
            return Self::Parent { ordinal };
        };
        let folder = Folder::open(Path::new(&folder)).expect("the folder that the parent made");
        let is_meant = |job: &Job| has_children && job.ordinal == ordinal && job.run == name;
        match folder.take_job(is_meant).expect("the job that the parent wrote") {
            Some(job) => Self::Child(folder, job),
            None => Self::Bystander,
        }
    }
}

/// Makes a command's process the child whose job is in `folder`.
pub(super) fn make_child(command: &mut Command, folder: &Path) {
    command.env(VARIABLE, folder);
}

/// Does the child's work and ends the process.
pub(super) fn serve<S: Subject, F: Fn() -> S>(setup: &Setup<'_, F>, folder: Folder, job: Job) -> ! {
    let ledger = Ledger::<S::Model>::new();
    let address = job.address;
    let notes = Notes { begun: 1, ..Notes::default() };
    let mut child = Child { setup, folder, job, ledger, address, notes };
    let done = child.work();
    if let Err((operation, violation)) = &done {
        child.folder.write_violation(*operation, violation).expect("the parent's folder");
    }
    std::process::exit(i32::from(done.is_err()))
}

struct Child<'a, S: Subject, F> {
    setup: &'a Setup<'a, F>,
    folder: Folder,
    job: Job,
    ledger: Ledger<S::Model>,
    address: Option<usize>,
    notes: Notes,
}

impl<S: Subject, F: Fn() -> S> Child<'_, S, F> {
    fn work(&mut self) -> Result<(), (usize, Violation)> {
        let mut first = self.job.first;
        let before = first.saturating_sub(1);
        let mut store = self.open_first().map_err(|violation| (before, violation))?;
        loop {
            let subject = (self.setup.make)();
            let (folder, parent) = (&self.folder, self.job.parent);
            let watch = &mut KillWatch { folder, parent, notes: &mut self.notes, operation: None };
            let rules = self.setup.rules;
            let session = Session::new(&subject, &store, &mut self.ledger, watch, rules);
            let operation = match session.run(&self.job.plan, first)? {
                Stop::Reopen(operation) => operation,
                Stop::Killed(_) => unreachable!("a child that is killed comes to no end"),
                Stop::Done => break,
            };
            store = self.reopen(store).map_err(|violation| (operation, violation))?;
            first = operation + 1;
        }
        let last = self.job.plan.operations.len().saturating_sub(1);
        self.close(store).map_err(|violation| (last, violation))?;
        self.notes.done = 1;
        self.note();
        Ok(())
    }

    fn note(&self) {
        self.folder.write_notes(&self.notes).expect("the parent's folder");
    }

    /// Opens the store that the previous children left; the first child creates it.
    fn open_first(&mut self) -> Result<Store, Violation> {
        let subject = (self.setup.make)();
        let replay = Replay::of(&subject, &self.job.plan, &self.job.openings, self.job.first)?;
        self.ledger = replay.ledger;
        self.ledger.set_bounds(self.job.last, self.job.acknowledged);
        self.note();
        if self.address.is_none() {
            let store = open(Path::new(&self.job.store), self.setup.options);
            let store = store.map_err(failed(ViolationKind::NotRun, "create the store"))?;
            begin(&store, &subject)?;
            self.opened(&store, 0)?;
            return Ok(store);
        }
        self.open_elsewhere()
    }

    fn reopen(&mut self, store: Store) -> Result<Store, Violation> {
        self.close(store)?;
        self.ledger.acknowledge_all();
        self.open_elsewhere()
    }

    fn close(&self, store: Store) -> Result<(), Violation> {
        store.close().map_err(failed(ViolationKind::Refused, "close the store"))
    }

    /// Opens the store at an address other than before, and examines it.
    fn open_elsewhere(&mut self) -> Result<Store, Violation> {
        let mut occupied = Vec::new();
        let store = loop {
            let store = open(Path::new(&self.job.store), self.setup.options);
            let store = store.map_err(failed(ViolationKind::CannotOpen, "open the store"))?;
            if self.address != Some(place(&store)?) {
                break store;
            }
            occupied.push(occupy_place_of(store)?);
            if occupied.len() == MAX_TRIES {
                return Err(same_address());
            }
        };
        let number = examine(&store, &(self.setup.make)(), &self.ledger, self.setup.rules)?;
        self.ledger.go_back_to(number);
        self.notes.reopenings += 1;
        self.opened(&store, number)?;
        Ok(store)
    }

    fn opened(&mut self, store: &Store, number: usize) -> Result<(), Violation> {
        let address = place(store)?;
        self.address = Some(address);
        let notes = &mut self.notes;
        notes.address = address as u64;
        if notes.found == 0 {
            notes.found = number as u64 + 1;
        }
        (notes.last, notes.acknowledged) = (number as u64, number as u64);
        self.note();
        Ok(())
    }
}

/// Closes a store and maps other memory at its address: the next mapping takes the first gap that
/// is large enough.
fn occupy_place_of(store: Store) -> Result<MmapMut, Violation> {
    let refused = || failed(ViolationKind::Refused, "look at the store's length");
    let file_bytes = store.stats().map_err(refused())?.file_bytes;
    drop(store);
    let mut options = MmapOptions::new();
    options.len(file_bytes as usize).no_reserve_swap();
    options.map_anon().map_err(failed(ViolationKind::Refused, "map memory"))
}

#[expect(unsafe_code, reason = "opening is a promise about the file")]
fn open(path: &Path, options: &OpenOptions) -> StoreResult<Store> {
    // SAFETY: this run created the file at an unused path and told nobody of it; the store's lock
    // keeps other flagstones out.
    unsafe { options.open(path) }
}

/// Records the child's progress, and waits at the point of the kill.
struct KillWatch<'a> {
    folder: &'a Folder,
    /// The parent's process id.
    parent: u32,
    notes: &'a mut Notes,
    /// The current operation if it contains a kill: its number, how many actions precede the
    /// kill, and whether to wait for it.
    operation: Option<(usize, Option<usize>, bool)>,
}

impl KillWatch<'_> {
    fn note(&self) {
        self.folder.write_notes(self.notes).expect("the parent's folder");
    }

    /// Announces the kill if it was to come after this many actions.
    fn pass(&mut self, actions: Option<usize>) {
        let Some((operation, _, waits)) =
            self.operation.filter(|(_, wanted, _)| *wanted == actions)
        else {
            return;
        };
        self.notes.due = operation as u64 + 1;
        self.note();
        if waits {
            wait_for_the_kill(self.parent);
        }
    }
}

/// Waits until the parent kills this process; exits if the parent is gone, perhaps already before
/// the call.
fn wait_for_the_kill(parent: u32) -> ! {
    while parent_id() == parent {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::process::exit(1)
}

impl Watch for KillWatch<'_> {
    fn begin(&mut self, index: usize, operation: &Operation) {
        self.notes.operation = index as u64 + 1;
        self.notes.transactions += u64::from(operation.event.is_transaction());
        self.operation = match &operation.kill {
            Some(Kill::Signal(signal)) => {
                Some((index, signal.actions, signal.delay_micros.is_none()))
            }
            _ => None,
        };
        self.note();
    }

    fn reached(&mut self, actions: usize) {
        self.pass(Some(actions));
    }

    fn committing(&mut self, last: usize, acknowledged: usize) {
        (self.notes.last, self.notes.acknowledged) = (last as u64, acknowledged as u64);
        self.note();
    }

    fn ends(&mut self) -> bool {
        self.pass(None);
        false
    }

    fn is_down(&self) -> bool {
        false
    }

    /// A deferred commit is in the page cache when it returns, and the page cache outlives the
    /// process.
    fn survives(&self, _durability: Durability) -> bool {
        true
    }
}
