//! A file system that a program serves, as with libfuse's high-level interface: the kernel treats
//! each name as a separate file with its own locks and cached attributes, although several names
//! may share the same bytes.
//!
//! The server runs in its own process, which uses no file on the file system, so it never waits
//! for itself.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::scratch_fs::Mounted;
use crate::{KilledOnDrop, TestResult};

/// The server's behaviour.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// The kernel may cache attributes for ever, and gets a length of 0 with each name.
    pub stale: bool,
    /// How many later queries also get a length of 0.
    pub lies: u32,
    /// Files have one name only; creating a link fails.
    pub without_links: bool,
}

impl Manners {
    fn to_text(self) -> String {
        format!("{} {} {}", self.stale, self.lies, self.without_links)
    }

    fn of(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split(' ').collect();
        let [stale, lies, without_links] = words[..] else { return None };
        let (stale, lies) = (stale.parse().ok()?, lies.parse().ok()?);
        Some(Self { stale, lies, without_links: without_links.parse().ok()? })
    }
}

type Bytes = Arc<Mutex<Vec<u8>>>;

struct Node {
    bytes: Bytes,
    perm: u16,
    lies_left: u32,
}

#[derive(Default)]
struct State {
    names: BTreeMap<OsString, u64>,
    nodes: BTreeMap<u64, Node>,
}

impl State {
    fn node(&mut self, ino: INodeNo) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino.0).ok_or(Errno::ENOENT)
    }

    fn ino(&self, name: &OsStr) -> Result<u64, Errno> {
        self.names.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// Adds a name for these bytes, which the kernel treats as a separate file.
    fn add(&mut self, name: &OsStr, node: Node) -> Result<u64, Errno> {
        if self.names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let ino = self.nodes.keys().next_back().map_or(2, |last| last + 1);
        self.nodes.insert(ino, node);
        self.names.insert(name.to_os_string(), ino);
        Ok(ino)
    }

    fn attributes(&mut self, ino: u64, len_bytes: Option<u64>) -> Result<FileAttr, Errno> {
        if ino == INodeNo::ROOT.0 {
            return Ok(attributes(ino, FileType::Directory, 0o777, 0));
        }
        let node = self.node(INodeNo(ino))?;
        let len = node.bytes.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        Ok(attributes(ino, FileType::RegularFile, node.perm, len_bytes.unwrap_or(len)))
    }
}

pub(super) fn attributes(ino: u64, kind: FileType, perm: u16, size: u64) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

struct Server {
    manners: Manners,
    state: Mutex<State>,
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(if self.manners.stale { 1 << 30 } else { 0 })
    }

    /// Replies to a lookup of a name.
    fn enter(&self, ino: Result<u64, Errno>, reply: ReplyEntry) {
        let len_bytes = self.manners.stale.then_some(0);
        match ino.and_then(|ino| self.state().attributes(ino, len_bytes)) {
            Ok(found) => reply.entry(&self.ttl(), &found, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn with_bytes<T>(&self, ino: INodeNo, act: impl FnOnce(&mut Vec<u8>) -> T) -> Result<T, Errno> {
        let bytes = Arc::clone(&self.state().node(ino)?.bytes);
        let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(act(&mut bytes))
    }
}

fn done(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let ino = self.state().ino(name);
        self.enter(ino, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let mut state = self.state();
        let lies = state.node(ino).is_ok_and(|node| {
            let lies = node.lies_left > 0;
            node.lies_left = node.lies_left.saturating_sub(1);
            lies
        });
        match state.attributes(ino.0, lies.then_some(0)) {
            Ok(found) => reply.attr(&self.ttl(), &found),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Some(size) = size {
            let _ = self.with_bytes(ino, |bytes| bytes.resize(size as usize, 0));
        }
        let mut state = self.state();
        if let (Some(mode), Ok(node)) = (mode, state.node(ino)) {
            node.perm = mode as u16 & 0o7777;
        }
        match state.attributes(ino.0, None) {
            Ok(found) => reply.attr(&self.ttl(), &found),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut state = self.state();
        let node = Node { bytes: Bytes::default(), perm: mode as u16 & 0o7777, lies_left: 0 };
        match state.add(name, node).and_then(|ino| state.attributes(ino, None)) {
            Ok(made) => {
                let flags = FopenFlags::empty();
                reply.created(&self.ttl(), &made, Generation(0), FileHandle(0), flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn link(&self, _: &Request, ino: INodeNo, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if self.manners.without_links {
            return reply.error(Errno::EPERM);
        }
        let mut state = self.state();
        let made = state.node(ino).map(|node| Node {
            bytes: Arc::clone(&node.bytes),
            perm: node.perm,
            lies_left: self.manners.lies,
        });
        let made = made.and_then(|node| state.add(name, node));
        drop(state);
        self.enter(made, reply);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        new: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let mut state = self.state();
        let Some(ino) = state.names.remove(name) else { return reply.error(Errno::ENOENT) };
        state.names.insert(new.to_os_string(), ino);
        reply.ok();
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.state().names.remove(name).map(drop).ok_or(Errno::ENOENT), reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.with_bytes(ino, |bytes| {
            let start = bytes.len().min(offset as usize);
            let end = bytes.len().min(start + size as usize);
            bytes[start..end].to_vec()
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        new: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.with_bytes(ino, |bytes| {
            let (start, end) = (offset as usize, offset as usize + new.len());
            let len = bytes.len().max(end);
            bytes.resize(len, 0);
            bytes[start..end].copy_from_slice(new);
        });
        match written {
            Ok(()) => reply.written(new.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::EINVAL);
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        for (index, (name, ino)) in (1..).zip(&self.state().names).skip(offset as usize) {
            if reply.add(INodeNo(*ino), index, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}

/// Serves a folder until the other end of the standard input is closed.
fn serve(folder: &Path, manners: &str) -> TestResult {
    let manners = Manners::of(manners).ok_or("manners that are not known")?;
    let server = Server { manners, state: Mutex::default() };
    let session = fuser::Session::new(server, folder, &Config::default())?.spawn()?;
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    drop(session);
    Ok(())
}

/// Acts as the server, if this program was started for that.
pub fn play(arguments: &[String]) -> Option<TestResult> {
    let [part, folder, manners] = arguments else { return None };
    (part == "served").then(|| serve(Path::new(folder), manners))
}

/// A served folder; dropping this unmounts it.
pub struct Served {
    /// Declared first, so it is unmounted before its server ends.
    mounted: Mounted,
    _server: KilledOnDrop,
}

impl Served {
    pub fn start(folder: &Path, manners: Manners) -> TestResult<Self> {
        std::fs::create_dir_all(folder)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--play", "served"]).arg(folder).arg(manners.to_text());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        let served = Self { mounted: Mounted::at(folder), _server: KilledOnDrop(child) };
        if line.trim() == "ready" { Ok(served) } else { Err("FUSE cannot be had".into()) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.mounted.path().join(name)
    }
}
