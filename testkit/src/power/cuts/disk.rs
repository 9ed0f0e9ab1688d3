//! A disk with a volatile write cache, in its own process: a file that FUSE serves, under a loop
//! device. A power cut loses writes that were not flushed, in whole or in part, down to single
//! sectors.
//!
//! The process that serves the disk uses no file system on it, so it never waits for itself. It
//! ends with the test, and its end releases everything that waits for it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{
    Config, Errno, FileHandle, FileType, Filesystem, FopenFlags, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use super::super::scratch_fs::{Mounted, copy_sparse};
use super::super::served::attributes;
use crate::{KilledOnDrop, Random, TestResult};

const SECTOR_BYTES: usize = 512;
/// A disk that lies skips one of this many flushes.
const FLUSHES_TO_A_LIE: u64 = 3;

/// Which unflushed writes survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// Any of the writes, each whole.
    Writes,
    /// Any sectors of any of the writes.
    Sectors,
}

impl Keep {
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Writes, Self::Sectors];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Writes => "writes",
            Self::Sectors => "sectors",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keep| keep.name() == name)
    }

    /// Returns the length of the longest piece of a write that survives or is lost as a whole.
    fn piece_bytes(self) -> usize {
        if self == Self::Sectors { SECTOR_BYTES } else { usize::MAX }
    }
}

struct Write {
    offset: u64,
    bytes: Vec<u8>,
}

/// The disk's content and behaviour.
struct State {
    /// The content that reads see.
    live: File,
    /// The content that survives a cut.
    durable: File,
    /// The writes since the last flush, in order.
    unflushed: Vec<Write>,
    /// Counts how often the power came back. A file that was opened before a cut is useless
    /// afterwards.
    boots: u64,
    is_on: bool,
    /// Decides which flushes are skipped, if the disk lies.
    lies: Option<Random>,
    /// Whether flushes fail.
    fails_flushes: bool,
    /// Writes that touch one of these bytes fail.
    bad: Vec<Range<u64>>,
    /// Reads that touch one of these bytes fail.
    unreadable: Vec<Range<u64>>,
}

impl State {
    fn new(image: &Path) -> TestResult<Self> {
        let copy = image.with_extension("live");
        copy_sparse(image, &copy)?;
        let open = |path: &Path| File::options().read(true).write(true).open(path);
        let (live, durable) = (open(&copy)?, open(image)?);
        Ok(Self {
            live,
            durable,
            unflushed: Vec::new(),
            boots: 0,
            is_on: false,
            lies: None,
            fails_flushes: false,
            bad: Vec::new(),
            unreadable: Vec::new(),
        })
    }

    fn expect_on(&self, boot: FileHandle) -> Result<(), Errno> {
        if self.is_on && boot.0 == self.boots { Ok(()) } else { Err(Errno::EIO) }
    }

    fn read(&self, boot: FileHandle, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        self.expect_on(boot)?;
        if touches(&self.unreadable, offset, len) {
            return Err(Errno::EIO);
        }
        let mut bytes = vec![0; len];
        let read = self.live.read_at(&mut bytes, offset).map_err(|_| Errno::EIO)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn write(&mut self, boot: FileHandle, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.expect_on(boot)?;
        if touches(&self.bad, offset, bytes.len()) {
            return Err(Errno::EIO);
        }
        self.live.write_all_at(bytes, offset).map_err(|_| Errno::EIO)?;
        self.unflushed.push(Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn flush(&mut self, boot: FileHandle) -> Result<(), Errno> {
        self.expect_on(boot)?;
        if self.lies.as_mut().is_some_and(|random| random.one_in(FLUSHES_TO_A_LIE)) {
            return Ok(());
        }
        if self.fails_flushes {
            return Err(Errno::EIO);
        }
        for write in self.unflushed.drain(..) {
            self.durable.write_all_at(&write.bytes, write.offset).map_err(|_| Errno::EIO)?;
        }
        Ok(())
    }

    /// Cuts the power.
    fn cut(&mut self, keep: Keep, random: &mut Random) -> std::io::Result<()> {
        self.is_on = false;
        // Keeps anything from almost nothing to almost everything.
        let of = 1 + random.below(16);
        let lost = std::mem::take(&mut self.unflushed);
        for write in &lost {
            let pieces = write.bytes.chunks(keep.piece_bytes().min(write.bytes.len()));
            let mut offset = write.offset;
            for piece in pieces {
                if keep != Keep::Nothing && random.below(17) < of {
                    self.durable.write_all_at(piece, offset)?;
                }
                offset += piece.len() as u64;
            }
        }
        for Write { offset, mut bytes } in lost {
            self.durable.read_exact_at(&mut bytes, offset)?;
            self.live.write_all_at(&bytes, offset)?;
        }
        Ok(())
    }

    /// Carries out an order of the test.
    fn obey(&mut self, order: &str) -> TestResult {
        match *order.split(' ').collect::<Vec<_>>() {
            ["on"] => {
                self.boots += 1;
                self.is_on = true;
            }
            ["mend"] => {
                self.fails_flushes = false;
                self.bad.clear();
                self.unreadable.clear();
            }
            ["cut", keep, seed] => {
                let keep = Keep::of(keep).ok_or("no such kind of cut")?;
                self.cut(keep, &mut Random::new(seed.parse()?))?;
            }
            ["lie", seed] => self.lies = Some(Random::new(seed.parse()?)),
            ["fail-flushes"] => self.fails_flushes = true,
            ["bad", from, to] => self.bad.push(from.parse()?..to.parse()?),
            ["unreadable", from, to] => self.unreadable.push(from.parse()?..to.parse()?),
            _ => return Err(format!("unknown order: {order}").into()),
        }
        Ok(())
    }
}

fn touches(ranges: &[Range<u64>], offset: u64, len: usize) -> bool {
    ranges.iter().any(|range| offset < range.end && range.start < offset + len as u64)
}

#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    len_bytes: u64,
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The mount point is a file, so the root is a file too: the disk.
impl Filesystem for Server {
    fn getattr(&self, _: &Request, _: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let file = FileType::RegularFile;
        reply.attr(&Duration::MAX, &attributes(INodeNo::ROOT.0, file, 0o600, self.len_bytes));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // No pages are cached above the disk: a read after a cut sees only what is left.
        reply.opened(FileHandle(self.state().boots), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        boot: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.state().read(boot, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        boot: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.state().write(boot, offset, bytes) {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, boot: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.state().flush(boot) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A close flushes nothing.
        reply.ok();
    }
}

/// Serves a disk at a file until the orders end.
fn serve(image: &Path, at: &Path) -> TestResult {
    let len_bytes = image.metadata()?.len();
    let state = Arc::new(Mutex::new(State::new(image)?));
    let server = Server { state, len_bytes };
    let session = fuser::Session::new(server.clone(), at, &Config::default())?.spawn()?;
    writeln!(std::io::stdout(), "ready")?;
    for order in std::io::stdin().lock().lines() {
        server.state().obey(&order?)?;
        writeln!(std::io::stdout(), "done")?;
    }
    drop(session);
    Ok(())
}

/// Acts as the disk, if this program was started for that.
pub fn play(arguments: &[String]) -> Option<TestResult> {
    let [part, image, at] = arguments else { return None };
    (part == "disk").then(|| serve(Path::new(image), Path::new(at)))
}

/// The test's handle to the disk, which ends when the handle is dropped.
pub struct Disk {
    /// Declared first, so it is unmounted before its server ends.
    mounted: Mounted,
    _server: KilledOnDrop,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Disk {
    /// Starts a disk with the content of `image`, served at the file `at`. Its power is off.
    pub fn start(image: &Path, at: &Path) -> TestResult<Self> {
        File::create(at)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--play", "disk"]).args([image, at]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().ok_or("no pipe")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let (mounted, server) = (Mounted::at(at), KilledOnDrop(child));
        let mut disk = Self { mounted, _server: server, orders, answers };
        disk.expect("ready")?;
        Ok(disk)
    }

    fn expect(&mut self, expected: &str) -> TestResult {
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        if answer.trim() == expected { Ok(()) } else { Err("the disk gave no answer".into()) }
    }

    /// Gives an order, and returns when it has been carried out.
    fn order(&mut self, order: &str) -> TestResult {
        writeln!(self.orders, "{order}")?;
        self.expect("done")
    }

    /// Returns the path of the file at which the disk is served.
    pub fn path(&self) -> &Path {
        self.mounted.path()
    }

    pub fn power_on(&mut self) -> TestResult {
        self.order("on")
    }

    pub fn cut(&mut self, keep: Keep, random: &mut Random) -> TestResult {
        self.order(&format!("cut {} {}", keep.name(), random.next()))
    }

    /// Makes the disk report some flushes as done that it skips.
    pub fn lie(&mut self, seed: u64) -> TestResult {
        self.order(&format!("lie {seed}"))
    }

    pub fn fail_flushes(&mut self) -> TestResult {
        self.order("fail-flushes")
    }

    /// Makes writes to these bytes of the disk fail.
    pub fn fail_writes(&mut self, Range { start, end }: Range<u64>) -> TestResult {
        self.order(&format!("bad {start} {end}"))
    }

    /// Makes reads of these bytes of the disk fail.
    pub fn fail_reads(&mut self, Range { start, end }: Range<u64>) -> TestResult {
        self.order(&format!("unreadable {start} {end}"))
    }

    /// Ends all failures.
    pub fn mend(&mut self) -> TestResult {
        self.order("mend")
    }
}
