//! When a caller stops waiting.

use std::time::{Duration, Instant};

/// The instant after which a caller waits no longer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// The caller waits for as long as it takes.
    pub(crate) const NEVER: Self = Self(None);

    /// The caller waits for `at_most` from now. A time that ends after all that the clock can show
    /// never ends.
    pub(crate) fn after(at_most: Duration) -> Self {
        Self(Instant::now().checked_add(at_most))
    }

    /// Returns whether the caller waits no longer.
    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }

    /// Returns how long the caller still waits, or `at_most` if that is shorter.
    pub(crate) fn left(self, at_most: Duration) -> Duration {
        self.0.map_or(at_most, |end| end.saturating_duration_since(Instant::now()).min(at_most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_has_passed_at_once_and_all_time_never_does() {
        let second = Duration::from_secs(1);
        assert!(Deadline::after(Duration::ZERO).has_passed());
        assert_eq!(Deadline::after(Duration::ZERO).left(second), Duration::ZERO);
        for never in [Deadline::NEVER, Deadline::after(Duration::MAX)] {
            assert!(!never.has_passed());
            assert_eq!(never.left(second), second);
        }
        let hour = Deadline::after(second * 3600);
        assert!(!hour.has_passed() && hour.left(second) == second);
    }
}
