//! Whether this process may hold a snapshot, as the other processes see it.
//!
//! **Owns** `holds` in the process's slot. A reader announces, then looks what is visible; a checkpoint
//! makes all visible that it will write, then looks who has announced (docs/design/sharing.md). So of
//! the two, at least one sees the other.
//!
//! A store to the page may wait for the file system, which write-protects it with each sync. So the
//! word is not withdrawn by the reader that leaves, but by the service thread, when no snapshot was
//! taken for a while and none is held.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use super::state::{Announcement, ImagesLock, Sharing};
use crate::engine::core::Core;
use crate::mutation::Mutation;

impl Sharing {
    /// Returns how often the service thread looks whether the word can be withdrawn: 100 ms. It is
    /// withdrawn before twice that time has passed without a snapshot.
    pub(super) fn look_interval(&self) -> Duration {
        self.coordination.look_interval()
    }

    /// Announces that this process may hold a snapshot. The caller looks what is visible after
    /// that, and keeps the images locked until it has its snapshot, so the announcement stands
    /// meanwhile.
    #[inline]
    pub(super) fn announce(&self, _images: &ImagesLock<'_>) {
        let Announcement { is_made, is_used } = &self.announcement;
        if !is_made.load(Relaxed) {
            self.announce_now();
        }
        is_used.store(true, Relaxed);
    }

    #[cold]
    fn announce_now(&self) {
        self.own().holds.store(1, SeqCst);
        self.announcement.is_made.store(true, Relaxed);
    }

    /// Announces that this process works with images that it holds for nobody, while it does `work`.
    pub(super) fn announce_following<R>(&self, work: impl FnOnce() -> R) -> R {
        self.own().follows.store(1, SeqCst);
        let done = work();
        self.own().follows.store(0, SeqCst);
        done
    }
}

impl Core {
    /// Withdraws the announcement if no snapshot was taken since the last call and none is held.
    /// Publishes which is held.
    pub(super) fn withdraw_if_unused(&self, sharing: &Sharing) {
        let Announcement { is_made, is_used } = &sharing.announcement;
        if !is_made.load(Relaxed) {
            return;
        }
        let images = sharing.lock_images();
        sharing.note_oldest_snapshot(self.pool.oldest());
        let was_used = is_used.swap(false, Relaxed);
        let is_needed = self.pool.is_held() && !self.mutation(Mutation::WithdrawnWithoutScan);
        if was_used || is_needed {
            return;
        }
        is_made.store(false, Relaxed);
        sharing.own().heap_bytes.store(0, SeqCst);
        sharing.own().holds.store(0, SeqCst);
        drop(images);
        sharing.page().ack_event.notify();
    }
}

/// A model of the two who must not pass each other, on a machine that holds stores back until a fence:
/// every order of their steps is tried.
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The shared words: whether the reader holds, and whether all is visible up to the barrier.
    const HOLDS: usize = 0;
    const VISIBLE: usize = 1;

    #[derive(Clone, Copy, PartialEq)]
    enum Step {
        Store(usize),
        /// Waits until all stores before have reached the others, as a store that is `SeqCst`.
        Fence,
        /// Notes what the word holds.
        Load(usize),
    }
    use Step::{Fence, Load, Store};

    const READER: &[Step] = &[Store(HOLDS), Fence, Load(VISIBLE)];
    const CHECKPOINT: &[Step] = &[Store(VISIBLE), Fence, Load(HOLDS)];

    #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
    struct Thread {
        next: usize,
        /// Stores that the other one does not see yet, in their order.
        held_back: Vec<usize>,
        loaded: [Option<bool>; 2],
    }

    #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
    struct Machine {
        words: [bool; 2],
        threads: [Thread; 2],
    }

    impl Machine {
        /// Returns the states after one step of a thread: its next one, or a store of it that reaches
        /// the other one.
        fn successors(&self, programs: [&[Step]; 2]) -> Vec<Self> {
            let mut all = Vec::new();
            for (who, program) in programs.into_iter().enumerate() {
                let mut later = self.clone();
                let thread = &mut later.threads[who];
                if !thread.held_back.is_empty() {
                    let mut arrived = self.clone();
                    let word = arrived.threads[who].held_back.remove(0);
                    arrived.words[word] = true;
                    all.push(arrived);
                }
                match program.get(thread.next) {
                    None => continue,
                    Some(Fence) if !thread.held_back.is_empty() => continue,
                    Some(Fence) => {}
                    Some(Store(word)) => thread.held_back.push(*word),
                    Some(Load(word)) => {
                        let is_own = thread.held_back.contains(word);
                        thread.loaded[*word] = Some(is_own || self.words[*word]);
                    }
                }
                thread.next += 1;
                all.push(later);
            }
            all
        }

        /// Returns whether the reader uses an image from before the barrier, and was not asked.
        fn is_wrong(&self) -> bool {
            let [reader, checkpoint] = &self.threads;
            reader.loaded[VISIBLE] == Some(false) && checkpoint.loaded[HOLDS] == Some(false)
        }
    }

    /// Returns all states that the two can get into.
    fn explore(programs: [&[Step]; 2]) -> BTreeSet<Machine> {
        let mut seen = BTreeSet::from([Machine::default()]);
        let mut left: Vec<_> = seen.iter().cloned().collect();
        while let Some(state) = left.pop() {
            let new = state.successors(programs).into_iter();
            left.extend(new.filter(|state| seen.insert(state.clone())));
        }
        seen
    }

    #[test]
    fn a_reader_and_a_checkpoint_do_not_pass_each_other() {
        let states = explore([READER, CHECKPOINT]);
        assert!(states.iter().all(|state| !state.is_wrong()));
        let ends =
            states.iter().filter(|state| state.threads.iter().all(|thread| thread.next == 3));
        let found: BTreeSet<_> = ends.map(|end| end.threads.clone().map(|x| x.loaded)).collect();
        assert_eq!(found.len(), 3, "one of them sees the other, or both do: {found:?}");
    }

    #[test]
    fn each_fence_and_each_order_is_needed() {
        let finds = |programs| explore(programs).iter().any(Machine::is_wrong);
        let (no_fence, look_first) =
            ([Store(HOLDS), Load(VISIBLE)], [Load(VISIBLE), Store(HOLDS), Fence]);
        assert!(finds([&no_fence, CHECKPOINT]) && finds([&look_first, CHECKPOINT]));
        let (no_fence, ask_first) =
            ([Store(VISIBLE), Load(HOLDS)], [Load(HOLDS), Store(VISIBLE), Fence]);
        assert!(finds([READER, &no_fence]) && finds([READER, &ask_first]));
    }
}
