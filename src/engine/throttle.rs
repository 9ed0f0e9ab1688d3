//! Slows commits down while the log fills faster than a checkpoint frees it.
//!
//! **Owns** the delay of a commit. **Must not know** how long a checkpoint takes (`pace`).
//!
//! Without it, commits run at full speed until the log is full, and the one that finds it full waits
//! for the rest of the checkpoint. Here each pays for its share: if the log's free bytes are to last
//! for the time that the checkpoint still needs, a commit of some bytes is worth some time. A
//! commit that comes later than that after the one before it pays nothing.

use std::time::{Duration, Instant};

/// The part of the free log that commits may fill by the checkpoint's end, in tenths.
const TENTHS_OF_FREE: u32 = 8;
/// A shorter delay is carried over to the next commit: a thread cannot sleep that exactly.
const MIN_DELAY: Duration = Duration::from_micros(50);
/// How much of the time since the last commits counts for the next ones. A sleep that was too long
/// is made up for; a pause is not.
const MAX_CREDIT: Duration = Duration::from_millis(1);
/// The most that a commit is delayed, in times of a sync.
const MAX_SYNCS: u32 = 2;

/// What commits have paid for.
#[derive(Debug)]
pub(super) struct Throttle {
    /// The end of the last record.
    end: u64,
    /// When the commits so far are paid for.
    paid_until: Option<Instant>,
}

/// What a commit's delay depends on.
pub(super) struct Demand {
    /// Bytes of log that are free.
    pub(super) free_bytes: u64,
    /// The time until a checkpoint frees more.
    pub(super) left: Duration,
    /// The time of a sync.
    pub(super) sync: Duration,
}

impl Throttle {
    /// Begins at the log's end.
    pub(super) fn new(end: u64) -> Self {
        Self { end, paid_until: None }
    }

    /// Charges a commit whose record ends at `end` for its bytes, and for the padding before it.
    /// Returns when the commit may return, if that is later than `now`. With no demand it is free.
    pub(super) fn charge(
        &mut self,
        end: u64,
        demand: Option<Demand>,
        now: impl FnOnce() -> Instant,
    ) -> Option<Instant> {
        let bytes = end.saturating_sub(std::mem::replace(&mut self.end, end));
        let Demand { free_bytes, left, sync } = demand?;
        let now = now();
        let (credit, most) = (now.checked_sub(MAX_CREDIT).unwrap_or(now), now + MAX_SYNCS * sync);
        let price = left.mul_f64(price(bytes, free_bytes)).min(MAX_SYNCS * sync);
        let paid_until = self.paid_until.map_or(now, |until| (until + price).max(credit));
        let paid_until = paid_until.min(most);
        self.paid_until = Some(paid_until);
        (paid_until >= now + MIN_DELAY).then_some(paid_until)
    }
}

/// Returns which part of the time `bytes` are worth.
fn price(bytes: u64, free_bytes: u64) -> f64 {
    let usable = free_bytes as f64 * f64::from(TENTHS_OF_FREE) / 10.0;
    (bytes as f64 / usable.max(1.0)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const US: Duration = Duration::from_micros(1);
    const LOG: u64 = 1 << 20;

    /// Commits of some bytes, each a while after the last one has returned, beside a checkpoint of
    /// a known length. Returns the longest delay, and the bytes that were free at the end.
    fn run(checkpoint: Duration, sync: Duration, record: u64, pause: Duration) -> (Duration, u64) {
        let (mut throttle, start) = (Throttle::new(0), Instant::now());
        let (mut now, mut end, mut longest) = (start, LOG / 2, Duration::ZERO);
        throttle.charge(end, None, || now);
        while now < start + checkpoint {
            now += pause;
            end += record;
            let left = (start + checkpoint).saturating_duration_since(now) + sync;
            let Some(free_bytes) = LOG.checked_sub(end) else { return (longest, 0) };
            let demand = Demand { free_bytes, left, sync };
            if let Some(until) = throttle.charge(end, Some(demand), || now) {
                longest = longest.max(until - now);
                now = until;
            }
        }
        (longest, LOG - end)
    }

    #[test]
    fn commits_at_full_speed_leave_some_log_free_and_wait_for_two_syncs_at_most() {
        for (checkpoint, record) in [(100 * MS, 150), (1000 * MS, 150), (100 * MS, 16 * 1024)] {
            let sync = 20 * MS;
            let (longest, free) = run(checkpoint, sync, record, 10 * US);
            assert!(longest <= 2 * sync, "{longest:?}");
            assert!(free >= LOG / 64, "{checkpoint:?} {record}: {free}");
        }
    }

    #[test]
    fn commits_that_the_log_has_room_for_pay_nothing() {
        let (longest, free) = run(100 * MS, 20 * MS, 150, MS);
        assert_eq!(longest, Duration::ZERO);
        assert!(free > LOG / 3, "{free}");
    }

    #[test]
    fn a_long_pause_is_no_credit_for_a_burst() {
        let (mut throttle, now) = (Throttle::new(0), Instant::now());
        let demand = || Some(Demand { free_bytes: 100_000, left: 100 * MS, sync: 20 * MS });
        throttle.charge(100, demand(), || now);
        let later = now + Duration::from_secs(10);
        // The pause pays for the first of them.
        assert_eq!(throttle.charge(20_100, demand(), || later), None);
        // 20 KB of 80 KB are worth a quarter of the time.
        let until = throttle.charge(40_100, demand(), || later).expect("a delay");
        assert!((24 * MS..=25 * MS).contains(&(until - later)), "{:?}", until - later);
        let until = throttle.charge(80_100, demand(), || later).expect("a delay");
        assert_eq!(until - later, 40 * MS, "two syncs");
    }
}
