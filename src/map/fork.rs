//! Detects use of a mapping in a forked child.
//!
//! A forked child has its parent's memory, but not the mappings of stores, which are marked
//! don't-fork: a reference into one would show pages that the parent's checkpoints write. So
//! an object made in another process must not be used at all. Its mappings must not even be
//! unmapped, since the child may have other mappings at these addresses by then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use memmap2::MmapMut;
use rustix::mm::Advice;
use zerocopy::FromBytes;

/// A page that holds a number for this process and that the kernel zeroes in a forked child.
/// One load tells the processes apart, where asking for the process id would be a system call.
static MARK: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();

/// The process in which an object was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForkGuard(u64);

impl ForkGuard {
    /// Returns this process.
    pub(crate) fn here() -> Self {
        Self(match mark() {
            Some(mark) => match mark.load(Relaxed) {
                0 => name(mark),
                number => number,
            },
            None => process(),
        })
    }

    /// Returns the number that `of` takes, to keep in an atomic.
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// Makes a guard from the result of [`number`](Self::number).
    pub(super) fn of(number: u64) -> Self {
        Self(number)
    }

    /// Returns whether the caller runs in this process. A signal handler may call it.
    #[inline]
    pub(crate) fn is_same_process(self) -> bool {
        match MARK.get() {
            Some(Some(mark)) => mark.load(Relaxed) == self.0,
            _ => process() == self.0,
        }
    }
}

fn process() -> u64 {
    u64::from(std::process::id())
}

/// Gives this process its number: its id, and a count of the forks that ran into the same page.
/// The count tells a reused id from the first one.
fn name(mark: &AtomicU64) -> u64 {
    static NAMED: AtomicU64 = AtomicU64::new(0);
    // A child inherits the parent's count, and its id differs from that of every living ancestor.
    let number = NAMED.fetch_add(1, Relaxed) << 32 | process();
    let _ = mark.compare_exchange(0, number, Relaxed, Relaxed);
    mark.load(Relaxed)
}

/// Returns `None` where the kernel cannot wipe pages (before 4.14), and under Miri.
fn mark() -> Option<&'static AtomicU64> {
    *MARK.get_or_init(|| {
        if cfg!(miri) {
            return None;
        }
        let page = Box::leak(Box::new(MmapMut::map_anon(size_of::<AtomicU64>()).ok()?));
        // SAFETY: the page is mapped, nothing else uses it, and the advice changes none of its
        // bytes in this process.
        let advised = unsafe {
            rustix::mm::madvise(page.as_mut_ptr().cast(), page.len(), Advice::LinuxWipeOnFork)
        };
        advised.ok()?;
        AtomicU64::mut_from_bytes(&mut page[..]).ok().map(|mark| &*mark)
    })
}
