//! A page of a file that memory cannot have: an error where the kernel sends SIGBUS.
//!
//! A store to a shared mapping needs a block of the disk where the file has a hole, or shares the
//! block with a copy of itself (reflink), which anybody may have made a moment ago. If the disk
//! is full then, the kernel has no other answer than SIGBUS; nor has it where the file was cut or
//! a sector cannot be read. A system call before each store would cost more than the store. So
//! the process has a handler: in a mapping that is guarded, it puts memory of this process alone
//! in the place of the page and notes that it did. The store ends there, and whoever made it
//! looks at the note.
//!
//! A SIGBUS anywhere else goes to whoever had the signal before, or kills as before. Two things
//! take the guard away: a handler of another library that is installed later and does not hand
//! on, and a thread that blocks the signal. Then the process ends, as it would without.
//!
//! # What the handler rests on
//!
//! It makes loads and stores of atomics and one system call: nothing that could not be
//! interrupted. An entry's range is one word, so no two halves are ever of different ranges. A
//! range stands there before the mapping is first used, and until after the last use: a fault in
//! it finds it. A fault elsewhere finds no range around it: the kernel gives the address of a
//! mapping to another one only after it was unmapped, and the range was taken away before that.
//! In a forked child, which has the table and not the mappings, the birth of each entry is
//! another one.

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::sync::atomic::{Ordering::Release, Ordering::SeqCst, compiler_fence, fence};

use nix::libc::{BUS_ADRERR, BUS_MCEERR_AR, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::ForkGuard;
use crate::format::PAGE_BYTES;

/// A page of memory: machines with other pages than the file's are refused before anything is mapped.
const MACHINE_PAGE_BYTES: usize = PAGE_BYTES as usize;

/// Entries that lie together.
const CHUNK: usize = 64;
/// Bits of a packed range that hold the number of its pages.
const COUNT_BITS: u32 = 20;
/// No range: what a free entry has.
const FREE: u64 = 0;
/// A range that is about to be written down: no page, so nothing lies in it.
const CLAIMED: u64 = 1 << COUNT_BITS;

/// A guarded range, or room for one.
struct Entry {
    /// Its first page and how many there are, in one word.
    range: AtomicU64,
    birth: AtomicU64,
    is_hit: AtomicBool,
}

/// Entries, and more of them. None is ever taken away, since a handler may be looking.
struct Chunk {
    entries: [Entry; CHUNK],
    next: OnceLock<Box<Chunk>>,
}

static FIRST: Chunk = Chunk::new();

/// What SIGBUS did before. Not there yet while the handler is being installed.
static PREVIOUS: OnceLock<Result<SigAction, i32>> = OnceLock::new();

/// Whether `PREVIOUS`, which was to be called once (SA_RESETHAND), was.
static IS_SPENT: AtomicBool = AtomicBool::new(false);

/// A guarded mapping. Dropped before the mapping is.
pub(super) struct Guard {
    entry: &'static Entry,
}

impl Guard {
    /// Guards the `len_bytes` that are mapped at `start`, and that nobody has used yet.
    pub(super) fn new(start: *const u8, len_bytes: usize) -> io::Result<Self> {
        install()?;
        let range = pack(start.addr(), len_bytes)?;
        let entry = Chunk::claim();
        entry.is_hit.store(false, Relaxed);
        entry.birth.store(ForkGuard::here().number(), Relaxed);
        entry.range.store(range, Release);
        Ok(Self { entry })
    }

    /// Whether a page of the mapping is not the file's any more, so that what was just stored
    /// there, or loaded, was not. It stays so.
    ///
    /// Asked after the access, by the thread that made it, or one that is told of it: a
    /// handler runs between two instructions of its thread, and the kernel shows a changed
    /// mapping to other threads after what the handler had written before.
    #[inline]
    pub(super) fn is_hit(&self) -> bool {
        compiler_fence(SeqCst);
        // Loads before it stay before it; what was stored is this thread's own.
        fence(Acquire);
        self.entry.is_hit.load(Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.entry.range.store(FREE, Release);
    }
}

/// What is told where a guarded page could not be had.
#[cold]
pub(super) fn no_block() -> io::Error {
    let why = "a page of the file could not be had through its mapping (SIGBUS), where a block \
               of its own was expected: the disk is full and the block is a hole or shared with \
               a copy of the file (reflink), or the file was cut, or a sector is bad; make \
               room, and open the store again";
    io::Error::new(io::ErrorKind::StorageFull, why)
}

/// The pages from `start` on, as one word.
fn pack(start: usize, len_bytes: usize) -> io::Result<u64> {
    let (first, count) = (start / MACHINE_PAGE_BYTES, len_bytes.div_ceil(MACHINE_PAGE_BYTES));
    let fits = (first as u64) < 1 << (64 - COUNT_BITS) && (count as u64) < 1 << COUNT_BITS;
    let packed = (first as u64) << COUNT_BITS | count as u64;
    if fits { Ok(packed) } else { Err(io::Error::other("a mapping too large to be guarded")) }
}

impl Entry {
    const fn free() -> Self {
        let (range, birth) = (AtomicU64::new(FREE), AtomicU64::new(0));
        Self { range, birth, is_hit: AtomicBool::new(false) }
    }

    fn claim(&self) -> bool {
        self.range.compare_exchange(FREE, CLAIMED, Acquire, Relaxed).is_ok()
    }

    fn has(&self, page: u64) -> bool {
        let range = self.range.load(Acquire);
        let (first, count) = (range >> COUNT_BITS, range & ((1 << COUNT_BITS) - 1));
        page.wrapping_sub(first) < count
            && ForkGuard::of(self.birth.load(Relaxed)).is_same_process()
    }
}

impl Chunk {
    const fn new() -> Self {
        Self { entries: [const { Entry::free() }; CHUNK], next: OnceLock::new() }
    }

    /// An entry that was free.
    fn claim() -> &'static Entry {
        let mut chunk = &FIRST;
        loop {
            if let Some(entry) = chunk.entries.iter().find(|entry| entry.claim()) {
                return entry;
            }
            chunk = chunk.next.get_or_init(|| Box::new(Self::new()));
        }
    }

    /// The entry around a page; called by the handler.
    fn around(page: u64) -> Option<&'static Entry> {
        let mut chunk = Some(&FIRST);
        while let Some(some) = chunk {
            if let Some(entry) = some.entries.iter().find(|entry| entry.has(page)) {
                return Some(entry);
            }
            chunk = some.next.get().map(|next| &**next);
        }
        None
    }
}

/// Installs the handler, the first time.
fn install() -> io::Result<()> {
    let previous = PREVIOUS.get_or_init(|| {
        let flags = SaFlags::SA_ONSTACK;
        let ours = SigAction::new(SigHandler::SigAction(on_sigbus), flags, SigSet::empty());
        // SAFETY: `on_sigbus` does what a handler may (the head says what that is), and hands on
        // what is not its own.
        unsafe { sigaction(Signal::SIGBUS, &ours) }.map_err(|error| error as i32)
    });
    match previous {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::from_raw_os_error(*error)),
    }
}

extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO what it knows of the signal.
    let found = unsafe { &*info };
    // Else it is not the kernel's answer to an access, and there is no address.
    let is_fault = [BUS_ADRERR, BUS_MCEERR_AR].contains(&found.si_code);
    if is_fault {
        // SAFETY: the code says that the kernel has filled in the address.
        let address = unsafe { found.si_addr() }.addr();
        if replace_page(address / MACHINE_PAGE_BYTES) {
            return;
        }
    }
    hand_on(signal, info, context, found.si_code > 0);
}

/// Puts memory of this process in the place of a page of a guarded mapping.
fn replace_page(page: usize) -> bool {
    let Some(entry) = Chunk::around(page as u64) else { return false };
    // Before the page is there: whoever sees it sees this.
    entry.is_hit.store(true, SeqCst);
    let address = std::ptr::without_provenance_mut::<c_void>(page * MACHINE_PAGE_BYTES);
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
    // SAFETY: the page belongs to a guarded mapping of this process, which is used through
    // atomics and raw copies alone, to which any bytes will do: no reference says what they are.
    // It is unmapped with the mapping around it.
    unsafe { mmap_anonymous(address, MACHINE_PAGE_BYTES, access, flags) }.is_ok()
}

/// Does what would have been done without this handler. `is_repeated` if it comes again once
/// the handler returns.
fn hand_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void, is_repeated: bool) {
    // While it is being installed: it comes again, or was sent in the one moment when
    // nobody knows to whom.
    let Some(Ok(previous)) = PREVIOUS.get() else { return };
    let is_once = previous.flags().contains(SaFlags::SA_RESETHAND);
    let is_spent = is_once && IS_SPENT.swap(true, SeqCst);
    // What the kernel would have blocked for it; it is as before when this handler returns.
    let _ = previous.mask().thread_block();
    match previous.handler() {
        SigHandler::SigAction(handler) if !is_spent => handler(signal, info, context),
        SigHandler::Handler(handler) if !is_spent => handler(signal),
        // To ignore the answer to an access is not possible: the kernel kills.
        SigHandler::SigIgn if !is_repeated => {}
        _ => die(is_repeated),
    }
}

fn die(is_repeated: bool) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is called any more.
    let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
    if !is_repeated {
        // It is blocked until the handler returns.
        let _ = raise(Signal::SIGBUS);
    }
}

#[cfg(test)]
#[cfg(not(miri))]
mod tests {
    use super::*;
    use crate::map::LogMap;
    use nix::libc;
    use std::fs::File;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};

    const CHILD: &str = "FLAGSTONE_SIGBUS";
    const LEN: usize = 16384;

    /// A file of four pages, which is then cut to one.
    fn cut_after(use_it: impl FnOnce(&File)) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LEN as u64).unwrap();
        use_it(&file);
        file.set_len(4096).unwrap();
        file
    }

    #[test]
    fn a_page_that_is_gone_is_an_error_for_stores_loads_and_flushes() {
        let mut map = None;
        let file = cut_after(|file| map = Some(LogMap::new(file, 0, LEN as u64).unwrap()));
        let map = map.unwrap();
        map.store(8, &[7; 16]).unwrap();
        map.flush(0, 4096).unwrap();
        assert!(!map.is_lost());
        let error = map.store(8192, &[1; 64]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(map.is_lost());
        assert!(map.flush(0, 4096).is_err(), "msync passes over memory that is no file's");
        assert!(map.store(8, &[8; 16]).is_err(), "nothing more is stored");
        assert_eq!(file.metadata().unwrap().len(), 4096);
        drop(map);
        // Its place in the table is free for another one, which begins unharmed.
        let mut map = None;
        let _file = cut_after(|file| map = Some(LogMap::new(file, 0, LEN as u64).unwrap()));
        let map = map.unwrap();
        assert!(!map.is_lost());
        let mut bytes = [1; 100];
        map.load(5000, &mut bytes).unwrap();
        assert!(map.is_lost() && bytes == [0; 100]);
    }

    #[test]
    fn many_threads_may_hit_at_once_and_many_maps_be_guarded() {
        let maps: Vec<_> = (0..3 * CHUNK)
            .map(|_| {
                let mut map = None;
                cut_after(|file| map = Some(LogMap::new(file, 0, LEN as u64).unwrap()));
                map.unwrap()
            })
            .collect();
        let (last, others) = maps.split_last().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for map in others.iter().skip(thread % 3) {
                        assert!(map.store(12288, &[thread as u8; 4096]).is_err());
                    }
                });
            }
        });
        assert!(others.iter().all(LogMap::is_lost));
        assert!(!last.is_lost());
    }

    /// Runs this test alone in a child, which is to do `what`.
    fn run_child(test: &str, what: &str) -> ExitStatus {
        let test = format!("map::sigbus::tests::{test}");
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", &test, "--nocapture"]).env(CHILD, what);
        child.output().unwrap().status
    }

    extern "C" fn end_with_42(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
        // SAFETY: as in `on_sigbus`.
        let found = unsafe { &*info };
        // SAFETY: nothing of the process is used any more.
        unsafe { libc::_exit(if found.si_code == BUS_ADRERR { 42 } else { 43 }) }
    }

    extern "C" fn end_with_44(_: c_int) {
        // SAFETY: as above.
        unsafe { libc::_exit(44) }
    }

    fn set(handler: SigHandler, flags: SaFlags) {
        let action = SigAction::new(handler, flags, SigSet::empty());
        // SAFETY: the handlers above do what a handler may.
        unsafe { sigaction(Signal::SIGBUS, &action) }.unwrap();
    }

    /// What a child does: the program's own handler, a guarded map, and a SIGBUS of its own.
    fn meet_a_foreign_sigbus(what: &str) {
        match what {
            "own handler" => set(SigHandler::SigAction(end_with_42), SaFlags::SA_SIGINFO),
            "simple handler" => set(SigHandler::Handler(end_with_44), SaFlags::empty()),
            "ignored" => set(SigHandler::SigIgn, SaFlags::empty()),
            "default" | "killed" => set(SigHandler::SigDfl, SaFlags::empty()),
            // The one of Rust's standard library.
            _ => {}
        }
        let file = tempfile::tempfile().unwrap();
        file.set_len(LEN as u64).unwrap();
        let guarded = LogMap::new(&file, 0, LEN as u64).unwrap();
        let mut own = None;
        cut_after(|file| own = Some(memmap2::MmapRaw::map_raw(file).unwrap()));
        if what == "killed" || what == "ignored" {
            raise(Signal::SIGBUS).unwrap();
            assert_eq!(what, "ignored");
        }
        let own = own.unwrap();
        let address = own.as_mut_ptr().wrapping_add(8192);
        // SAFETY: none: this is what ends the child, or calls its handler.
        unsafe { address.write_volatile(1) };
        drop((guarded, own));
        panic!("it goes on, and the page is not there");
    }

    #[test]
    fn a_sigbus_elsewhere_goes_to_whoever_had_it_before() {
        const NAME: &str = "a_sigbus_elsewhere_goes_to_whoever_had_it_before";
        if let Ok(what) = std::env::var(CHILD) {
            meet_a_foreign_sigbus(&what);
        }
        assert_eq!(run_child(NAME, "own handler").code(), Some(42));
        assert_eq!(run_child(NAME, "simple handler").code(), Some(44));
        for what in ["default", "the library's", "ignored", "killed"] {
            assert_eq!(run_child(NAME, what).signal(), Some(libc::SIGBUS), "{what}");
        }
    }
}
