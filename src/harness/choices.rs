//! The source of a subject's steps.
//!
//! **Owns** the recording of choices: a step is drawn at random once, and drawn again from the
//! recording whenever a history is replayed, in this process or in a child. **Must not know**
//! what the choices mean.
//!
//! A recorded choice is a number, and a smaller number is simpler. The shrinker works on numbers
//! alone, and every result is a step that the subject itself could have drawn. No step needs a
//! rule for shrinking it.

use std::ops::RangeInclusive;

use crate::sim::Random;

/// A source of choices that records what it returned.
///
/// The first possible answer of each method is the simplest one, and shrinking moves towards it.
/// So list the plainest kind of step first, and let 0 stand for little.
///
/// ```
/// use flagstone::harness::Choices;
///
/// let mut choices = Choices::from_seed(7);
/// let kind = *choices.pick(&["push", "pop", "clear"]);
/// let value = choices.between(1..=6);
/// assert!(["push", "pop", "clear"].contains(&kind) && (1..=6).contains(&value));
/// ```
#[derive(Clone, Debug)]
pub struct Choices {
    recorded: Vec<u64>,
    /// The number of choices returned so far.
    given: usize,
    /// The source of choices after the recording; zeros if `None`.
    more: Option<Random>,
}

impl Choices {
    /// Returns a source whose choices follow from `seed`.
    ///
    /// ```
    /// # use flagstone::harness::Choices;
    /// let (mut one, mut other) = (Choices::from_seed(7), Choices::from_seed(7));
    /// assert_eq!(one.letters(9..=9), other.letters(9..=9));
    /// assert_ne!(one.any(), Choices::from_seed(8).any());
    /// ```
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self::replay(Vec::new(), Some(seed))
    }

    /// Replays the recorded choices, then draws new ones.
    pub(super) fn replay(recorded: Vec<u64>, seed: Option<u64>) -> Self {
        Self { recorded, given: 0, more: seed.map(Random) }
    }

    /// Returns the choices made, to be recorded.
    pub(super) fn into_given(mut self) -> Vec<u64> {
        self.recorded.truncate(self.given);
        self.recorded
    }

    /// Returns a number up to `most`. A recorded number may exceed it, if an earlier step was
    /// shrunk.
    fn up_to(&mut self, most: u64) -> u64 {
        if self.given == self.recorded.len() {
            let next = match &mut self.more {
                None => 0,
                Some(random) if most == u64::MAX => random.next(),
                Some(random) => random.below(most + 1),
            };
            self.recorded.push(next);
        }
        let value = self.recorded[self.given].min(most);
        self.recorded[self.given] = value;
        self.given += 1;
        value
    }

    /// Returns any number.
    ///
    /// ```
    /// # use flagstone::harness::Choices;
    /// # let mut choices = Choices::from_seed(1);
    /// let numbers: Vec<u64> = (0..100).map(|_| choices.any()).collect();
    /// assert!(numbers.iter().any(|number| *number > u64::MAX / 2));
    /// ```
    pub fn any(&mut self) -> u64 {
        self.up_to(u64::MAX)
    }

    /// Returns a number below `limit`; a `limit` of 0 counts as 1.
    ///
    /// ```
    /// # use flagstone::harness::Choices;
    /// # let mut choices = Choices::from_seed(1);
    /// let sum: u64 = (0..1000).map(|_| choices.below(3)).sum();
    /// assert!((900..1100).contains(&sum));
    /// assert_eq!(choices.below(0), 0);
    /// ```
    pub fn below(&mut self, limit: u64) -> u64 {
        self.up_to(limit.saturating_sub(1))
    }

    /// Returns a number in `range`, or its start if the range is empty.
    ///
    /// ```
    /// # use std::collections::BTreeSet;
    /// # use flagstone::harness::Choices;
    /// # let mut choices = Choices::from_seed(1);
    /// let thrown: BTreeSet<u64> = (0..100).map(|_| choices.between(1..=6)).collect();
    /// assert_eq!(thrown, (1..=6).collect());
    /// ```
    pub fn between(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (start, end) = range.into_inner();
        start + self.up_to(end.saturating_sub(start))
    }

    /// Returns an index below `len`, or 0 if `len` is 0.
    ///
    /// ```
    /// # use flagstone::harness::Choices;
    /// # let mut choices = Choices::from_seed(1);
    /// let model = vec!["Ada", "Bob", "Eve"];
    /// let removed = choices.index(model.len());
    /// assert!(model.get(removed).is_some());
    /// let inserted = choices.index(model.len() + 1);
    /// assert!(inserted <= model.len());
    /// ```
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Returns true with a probability of one in `of`; false is simpler.
    ///
    /// ```
    /// # use flagstone::harness::Choices;
    /// # let mut choices = Choices::from_seed(1);
    /// let rare = (0..3000).filter(|_| choices.one_in(100)).count();
    /// assert!((10..60).contains(&rare));
    /// ```
    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) + 1 == of
    }

    /// Returns an element of `from`.
    ///
    /// ```
    /// # use flagstone::harness::Choices;
    /// # let mut choices = Choices::from_seed(1);
    /// let sizes = [1, 100, 10_000]; // the simplest first
    /// let size = *choices.pick(&sizes);
    /// assert!(sizes.contains(&size));
    /// ```
    ///
    /// # Panics
    ///
    /// If `from` is empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// Returns an element of `from`, with a probability in proportion to its weight.
    ///
    /// ```
    /// # use flagstone::harness::Choices;
    /// # let mut choices = Choices::from_seed(1);
    /// let steps = [(9, "insert"), (1, "clear")];
    /// let drawn: Vec<&str> = (0..1000).map(|_| *choices.weighted(&steps)).collect();
    /// let clears = drawn.iter().filter(|step| **step == "clear").count();
    /// assert!((50..150).contains(&clears));
    /// ```
    ///
    /// # Panics
    ///
    /// If `from` is empty.
    pub fn weighted<'a, T>(&mut self, from: &'a [(u32, T)]) -> &'a T {
        let mut left = self.below(from.iter().map(|(weight, _)| u64::from(*weight)).sum());
        for (weight, item) in from {
            match left.checked_sub(u64::from(*weight)) {
                None => return item,
                Some(rest) => left = rest,
            }
        }
        &from[0].1
    }

    /// Returns random bytes; their number is within `len`.
    ///
    /// ```
    /// # use flagstone::harness::Choices;
    /// # let mut choices = Choices::from_seed(1);
    /// let bytes = choices.bytes(16..=64);
    /// assert!((16..=64).contains(&bytes.len()));
    /// ```
    pub fn bytes(&mut self, len: RangeInclusive<u64>) -> Vec<u8> {
        (0..self.between(len)).map(|_| self.below(256) as u8).collect()
    }

    /// Returns random lowercase letters; their number is within `len`.
    ///
    /// ```
    /// # use flagstone::harness::Choices;
    /// # let mut choices = Choices::from_seed(1);
    /// let name = choices.letters(1..=20);
    /// assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()));
    /// ```
    pub fn letters(&mut self, len: RangeInclusive<u64>) -> String {
        (0..self.between(len)).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(choices: &mut Choices) -> (u64, bool, char, Vec<u8>, u64) {
        let kind = *choices.weighted(&[(3, 'a'), (0, 'b'), (1, 'c')]);
        (choices.below(10), choices.one_in(3), kind, choices.bytes(1..=4), choices.any())
    }

    #[test]
    fn what_was_recorded_is_given_again_and_can_be_anything() {
        for seed in 0..200 {
            let mut first = Choices::from_seed(seed);
            let drawn = draw(&mut first);
            assert!(drawn.2 != 'b', "it has no weight");
            let recorded = first.into_given();
            assert_eq!(draw(&mut Choices::replay(recorded.clone(), None)), drawn);
            let mut damaged = recorded;
            damaged.iter_mut().for_each(|choice| *choice ^= seed << 5);
            damaged.truncate(seed as usize % 5);
            let (below, _, _, bytes, _) = draw(&mut Choices::replay(damaged, None));
            assert!(below < 10 && (1..=4).contains(&bytes.len()));
        }
        let simplest = draw(&mut Choices::replay(Vec::new(), None));
        assert_eq!(simplest, (0, false, 'a', vec![0], 0));
    }
}
