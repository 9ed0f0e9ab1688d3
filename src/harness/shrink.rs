//! From a long history that fails to a short one.
//!
//! **Owns** the search: which parts of a plan to leave out, and which numbers to
//! lower. **Must not know** what a plan does; it is told whether one still fails.
//!
//! # Why this is not proptest's shrinking
//!
//! proptest shrinks values by the strategies that made them, all of them before
//! the case runs. A subject's step depends on the model at that point, which
//! after a crash depends on what survived; so steps must be drawn while the case
//! runs, and drawn again after earlier ones were left out. And a plan goes to
//! child processes, which a tree of proptest's values cannot. Recorded choices
//! serve both: delta debugging over the plan's lists (Zeller and Hildebrandt,
//! 2002), then each number towards 0, as Hypothesis does it.

use super::plan::{Action, End, Event, Kill, Plan};

/// The shortest plan that was found to fail, and how many were tried.
pub(super) struct Shrunk {
    pub(super) plan: Plan,
    pub(super) replays: u32,
}

/// Looks for a smaller plan that fails, from `pinned` on if that one fails as
/// well. `try_one` replays a plan, and gives it back as it was recorded if it
/// fails.
pub(super) fn shrink(
    plan: Plan,
    pinned: Plan,
    most: u32,
    try_one: impl FnMut(&Plan) -> Option<Plan>,
) -> Shrunk {
    let mut search = Search { best: plan, replays: 0, most, try_one };
    search.attempt(|plan| *plan = pinned);
    loop {
        let before = search.best.clone();
        search.leave_out_turns();
        search.leave_out_kills();
        search.leave_out_actions();
        search.simplify_turns();
        search.simplify_steps();
        if search.best == before || search.is_over() {
            return Shrunk { plan: search.best, replays: search.replays };
        }
    }
}

struct Search<F> {
    best: Plan,
    replays: u32,
    most: u32,
    try_one: F,
}

impl<F: FnMut(&Plan) -> Option<Plan>> Search<F> {
    fn is_over(&self) -> bool {
        self.replays >= self.most
    }

    /// Changes the best plan, if it still fails then.
    fn attempt(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.clone();
        change(&mut plan);
        if plan == self.best || self.is_over() {
            return false;
        }
        self.replays += 1;
        let Some(recorded) = (self.try_one)(&plan) else {
            return false;
        };
        self.best = recorded;
        true
    }

    /// Leaves out as much as possible of a list in the plan: halves, quarters,
    /// and so on, from its end.
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

    fn leave_out_turns(&mut self) {
        self.leave_out(|plan| Some(&mut plan.turns));
    }

    fn each_turn(&mut self, mut change: impl FnMut(&mut Self, usize)) {
        let mut index = self.best.turns.len();
        while index > 0 {
            index = (index - 1).min(self.best.turns.len());
            if index < self.best.turns.len() {
                change(self, index);
            }
        }
    }

    fn leave_out_kills(&mut self) {
        self.each_turn(|search, index| {
            if search.attempt(|plan| plan.turns[index].kill = None)
                || search.attempt(|plan| let_kill_come_earlier(plan, index))
            {
                return;
            }
            search.one_remains(index);
            search.leave_out(|plan| match &mut plan.turns.get_mut(index)?.kill {
                Some(Kill::Power(cut)) => Some(&mut cut.remains.again),
                _ => None,
            });
            search.leave_out(|plan| match &mut plan.turns.get_mut(index)?.kill {
                Some(Kill::Signal(signal)) => Some(&mut signal.openings_micros),
                _ => None,
            });
        });
    }

    /// Looks at one of the states in which a cut may leave the disk.
    fn one_remains(&mut self, index: usize) {
        let others = match &self.best.turns[index].kill {
            Some(Kill::Power(cut)) => cut.others.clone(),
            _ => return,
        };
        for remains in others.into_iter().map(Some).chain([None]) {
            self.attempt(|plan| {
                let Some(Kill::Power(cut)) = &mut plan.turns[index].kill else { return };
                cut.others.clear();
                cut.remains = remains.unwrap_or_else(|| cut.remains.clone());
            });
        }
    }

    fn leave_out_actions(&mut self) {
        self.each_turn(|search, index| {
            search.leave_out(|plan| match &mut plan.turns.get_mut(index)?.event {
                Event::Transaction(transaction) => Some(&mut transaction.actions),
                _ => None,
            });
        });
    }

    fn simplify_turns(&mut self) {
        self.each_turn(|search, index| {
            search.attempt(|plan| simplify_event(&mut plan.turns[index].event));
            search.attempt(|plan| at_once(plan.turns[index].kill.as_mut()));
            search.attempt(|plan| after_the_turn(plan.turns[index].kill.as_mut()));
        });
    }

    fn simplify_steps(&mut self) {
        self.each_turn(|search, turn| {
            let mut action = 0;
            while search.choices(turn, action).is_some() || action < search.actions(turn) {
                search.simplify_step(turn, action);
                action += 1;
            }
        });
    }

    fn actions(&self, turn: usize) -> usize {
        self.best.turns.get(turn).map_or(0, |turn| turn.event.actions().len())
    }

    fn choices(&mut self, turn: usize, action: usize) -> Option<&mut Vec<u64>> {
        choices(&mut self.best, turn, action)
    }

    fn simplify_step(&mut self, turn: usize, action: usize) {
        self.leave_out(|plan| choices(plan, turn, action));
        let len = self.choices(turn, action).map_or(0, |choices| choices.len());
        for index in 0..len {
            self.lower(|plan| choices(plan, turn, action)?.get_mut(index));
        }
    }

    /// Lowers a number as far as the plan still fails, if failing is monotonic.
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

fn choices(plan: &mut Plan, turn: usize, action: usize) -> Option<&mut Vec<u64>> {
    let Event::Transaction(transaction) = &mut plan.turns.get_mut(turn)?.event else {
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

/// Has the kill of a turn come after the turn before, if that has none.
fn let_kill_come_earlier(plan: &mut Plan, index: usize) {
    if index > 0 && plan.turns[index - 1].kill.is_none() {
        plan.turns[index - 1].kill = plan.turns.remove(index).kill;
    }
}

/// A kill that does not depend on time.
fn at_once(kill: Option<&mut Kill>) {
    if let Some(Kill::Signal(signal)) = kill {
        signal.delay_micros = None;
    }
}

fn after_the_turn(kill: Option<&mut Kill>) {
    match kill {
        Some(Kill::Power(cut)) => cut.calls = None,
        Some(Kill::Signal(signal)) => signal.actions = None,
        None => {}
    }
}
