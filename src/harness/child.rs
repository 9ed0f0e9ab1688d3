//! The child: a process that works on a store in a file until it is killed.
//!
//! **Owns** how a process finds out that it is such a child, and what it notes
//! for its parent. **Must not know** when it is to be killed, but for the places
//! at which it waits for that.

use std::cell::Cell;
use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use memmap2::{MmapMut, MmapOptions};

use super::driver::{Session, Stop, Watch};
use super::mailbox::{Folder, Job, Notes};
use super::plan::{Kill, Operation};
use super::replay::Replay;
use super::run::Setup;
use super::states::Ledger;
use super::verify::{begin, examine, place};
use super::violation::{failed, same_address};
use super::{Kills, Subject, Violation, ViolationKind};
use crate::error::Result as StoreResult;
use crate::store::{Durability, OpenOptions, Store};

/// Tries to get the store to another address.
const MAX_TRIES: usize = 64;

/// In it a child finds the folder of its job.
const VARIABLE: &str = "FLAGSTONE_HARNESS_CHILD";

/// Where a process stands.
pub(super) enum Role {
    /// It is nobody's child, and in this thread the `ordinal`th run with
    /// children begins.
    Parent { ordinal: usize },
    /// It is a child, and has come to its run.
    Child(Folder, Job),
    /// It is a child, and this is not its run.
    Bystander,
}

impl Role {
    /// Which role a run has that begins now. A child comes to its run by the
    /// same way as its parent, so each thread counts its runs with children.
    ///
    /// Several threads of a child may come by, and with arguments that lead to more than the
    /// parent's run, other runs as well: the job names its run, and is given out once.
    pub(super) fn of_next_run(kills: Kills, name: &str) -> Self {
        thread_local!(static RUNS: Cell<usize> = const { Cell::new(0) });
        let ordinal = RUNS.get();
        let has_children = kills != Kills::PowerCuts;
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

/// Makes a command's process the child whose job lies in `folder`.
pub(super) fn make_child(command: &mut Command, folder: &Path) {
    command.env(VARIABLE, folder);
}

/// Does the child's work. Ends the process.
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

    /// Opens what the children before have left; the first one makes it.
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

    /// Opens the store in another place of the memory than before, and examines
    /// it.
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

/// Closes a store, and has other memory lie where it lay: what is mapped next
/// takes the first place that is large enough.
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
    // SAFETY: the file was made by this run, at a place where nothing was, and
    // nobody was told of it; the store's lock keeps other flagstones out.
    unsafe { options.open(path) }
}

/// Notes what the child is at, and waits where it is to be killed.
struct KillWatch<'a> {
    folder: &'a Folder,
    /// The parent's process.
    parent: u32,
    notes: &'a mut Notes,
    /// The turn with a kill in it that the child is at: its number, how many
    /// actions come before the kill, and whether to wait for it.
    operation: Option<(usize, Option<usize>, bool)>,
}

impl KillWatch<'_> {
    fn note(&self) {
        self.folder.write_notes(self.notes).expect("the parent's folder");
    }

    /// A kill is due if it was to come after so many actions.
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

/// The parent kills this process; if that parent is no more, perhaps since before, it ends.
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

    /// A deferred commit lies in the page cache when it returns, which outlives
    /// the process.
    fn survives(&self, _durability: Durability) -> bool {
        true
    }
}
