//! How processes that share a store's file meet: locks that the kernel drops when a
//! process dies, and a page of memory that all of them see.
//!
//! The locks are on bytes far behind the end of any file, and belong to the open file
//! description (OFD locks): a process has them in one store and not in another, and closing
//! some other descriptor of the file does not lose them, as it does with POSIX locks.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET, flock, off_t};

use super::system::uninterrupted;
use crate::format::coordination::{CoordinationPage, SLOTS};
use crate::map::{CoordinationMap, ForkGuard};

/// Where the bytes are that stand for locks.
const LOCKS_AT: off_t = off_t::MAX / 2 + 1;

/// What a lock is for. Each is had by one process, but for the two of modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lock {
    /// To open or close the store.
    Attach,
    /// To write: to append, to flush, to make a checkpoint.
    Write,
    /// That the process of this slot lives.
    Slot(usize),
}

/// The kinds of openings that can share the file among themselves, and not with the other
/// kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Reading a file that does not change.
    Reading,
    /// Writing it by turns.
    Sharing,
}

impl Lock {
    fn byte(self) -> off_t {
        match self {
            Self::Attach => 0,
            Self::Write => 1,
            Self::Slot(slot) => 4 + slot as off_t,
        }
    }
}

impl Mode {
    fn byte(self) -> off_t {
        match self {
            Self::Reading => 2,
            Self::Sharing => 3,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Reading => Self::Sharing,
            Self::Sharing => Self::Reading,
        }
    }
}

/// A meeting place of processes.
pub(crate) trait Coordination: Send + Sync {
    /// The page that all of them see.
    fn page(&self) -> &CoordinationPage;

    /// Takes a lock, unless another process has it.
    fn try_lock(&self, lock: Lock) -> io::Result<bool>;

    /// Gives it back.
    fn unlock(&self, lock: Lock) -> io::Result<()>;

    /// Whether another process has the lock.
    fn is_locked_by_other(&self, lock: Lock) -> io::Result<bool>;

    /// Refuses where the page has become this process's own: then what it stored there before
    /// this is asked may have reached nobody, and what it loaded may be zeros. It stays so.
    fn expect_shared(&self) -> io::Result<()>;

    /// Whether any other process has a slot.
    fn is_shared(&self) -> io::Result<bool> {
        for slot in 0..SLOTS {
            if self.is_locked_by_other(Lock::Slot(slot))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A meeting place in a file: a description of it that nobody else has, and its page.
struct FileCoordination {
    file: File,
    page: CoordinationMap,
    birth: ForkGuard,
}

/// The meeting place of all that have this file open. `file` is a description of its own,
/// open to write.
pub(crate) fn open_coordination(file: File) -> io::Result<Box<dyn Coordination>> {
    let page = uninterrupted(|| CoordinationMap::new(&file))?;
    Ok(Box::new(FileCoordination { file, page, birth: ForkGuard::here() }))
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
    /// Gives the locks back at once, also if a forked child has a copy of the descriptor;
    /// and not from such a child.
    fn drop(&mut self) {
        if self.birth.is_same_process() {
            let _ = unlock_all(&self.file);
        }
    }
}

/// Says in which way `file` is open; `false` if somebody has it open in the other way.
pub(super) fn lock_mode(file: &File, mode: Mode) -> io::Result<bool> {
    // First come in, then look: of two that do so at once, at least one sees the other.
    let has_entered = set(file, F_RDLCK, mode.byte())?;
    let other = mode.other().byte();
    Ok(has_entered && !is_locked(file, other..other + 1)?)
}

/// Gives back all locks of the description.
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

/// Whether it could be had.
fn set(file: &File, kind: i32, byte: off_t) -> io::Result<bool> {
    let lock = describe(kind, byte..byte + 1);
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
