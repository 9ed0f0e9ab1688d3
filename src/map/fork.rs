//! Which process a mapping belongs to.
//!
//! A forked child has its parent's memory, but not the mappings of stores (they are
//! kept from it): a reference into one would show pages that the parent's checkpoints
//! write. So whoever was born in another process must be used for nothing, and its
//! mappings must not even be unmapped, since the child may have others there by then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use memmap2::MmapMut;
use rustix::mm::Advice;
use zerocopy::FromBytes;

/// A page that the kernel makes zero in a forked child, with a number for the process:
/// one load tells, where asking for the process's id would be a system call.
static MARK: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();

/// The process in which something was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForkGuard(u64);

impl ForkGuard {
    /// This process.
    pub(crate) fn here() -> Self {
        Self(match mark() {
            Some(mark) => match mark.load(Relaxed) {
                0 => name(mark),
                number => number,
            },
            None => process(),
        })
    }

    /// To keep in an atomic.
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// What [`number`](Self::number) gave.
    pub(super) fn of(number: u64) -> Self {
        Self(number)
    }

    /// Whether this is the process. A signal handler may ask.
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

/// Gives this process its number: its id, and a count of forks that ran into the same
/// page, so that an id that comes again is told from the first.
fn name(mark: &AtomicU64) -> u64 {
    static NAMED: AtomicU64 = AtomicU64::new(0);
    // A child has the parent's count, and another id than any ancestor alive.
    let number = NAMED.fetch_add(1, Relaxed) << 32 | process();
    let _ = mark.compare_exchange(0, number, Relaxed, Relaxed);
    mark.load(Relaxed)
}

/// `None` where the kernel cannot wipe pages (before 4.14), and under Miri.
fn mark() -> Option<&'static AtomicU64> {
    *MARK.get_or_init(|| {
        if cfg!(miri) {
            return None;
        }
        let page = Box::leak(Box::new(MmapMut::map_anon(size_of::<AtomicU64>()).ok()?));
        // SAFETY: the page is mapped, belongs to nobody else, and the advice changes
        // none of its bytes in this process.
        let advised = unsafe {
            rustix::mm::madvise(page.as_mut_ptr().cast(), page.len(), Advice::LinuxWipeOnFork)
        };
        advised.ok()?;
        AtomicU64::mut_from_bytes(&mut page[..]).ok().map(|mark| &*mark)
    })
}
