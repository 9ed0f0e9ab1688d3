//! Coordination of the processes that share a store's file: locks that the kernel releases when
//! a process dies, and a shared page of memory.
//!
//! The locks cover bytes far past the end of any file, and belong to the open file description
//! (OFD locks): a process holds them in one store and not in another, and closing some other
//! descriptor of the file does not lose them, as it would with POSIX locks.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET, flock, off_t};

use super::retry::uninterrupted;
use crate::format::coordination::{CoordinationPage, SLOTS};
use crate::map::{CoordinationMap, ForkGuard};

/// The offset of the bytes that stand for locks.
const LOCKS_AT: off_t = off_t::MAX / 2 + 1;
/// The byte of the first slot. It changes whenever processes that read the coordination page in an
/// earlier way must be kept out.
const FIRST_SLOT: off_t = 196;
/// How long a process waits for another one that is alive but does not move.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a process looks whether it can say that it holds no snapshot any more.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The purpose of a lock. One process at a time holds each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lock {
    /// To open or close the store.
    Attach,
    /// To write: to append, to flush, to make a checkpoint.
    Write,
    /// To show that the process of this slot is alive.
    Slot(usize),
}

/// The way in which the file is open. Openings in the same mode can share the file; openings in
/// different modes cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Reading a file that does not change.
    Reading,
    /// Writing, one process at a time.
    Sharing,
}

impl Lock {
    fn byte(self) -> off_t {
        match self {
            Self::Attach => 0,
            Self::Write => 1,
            Self::Slot(slot) => FIRST_SLOT + slot as off_t,
        }
    }
}

impl Mode {
    /// Returns the bytes that everybody locks who has the file open in this mode.
    ///
    /// Whoever shares it also locks the bytes that were slots under earlier protocols, as everybody
    /// else does under this one. A process of such a protocol locks its slot for itself alone. So
    /// either of the two keeps the other one out.
    fn bytes(self) -> Range<off_t> {
        match self {
            Self::Reading => 2..3,
            Self::Sharing => 3..FIRST_SLOT,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Reading => Self::Sharing,
            Self::Sharing => Self::Reading,
        }
    }
}

/// The means by which processes coordinate.
pub(crate) trait Coordination: Send + Sync {
    /// Returns the page that all of them share.
    fn page(&self) -> &CoordinationPage;

    /// Takes a lock. Returns false if another process holds it.
    fn try_lock(&self, lock: Lock) -> io::Result<bool>;

    /// Releases a lock.
    fn unlock(&self, lock: Lock) -> io::Result<()>;

    /// Returns whether another process holds the lock.
    fn is_locked_by_other(&self, lock: Lock) -> io::Result<bool>;

    /// Fails if the page has become private to this process. In that case, other processes may
    /// not have seen what it stored there before the call, and what it loaded may be zeros. Once
    /// this fails, it always fails.
    fn expect_shared(&self) -> io::Result<()>;

    /// Returns how long a process waits for another one that is alive but does not move.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// Returns how often a process looks whether it can say that it holds no snapshot any more.
    fn look_interval(&self) -> Duration {
        LOOK_INTERVAL
    }

    /// Returns whether any other process has a slot.
    fn is_shared(&self) -> io::Result<bool> {
        for slot in 0..SLOTS {
            if self.is_locked_by_other(Lock::Slot(slot))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Coordination through a file: a description of the file that nobody else has, and its page.
struct FileCoordination {
    file: File,
    page: CoordinationMap,
    fork_guard: ForkGuard,
}

/// Opens the coordination of all processes that have this file open. `file` is a separate
/// description, open for writing.
pub(crate) fn open_coordination(file: File) -> io::Result<Box<dyn Coordination>> {
    let page = uninterrupted(|| CoordinationMap::new(&file))?;
    Ok(Box::new(FileCoordination { file, page, fork_guard: ForkGuard::here() }))
}

impl Coordination for FileCoordination {
    fn page(&self) -> &CoordinationPage {
        self.page.deref()
    }

    fn expect_shared(&self) -> io::Result<()> {
        self.page.expect_shared()
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        set(&self.file, F_WRLCK, lock.byte())
    }

    fn unlock(&self, lock: Lock) -> io::Result<()> {
        set(&self.file, F_UNLCK, lock.byte()).map(drop)
    }

    fn is_locked_by_other(&self, lock: Lock) -> io::Result<bool> {
        is_locked(&self.file, lock.byte()..lock.byte() + 1)
    }

    fn is_shared(&self) -> io::Result<bool> {
        is_locked(&self.file, Lock::Slot(0).byte()..Lock::Slot(SLOTS).byte())
    }
}

impl Drop for FileCoordination {
    /// Releases the locks at once, even if a forked child has a copy of the descriptor. Does
    /// nothing in such a child.
    fn drop(&mut self) {
        if self.fork_guard.is_same_process() {
            let _ = unlock_all(&self.file);
        }
    }
}

/// Declares the mode in which `file` is open. Returns false if it is open in the other mode.
pub(super) fn lock_mode(file: &File, mode: Mode) -> io::Result<bool> {
    // Lock first, then check: of two openings that do so at once, at least one sees the other.
    let has_entered = set_all(file, F_RDLCK, mode.bytes())?;
    // The first byte of each mode is its own.
    let other = mode.other().bytes().start;
    Ok(has_entered && !is_locked(file, other..other + 1)?)
}

/// Releases all locks of the description.
pub(super) fn unlock_all(file: &File) -> io::Result<()> {
    let all = describe(F_UNLCK, 0..Lock::Slot(SLOTS).byte());
    uninterrupted(|| fcntl(file, FcntlArg::F_OFD_SETLK(&all)).map(drop))
}

fn describe(kind: i32, bytes: Range<off_t>) -> flock {
    flock {
        l_type: kind as _,
        l_whence: SEEK_SET as _,
        l_start: LOCKS_AT + bytes.start,
        l_len: bytes.end - bytes.start,
        l_pid: 0,
    }
}

/// Sets a lock. Returns whether it was acquired.
fn set(file: &File, kind: i32, byte: off_t) -> io::Result<bool> {
    set_all(file, kind, byte..byte + 1)
}

fn set_all(file: &File, kind: i32, bytes: Range<off_t>) -> io::Result<bool> {
    let lock = describe(kind, bytes);
    uninterrupted(|| match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error),
    })
}

fn is_locked(file: &File, bytes: Range<off_t>) -> io::Result<bool> {
    let mut found = describe(F_WRLCK, bytes);
    uninterrupted(|| fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)))?;
    Ok(i32::from(found.l_type) != F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it has no file locks")]
    fn a_process_of_an_earlier_protocol_is_kept_out_and_keeps_others_out() -> io::Result<()> {
        /// The first slot under the earlier protocol.
        const EARLIER_SLOT: off_t = 4;
        let file = tempfile::NamedTempFile::new()?;
        let open = || File::options().read(true).write(true).open(file.path());
        let (first, second, earlier) = (open()?, open()?, open()?);
        assert!(lock_mode(&first, Mode::Sharing)? && lock_mode(&second, Mode::Sharing)?);
        assert!(!set(&earlier, F_WRLCK, EARLIER_SLOT)?);
        drop((first, second));
        assert!(set(&earlier, F_WRLCK, EARLIER_SLOT)?);
        assert!(!lock_mode(&open()?, Mode::Sharing)?);
        Ok(())
    }
}
