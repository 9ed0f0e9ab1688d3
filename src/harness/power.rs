//! Plans on a simulated disk, with power cuts.
//!
//! **Owns** what a power cut is: the disk's calls fail from some point on, and
//! the store is opened from what the disk may hold then. **Must not know** how
//! the disk decides what that is.

use super::driver::{Session, Stop, Watch};
use super::plan::{Cut, Event, Kill, Operation, Plan, Remains};
use super::replay::Opening;
use super::run::{RunOutcome, Setup};
use super::states::Ledger;
use super::verify::{begin, examine, place};
use super::violation::{failed, same_address};
use super::{Subject, Summary, Violation, ViolationKind};
use crate::sim::{Random, SimDisk};
use crate::store::{Durability, Store};

/// Tries to get the store to another address.
const MAX_TRIES: usize = 8;

type Found<T = ()> = Result<T, (usize, Violation)>;

struct PowerRun<'a, S: Subject, F> {
    setup: &'a Setup<'a, F>,
    plan: &'a Plan,
    ledger: Ledger<S::Model>,
    openings: Vec<Opening>,
    summary: Summary,
    /// Where the store's number lay in memory when it was opened last.
    address: usize,
}

/// Runs a plan whose kills are power cuts.
pub(super) fn run<S: Subject, F: Fn() -> S>(setup: &Setup<'_, F>, plan: &Plan) -> RunOutcome {
    let mut run = PowerRun {
        setup,
        plan,
        ledger: Ledger::<S::Model>::new(),
        openings: Vec::new(),
        summary: Summary { runs: 1, ..Summary::default() },
        address: 0,
    };
    let violation = run.whole_plan().err();
    RunOutcome { openings: run.openings, summary: run.summary, violation }
}

impl<S: Subject, F: Fn() -> S> PowerRun<'_, S, F> {
    fn whole_plan(&mut self) -> Found {
        let (mut store, mut disk) = self.create().map_err(|violation| (0, violation))?;
        let mut first = 0;
        loop {
            let subject = (self.setup.make)();
            let watch = &mut PowerWatch { disk: &disk, cut: None, summary: &mut self.summary };
            let rules = self.setup.rules;
            let session = Session::new(&subject, &store, &mut self.ledger, watch, rules);
            let stop = session.run(self.plan, first)?;
            let last = self.plan.operations.len().saturating_sub(1);
            let (operation, next) = match stop {
                Stop::Killed(operation) => (operation, self.cut(operation, store, &disk)),
                Stop::Reopen(operation) => (operation, self.reopen(store, &disk)),
                Stop::Done => {
                    return self.reopen(store, &disk).map(drop).map_err(|found| (last, found));
                }
            };
            (store, disk) = next.map_err(|violation| (operation, violation))?;
            first = operation + 1;
        }
    }

    fn create(&mut self) -> Result<(Store, SimDisk), Violation> {
        let created = SimDisk::create(self.setup.options);
        let (store, disk) = created.map_err(failed(ViolationKind::Refused, "create the store"))?;
        begin(&store, &(self.setup.make)())?;
        self.address = place(&store)?;
        Ok((store, disk))
    }

    /// The power is off: looks at some of the states that the disk may be in,
    /// and goes on from the last one.
    fn cut(
        &mut self,
        operation: usize,
        store: Store,
        disk: &SimDisk,
    ) -> Result<(Store, SimDisk), Violation> {
        let Some(Kill::Power(Cut { remains, others, .. })) = &self.plan.operations[operation].kill
        else {
            unreachable!("only a power cut stops a session on a simulated disk");
        };
        let store = self.close_in_a_cut(operation, store, disk)?;
        self.summary.power_cuts += 1;
        for other in others {
            let _ = self.open_what(disk, other)?;
        }
        // The old store, if it was not closed, keeps its place in memory until the new one has
        // its own.
        let (opened, disk, number) = self.open_what(disk, remains)?;
        drop(store);
        let store = opened;
        self.ledger.go_back_to(number);
        self.openings.push(Opening { after_operation: operation, number });
        Ok((store, disk))
    }

    /// A turn that closes the store has it closed while the power goes, or just before.
    fn close_in_a_cut(
        &mut self,
        operation: usize,
        store: Store,
        disk: &SimDisk,
    ) -> Result<Option<Store>, Violation> {
        if self.plan.operations[operation].event != Event::Reopen || disk.is_off() {
            return Ok(Some(store));
        }
        match store.close() {
            Ok(()) => self.ledger.acknowledge_all(),
            Err(_) if disk.is_off() => {}
            Err(error) => return Err(failed(ViolationKind::Refused, "close the store")(error)),
        }
        Ok(None)
    }

    /// Opens what a cut leaves, after further cuts while it is being opened.
    fn open_what(
        &mut self,
        disk: &SimDisk,
        remains: &Remains,
    ) -> Result<(Store, SimDisk, usize), Violation> {
        let bytes = disk.crash(&mut Random(remains.seed));
        let bytes = remains.again.iter().fold(bytes, |bytes, interruption| {
            let disk = SimDisk::new(bytes);
            disk.fail_after(interruption.calls);
            // With its first transaction, before which some things are put off.
            let _ = disk.open(self.setup.options).map(|store| store.write().map(|tx| tx.commit()));
            self.summary.power_cuts += 1;
            disk.crash(&mut Random(interruption.seed))
        });
        self.summary.images += 1;
        self.open(bytes)
    }

    fn reopen(&mut self, store: Store, disk: &SimDisk) -> Result<(Store, SimDisk), Violation> {
        store.close().map_err(failed(ViolationKind::Refused, "close the store"))?;
        self.ledger.acknowledge_all();
        self.summary.reopenings += 1;
        // The power may go at once.
        let (store, disk, number) = self.open(disk.crash(&mut Random(0)))?;
        self.ledger.go_back_to(number);
        Ok((store, disk))
    }

    /// Opens a store from these bytes, in another place of the memory, and
    /// examines it.
    fn open(&mut self, bytes: Vec<u8>) -> Result<(Store, SimDisk, usize), Violation> {
        // Each holds its place until one has another place than before.
        let mut tried = Vec::new();
        loop {
            let disk = SimDisk::new(bytes.clone());
            let opened = disk.open(self.setup.options);
            let store = opened.map_err(failed(ViolationKind::CannotOpen, "open the store"))?;
            let address = place(&store)?;
            if address == self.address {
                tried.push(store);
                if tried.len() == MAX_TRIES {
                    return Err(same_address());
                }
                continue;
            }
            self.address = address;
            let number = examine(&store, &(self.setup.make)(), &self.ledger, self.setup.rules)?;
            return Ok((store, disk, number));
        }
    }
}

/// Cuts the power at the disk's calls.
struct PowerWatch<'a> {
    disk: &'a SimDisk,
    cut: Option<Option<u64>>,
    summary: &'a mut Summary,
}

impl Watch for PowerWatch<'_> {
    fn begin(&mut self, _index: usize, operation: &Operation) {
        self.summary.count(&operation.event);
        self.cut = match &operation.kill {
            Some(Kill::Power(cut)) => Some(cut.calls),
            _ => None,
        };
        if let Some(Some(calls)) = self.cut {
            self.disk.fail_after(calls);
        }
    }

    fn reached(&mut self, _actions: usize) {}

    fn committing(&mut self, _last: usize, _acknowledged: usize) {}

    fn ends(&mut self) -> bool {
        self.cut.is_some()
    }

    fn is_down(&self) -> bool {
        self.disk.is_off()
    }

    fn survives(&self, durability: Durability) -> bool {
        durability == Durability::Durable
    }
}
