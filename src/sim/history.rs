//! The states that a power cut may leave.

/// The states that a store went through, and the times at which each became durable.
///
/// Times are those of [`SimDisk::now`](super::SimDisk::now).
#[derive(Clone, Debug)]
pub struct History<S> {
    entries: Vec<Entry<S>>,
}

#[derive(Clone, Debug)]
struct Entry<S> {
    state: S,
    /// Before this time no byte of the state was written.
    begun: usize,
    /// From this time on the store holds this state or a later one.
    durable: Option<usize>,
}

impl<S: PartialEq> History<S> {
    /// Starts the history of a store that holds `first` durably.
    pub fn new(first: S) -> Self {
        Self { entries: vec![Entry { state: first, begun: 0, durable: Some(0) }] }
    }

    /// Returns the last state.
    pub fn last(&self) -> &S {
        &self.entries[self.entries.len() - 1].state
    }

    /// Returns whether a commit of `state` was ever begun.
    pub fn knows(&self, state: &S) -> bool {
        self.entries.iter().any(|entry| entry.state == *state)
    }

    /// Begins a commit of `state`; returns its number.
    pub fn begin(&mut self, state: S, now: usize) -> usize {
        self.entries.push(Entry { state, begun: now, durable: None });
        self.entries.len() - 1
    }

    /// Records that all commits begun so far were reported durable.
    pub fn durable(&mut self, now: usize) {
        self.durable_to(self.entries.len() - 1, now);
    }

    /// Records that the commit with this number, and all before it, were reported durable.
    pub fn durable_to(&mut self, number: usize, now: usize) {
        self.entries[number].durable.get_or_insert(now);
    }

    /// Records that the store was reopened, from `begun` until now, without a power cut, and holds
    /// `state`. Every other state is gone for good.
    pub fn reopened(&mut self, state: S, begun: usize, now: usize) {
        self.entries.push(Entry { state, begun, durable: Some(now) });
    }

    /// Returns whether a cut at this time may leave `state`: exactly a state whose commit was
    /// begun, and none older than the last durable one.
    pub fn allows(&self, state: &S, at: usize) -> bool {
        let is_durable = |entry: &Entry<S>| entry.durable.is_some_and(|durable| durable <= at);
        let oldest = self.entries.iter().rposition(is_durable).unwrap_or(0);
        let candidates = self.entries[oldest..].iter().enumerate();
        candidates
            .filter(|(index, entry)| *index == 0 || entry.begun < at)
            .any(|(_, entry)| entry.state == *state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_leaves_nothing_before_the_durable_state_and_nothing_from_the_future() {
        let mut history = History::new('a');
        history.begin('b', 10);
        history.begin('c', 20);
        history.durable(30);
        history.begin('d', 40);
        let allowed = |at| "abcd".chars().filter(|state| history.allows(state, at)).collect();
        let allowed: Vec<String> = [0, 10, 11, 21, 30, 41].into_iter().map(allowed).collect();
        assert_eq!(allowed, ["a", "a", "ab", "abc", "c", "cd"]);
        history.reopened('c', 50, 60);
        assert!(history.allows(&'d', 59) && !history.allows(&'d', 60));
    }

    #[test]
    fn what_is_reported_late_says_nothing_of_what_came_after() {
        let mut history = History::new('a');
        let first = history.begin('b', 10);
        history.begin('c', 20);
        history.durable_to(first, 30);
        assert!(history.allows(&'a', 29) && !history.allows(&'a', 30));
        assert!(history.allows(&'b', 30) && history.allows(&'c', 30));
    }
}
