//! Shrinks a long history that fails to a short one.
//!
//! **Owns** the search: which parts of a plan to drop, and which numbers to lower. **Must not
//! know** what a plan does; the caller reports whether a plan still fails.
//!
//! # Why this is not proptest's shrinking
//!
//! proptest shrinks values by the strategies that made them, all of them before the case runs. A
//! subject's step depends on the model at that point, which after a crash depends on what
//! survived; so steps must be drawn while the case runs, and drawn again after earlier steps were
//! dropped. A plan also goes to child processes, and a tree of proptest's values cannot. Recorded
//! choices serve both: delta debugging over the plan's lists (Zeller and Hildebrandt, 2002), then
//! lowering each number towards 0, as Hypothesis does.

use super::plan::{Action, End, Event, Kill, Plan};

/// The shortest plan found that fails.
pub(super) struct Shrunk<E> {
    pub(super) plan: Plan,
    /// The failure of that plan; `None` if no plan failed.
    pub(super) evidence: Option<E>,
    /// The number of plans tried.
    pub(super) replays: u32,
}

/// Searches for a smaller plan that fails. Starts from the first of `pinned` that fails as well,
/// or else from `plan`. `try_one` replays a plan; if the plan fails, it returns the plan as
/// recorded, and the failure.
pub(super) fn shrink<E>(
    plan: Plan,
    pinned: [Plan; 2],
    most: u32,
    try_one: impl FnMut(&Plan) -> Option<(Plan, E)>,
) -> Shrunk<E> {
    let mut search = Search { best: plan, evidence: None, replays: 0, most, try_one };
    let _ = pinned.into_iter().any(|pinned| search.attempt(|plan| *plan = pinned));
    loop {
        let before = search.best.clone();
        search.leave_out_operations();
        search.leave_out_kills();
        search.leave_out_actions();
        search.simplify_turns();
        search.simplify_steps();
        if search.best == before || search.is_over() {
            let Search { best: plan, evidence, replays, .. } = search;
            return Shrunk { plan, evidence, replays };
        }
    }
}

struct Search<E, F> {
    best: Plan,
    evidence: Option<E>,
    replays: u32,
    most: u32,
    try_one: F,
}

impl<E, F: FnMut(&Plan) -> Option<(Plan, E)>> Search<E, F> {
    fn is_over(&self) -> bool {
        self.replays >= self.most
    }

    /// Applies a change to the best plan, if the plan still fails with it.
    fn attempt(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.clone();
        change(&mut plan);
        if plan == self.best || self.is_over() {
            return false;
        }
        self.replays += 1;
        let Some((recorded, evidence)) = (self.try_one)(&plan) else {
            return false;
        };
        (self.best, self.evidence) = (recorded, Some(evidence));
        true
    }

    /// Drops as much as possible of a list in the plan: halves, quarters and so on, from its end.
    fn leave_out<T>(&mut self, list: impl Fn(&mut Plan) -> Option<&mut Vec<T>>) {
        let len = |search: &mut Self| list(&mut search.best).map_or(0, |list| list.len());
        let mut chunk = len(self);
        while chunk > 0 {
            let mut end = len(self);
            while end > 0 {
                let range = end.saturating_sub(chunk)..end;
                end = range.start;
                self.attempt(|plan| drop(list(plan).map(|list| list.drain(range))));
                end = end.min(len(self));
            }
            chunk /= 2;
        }
    }

    fn leave_out_operations(&mut self) {
        self.leave_out(|plan| Some(&mut plan.operations));
    }

    fn each_operation(&mut self, mut change: impl FnMut(&mut Self, usize)) {
        let mut index = self.best.operations.len();
        while index > 0 {
            index = (index - 1).min(self.best.operations.len());
            if index < self.best.operations.len() {
                change(self, index);
            }
        }
    }

    fn leave_out_kills(&mut self) {
        self.each_operation(|search, index| {
            if search.attempt(|plan| plan.operations[index].kill = None)
                || search.attempt(|plan| let_kill_come_earlier(plan, index))
            {
                return;
            }
            search.one_remains(index);
            search.leave_out(|plan| match &mut plan.operations.get_mut(index)?.kill {
                Some(Kill::Power(cut)) => Some(&mut cut.remains.again),
                _ => None,
            });
            search.leave_out(|plan| match &mut plan.operations.get_mut(index)?.kill {
                Some(Kill::Signal(signal)) => Some(&mut signal.openings_micros),
                _ => None,
            });
        });
    }

    /// Tries to examine only one of the possible disk states after a cut.
    fn one_remains(&mut self, index: usize) {
        let others = match &self.best.operations[index].kill {
            Some(Kill::Power(cut)) => cut.others.clone(),
            _ => return,
        };
        for remains in others.into_iter().map(Some).chain([None]) {
            self.attempt(|plan| {
                let Some(Kill::Power(cut)) = &mut plan.operations[index].kill else { return };
                cut.others.clear();
                cut.remains = remains.unwrap_or_else(|| cut.remains.clone());
            });
        }
    }

    fn leave_out_actions(&mut self) {
        self.each_operation(|search, index| {
            search.leave_out(|plan| match &mut plan.operations.get_mut(index)?.event {
                Event::Transaction(transaction) => Some(&mut transaction.actions),
                _ => None,
            });
        });
    }

    fn simplify_turns(&mut self) {
        self.each_operation(|search, index| {
            search.attempt(|plan| simplify_event(&mut plan.operations[index].event));
            if search.attempt(|plan| join_with_the_turn_before(plan, index)) {
                return;
            }
            search.attempt(|plan| at_once(plan.operations[index].kill.as_mut()));
            search.attempt(|plan| after_the_operation(plan.operations[index].kill.as_mut()));
        });
    }

    fn simplify_steps(&mut self) {
        self.each_operation(|search, operation| {
            let mut action = 0;
            while search.choices(operation, action).is_some() || action < search.actions(operation)
            {
                search.simplify_step(operation, action);
                action += 1;
            }
        });
    }

    fn actions(&self, operation: usize) -> usize {
        self.best.operations.get(operation).map_or(0, |operation| operation.event.actions().len())
    }

    fn choices(&mut self, operation: usize, action: usize) -> Option<&mut Vec<u64>> {
        choices(&mut self.best, operation, action)
    }

    fn simplify_step(&mut self, operation: usize, action: usize) {
        self.leave_out(|plan| choices(plan, operation, action));
        let len = self.choices(operation, action).map_or(0, |choices| choices.len());
        for index in 0..len {
            self.lower(|plan| choices(plan, operation, action)?.get_mut(index));
        }
    }

    /// Lowers a number as far as the plan still fails, assuming that failure is monotonic.
    fn lower(&mut self, number: impl Fn(&mut Plan) -> Option<&mut u64>) {
        let value = |search: &mut Self| number(&mut search.best).map_or(0, |number| *number);
        let set = |search: &mut Self, to: u64| {
            search.attempt(|plan| {
                if let Some(number) = number(plan) {
                    *number = to;
                }
            })
        };
        let (mut fails_not, found) = (0, value(self));
        if found == 0 || set(self, 0) {
            return;
        }
        while value(self) > fails_not + 1 && !self.is_over() {
            let between = fails_not + (value(self) - fails_not) / 2;
            if !set(self, between) {
                fails_not = between;
            }
        }
    }
}

fn choices(plan: &mut Plan, operation: usize, action: usize) -> Option<&mut Vec<u64>> {
    let Event::Transaction(transaction) = &mut plan.operations.get_mut(operation)?.event else {
        return None;
    };
    match transaction.actions.get_mut(action)? {
        Action::Step(draw) => Some(&mut draw.recorded),
        _ => None,
    }
}

fn simplify_event(event: &mut Event) {
    if let Event::Transaction(transaction) = event {
        transaction.end = End::Durable;
    }
}

/// Moves the kill of an operation to the operation before, if that one has no kill.
fn let_kill_come_earlier(plan: &mut Plan, index: usize) {
    if index > 0 && plan.operations[index - 1].kill.is_none() {
        plan.operations[index - 1].kill = plan.operations.remove(index).kill;
    }
}

/// Joins two transactions, if nothing comes between them.
fn join_with_the_turn_before(plan: &mut Plan, index: usize) {
    let (before, operation) = match plan.operations.split_at_mut(index) {
        ([.., before], [operation, ..]) if before.kill.is_none() => (before, operation),
        _ => return,
    };
    if let (Event::Transaction(before), Event::Transaction(transaction)) =
        (&mut before.event, &mut operation.event)
    {
        transaction.actions.splice(..0, before.actions.drain(..));
        plan.operations.remove(index - 1);
    }
}

/// Makes a kill independent of timing.
fn at_once(kill: Option<&mut Kill>) {
    if let Some(Kill::Signal(signal)) = kill {
        signal.delay_micros = None;
    }
}

fn after_the_operation(kill: Option<&mut Kill>) {
    match kill {
        Some(Kill::Power(cut)) => cut.calls = None,
        Some(Kill::Signal(signal)) => signal.actions = None,
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::choices::Choices;
    use super::super::plan::{Draw, Ending, Operation, Transaction};
    use super::*;

    /// Fails if a power cut follows two steps whose first choice is 17 or more.
    fn fails(plan: &Plan) -> Option<(Plan, ())> {
        let mut plan = plan.clone();
        let mut large = 0;
        let mut is_cut = false;
        for operation in &mut plan.operations {
            if let Event::Transaction(transaction) = &mut operation.event {
                for action in &mut transaction.actions {
                    let Action::Step(draw) = action else { continue };
                    let mut choices = Choices::replay(draw.recorded.clone(), draw.seed);
                    large += u32::from(choices.below(80) >= 17);
                    choices.bytes(0..=3);
                    *draw = Draw { recorded: choices.into_given(), seed: None };
                }
            }
            is_cut |= operation.kill.is_some() && large >= 2;
        }
        is_cut.then_some((plan, ()))
    }

    fn step(choice: u64) -> Action {
        Action::Step(Draw { recorded: vec![choice, 0], seed: None })
    }

    #[test]
    fn only_what_it_takes_to_fail_is_left() {
        let mut found = 0;
        for seed in 0..50 {
            let plan = Plan::draw(seed, 60, Ending::Power);
            if fails(&plan).is_none() {
                continue;
            }
            found += 1;
            let shrunk = shrink(plan.clone(), [plan.clone(), plan], 2000, fails);
            assert!(shrunk.evidence.is_some() && shrunk.replays < 500);
            let [
                Operation { event: Event::Transaction(transaction), kill: Some(Kill::Power(cut)) },
            ] = &*shrunk.plan.operations
            else {
                panic!("seed {seed}: {:?}", shrunk.plan);
            };
            assert!(cut.others.is_empty() && cut.remains.again.is_empty() && cut.calls.is_none());
            let actions = vec![step(17), step(17)];
            assert_eq!(*transaction, Transaction { actions, end: End::Durable });
        }
        assert!(found > 40, "{found}");
    }

    #[test]
    fn no_more_is_replayed_than_was_allowed() {
        let plan = Plan::draw(1, 60, Ending::Power);
        let shrunk = shrink(plan.clone(), [plan.clone(), plan], 7, fails);
        assert_eq!(shrunk.replays, 7);
    }
}
