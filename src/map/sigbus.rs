//! Turns SIGBUS in a guarded mapping into an error.
//!
//! A store to a shared mapping needs a block of the disk where the file has a hole, or where the
//! file shares the block with a copy of itself (reflink), which anybody may have made a moment
//! ago. If the disk is full then, SIGBUS is the only answer the kernel has. It has no other one
//! either where the file was cut or a sector cannot be read. A system call before each store
//! would cost more than the store. So the process has a handler: in a guarded mapping, it
//! replaces the page with memory of this process alone and sets a flag. The store completes
//! there, and the code that made it checks the flag.
//!
//! A SIGBUS anywhere else goes to the previous handler, or kills the process as before. Two
//! things defeat the guard: another library installs a handler later that does not forward the
//! signal, or a thread blocks the signal. Then the process ends, as it would without the guard.
//!
//! # Why the handler is sound
//!
//! To replace a page, it makes only atomic loads and stores and system calls, which are safe in
//! code that may interrupt any other. An entry's range is one word, so its two halves always belong
//! to the same range. The range is published before the mapping is first used, and removed after
//! the last use, so a fault in the mapping finds it. A fault elsewhere finds no range around it:
//! the kernel gives the address of a mapping to another one only after it was unmapped, and the
//! range was removed before that. A forked child has the table but not the mappings; there, the
//! fork guard of each entry names another process.

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed};
use std::sync::atomic::{Ordering::Release, Ordering::SeqCst, compiler_fence, fence};

use nix::libc::{BUS_ADRERR, BUS_MCEERR_AR, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::ForkGuard;
use super::machine_page::system_page_bytes;

/// The size of the real pages, which the kernel replaces. Set before the handler is installed.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// Entries in a chunk.
const CHUNK: usize = 64;
/// Bits of a packed range that hold its number of pages.
const COUNT_BITS: u32 = 20;
/// The range of a free entry.
const FREE: u64 = 0;
/// The range of an entry that is about to be filled in. It has no pages, so it contains nothing.
const CLAIMED: u64 = 1 << COUNT_BITS;

/// A guarded range, or a free slot for one.
struct Entry {
    /// First page and number of pages, packed into one word.
    range: AtomicU64,
    birth: AtomicU64,
    is_hit: AtomicBool,
}

/// A chunk of the table, and the next one. Chunks are never freed, since a handler may be reading.
struct Chunk {
    entries: [Entry; CHUNK],
    next: OnceLock<Box<Chunk>>,
}

static FIRST: Chunk = Chunk::new();

/// The previous SIGBUS action. Unset while the handler is being installed.
static PREVIOUS: OnceLock<Result<SigAction, i32>> = OnceLock::new();

/// Whether `PREVIOUS`, if it was to be called only once (SA_RESETHAND), has been called.
static IS_SPENT: AtomicBool = AtomicBool::new(false);

/// A guarded mapping. Dropped before the mapping.
pub(super) struct Guard {
    entry: &'static Entry,
}

impl Guard {
    /// Guards the `len_bytes` mapped at `start`, which nobody has used yet.
    pub(super) fn new(start: *const u8, len_bytes: usize) -> io::Result<Self> {
        install()?;
        let range = pack(start.addr(), len_bytes)?;
        let entry = Chunk::claim();
        entry.is_hit.store(false, Relaxed);
        entry.birth.store(ForkGuard::here().number(), Relaxed);
        entry.range.store(range, Release);
        Ok(Self { entry })
    }

    /// Returns whether a page of the mapping is no longer the file's, so that a store or load
    /// just made there missed the file. Once true, it stays true.
    ///
    /// Must be called after the access, by the thread that made it or by one that was told of
    /// it: a handler runs between two instructions of its thread, and the kernel shows a changed
    /// mapping to other threads after what the handler wrote before.
    #[inline]
    pub(super) fn is_hit(&self) -> bool {
        compiler_fence(SeqCst);
        // Loads before this check stay before it; the stores in question are this thread's own.
        fence(Acquire);
        self.entry.is_hit.load(Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.entry.range.store(FREE, Release);
    }
}

/// Returns the error for a guarded page that the file could not provide.
#[cold]
pub(super) fn no_block() -> io::Error {
    let why = "a page of the file could not be had through its mapping (SIGBUS), where a block \
               of its own was expected: the disk is full and the block is a hole or shared with \
               a copy of the file (reflink), or the file was cut, or a sector is bad; make \
               room, and open the store again";
    io::Error::new(io::ErrorKind::StorageFull, why)
}

/// Packs the pages from `start` on into one word.
fn pack(start: usize, len_bytes: usize) -> io::Result<u64> {
    let page_bytes = PAGE_BYTES.load(Relaxed);
    let (first, count) = (start / page_bytes, len_bytes.div_ceil(page_bytes));
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

    /// Claims a free entry.
    fn claim() -> &'static Entry {
        let mut chunk = &FIRST;
        loop {
            if let Some(entry) = chunk.entries.iter().find(|entry| entry.claim()) {
                return entry;
            }
            chunk = chunk.next.get_or_init(|| Box::new(Self::new()));
        }
    }

    /// Returns the entry whose range contains `page`. Called by the handler.
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

/// Installs the handler on the first call.
fn install() -> io::Result<()> {
    let previous = PREVIOUS.get_or_init(|| {
        PAGE_BYTES.store((system_page_bytes() as usize).max(1), SeqCst);
        let flags = SaFlags::SA_ONSTACK;
        let ours = SigAction::new(SigHandler::SigAction(on_sigbus), flags, SigSet::empty());
        // SAFETY: `on_sigbus` does only what a handler may do (see the module head), and forwards
        // signals that are not its own.
        unsafe { sigaction(Signal::SIGBUS, &ours) }.map_err(|error| error as i32)
    });
    match previous {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::from_raw_os_error(*error)),
    }
}

extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO.
    let found = unsafe { &*info };
    // Otherwise no access caused the signal, and there is no address.
    let is_fault = [BUS_ADRERR, BUS_MCEERR_AR].contains(&found.si_code);
    if is_fault {
        // SAFETY: the code says that the kernel has filled in the address.
        let address = unsafe { found.si_addr() }.addr();
        if replace_page(address / PAGE_BYTES.load(Relaxed)) {
            return;
        }
    }
    hand_on(signal, info, context, found.si_code > 0);
}

/// Replaces a page of a guarded mapping with memory of this process.
fn replace_page(page: usize) -> bool {
    let Some(entry) = Chunk::around(page as u64) else { return false };
    // Set before the page is replaced, so that a thread that sees the new page sees the flag.
    entry.is_hit.store(true, SeqCst);
    let page_bytes = PAGE_BYTES.load(Relaxed);
    let address = std::ptr::without_provenance_mut::<c_void>(page * page_bytes);
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
    // SAFETY: the page belongs to a guarded mapping of this process, which is used through
    // atomics and raw copies alone. Any bytes are valid for these: no reference says what they
    // are. The page is unmapped together with the mapping around it.
    unsafe { mmap_anonymous(address, page_bytes, access, flags) }.is_ok()
}

/// Does what would have happened without this handler. `is_repeated` tells whether the signal
/// comes again once the handler returns.
fn hand_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void, is_repeated: bool) {
    // The handler is still being installed. Either the signal comes again, or it was sent in the
    // one moment when its receiver is unknown.
    let Some(Ok(previous)) = PREVIOUS.get() else { return };
    let is_once = previous.flags().contains(SaFlags::SA_RESETHAND);
    let is_spent = is_once && IS_SPENT.swap(true, SeqCst);
    // Block what the kernel would have blocked for it. Returning from this handler undoes that.
    let _ = previous.mask().thread_block();
    match previous.handler() {
        SigHandler::SigAction(handler) if !is_spent => handler(signal, info, context),
        SigHandler::Handler(handler) if !is_spent => handler(signal),
        // A fault cannot be ignored: the kernel kills the process.
        SigHandler::SigIgn if !is_repeated => {}
        _ => die(is_repeated),
    }
}

fn die(is_repeated: bool) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is called any more.
    let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
    if !is_repeated {
        // The signal is blocked until the handler returns.
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

    /// Passes a file of four pages to `use_it`, then cuts it to one page.
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
        // Its entry in the table is free again, and the next mapping begins unharmed.
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

    /// Runs this test alone in a child process, which does `what`.
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
        // SAFETY: the handlers above do only what a handler may.
        unsafe { sigaction(Signal::SIGBUS, &action) }.unwrap();
    }

    /// Runs in a child: sets the program's own handler, guards a map, and causes a foreign SIGBUS.
    fn meet_a_foreign_sigbus(what: &str) {
        match what {
            "own handler" => set(SigHandler::SigAction(end_with_42), SaFlags::SA_SIGINFO),
            "simple handler" => set(SigHandler::Handler(end_with_44), SaFlags::empty()),
            "ignored" => set(SigHandler::SigIgn, SaFlags::empty()),
            "default" | "killed" => set(SigHandler::SigDfl, SaFlags::empty()),
            // Keep the handler of Rust's standard library.
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
        // SAFETY: none: this is the access that ends the child, or calls its handler.
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
