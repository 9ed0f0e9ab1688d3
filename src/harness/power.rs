//! Carries out plans on a simulated disk, with power cuts.
//!
//! **Owns** power cuts: the disk's calls fail from some point on, and the store is opened from a
//! state that the disk may then hold. **Must not know** how the disk determines that state.

use super::course::{RunOutcome, Setup};
use super::driver::{Session, Stop, Watch};
use super::failure::Summary;
use super::plan::{Cut, Event, Kill, Operation, Plan, Remains};
use super::replay::Opening;
use super::states::Ledger;
use super::subject::Subject;
use super::verify::{begin, examine, place};
use super::violation::{Violation, ViolationKind, failed, same_address};
use crate::sim::{Random, SimDisk};
use crate::store::{Durability, Store};

/// Attempts to map the store at another address.
const MAX_TRIES: usize = 8;

type Found<T = ()> = Result<T, (usize, Violation)>;

struct PowerRun<'a, S: Subject, F> {
    setup: &'a Setup<'a, F>,
    plan: &'a Plan,
    ledger: Ledger<S::Model>,
    openings: Vec<Opening>,
    summary: Summary,
    /// The address of the state number when the store was last opened.
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

    /// Handles a cut: examines some of the states that the disk may hold, and continues from the
    /// last one.
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
        // If the old store was not closed, it keeps its address until the new store is mapped.
        let (opened, disk, number) = self.open_what(disk, remains)?;
        drop(store);
        let store = opened;
        self.ledger.go_back_to(number);
        self.openings.push(Opening { after_operation: operation, number });
        Ok((store, disk))
    }

    /// Closes the store, as the operation demands, during the cut or just before.
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

    /// Opens the state that a cut leaves, after further cuts during the opening.
    fn open_what(
        &mut self,
        disk: &SimDisk,
        remains: &Remains,
    ) -> Result<(Store, SimDisk, usize), Violation> {
        let bytes = disk.crash(&mut Random(remains.seed));
        let bytes = remains.again.iter().fold(bytes, |bytes, interruption| {
            let disk = SimDisk::new(bytes);
            disk.fail_after(interruption.calls);
            // The first transaction is included, because some work of an opening is deferred to
            // it.
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
        // The power may fail at once.
        let (store, disk, number) = self.open(disk.crash(&mut Random(0)))?;
        self.ledger.go_back_to(number);
        Ok((store, disk))
    }

    /// Opens a store from these bytes at another address, and examines it.
    fn open(&mut self, bytes: Vec<u8>) -> Result<(Store, SimDisk, usize), Violation> {
        // Each attempt stays mapped until one gets a new address.
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
