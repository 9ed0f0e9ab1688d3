//! Small file systems for a single test, in its own mount namespace. Everything is gone when the
//! test's last process ends, even if it was killed.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::TestResult;

/// Whether this program has a private mount namespace.
static HIDDEN: OnceLock<Result<(), String>> = OnceLock::new();

/// Gives the program a private mount namespace, if it may have one. Must be called while the
/// program has one thread; later threads inherit the namespace.
pub fn hide_mounts() {
    HIDDEN.get_or_init(try_to_hide_mounts);
}

fn try_to_hide_mounts() -> Result<(), String> {
    // SAFETY: descriptors stay shared; only mounts, root and current folder do not.
    let hidden = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    let hidden = hidden.and_then(|()| mount_change("/", flags));
    hidden.map_err(|error| format!("no mount namespace of its own ({error}); run it as root"))
}

/// A kind of file system on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
    Btrfs,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Returns a disk size close to the minimum.
    pub fn disk_bytes(self) -> u64 {
        match self {
            Self::Ext4 => 64 << 20,
            Self::Xfs => 300 << 20,
            Self::Btrfs => 160 << 20,
        }
    }

    /// Creates a file system in the file at `image`, without telling the disk to discard blocks.
    fn make(self, image: &Path) -> TestResult {
        let mut command = Command::new(format!("mkfs.{}", self.name()));
        match self {
            // Uses the block size of large disks, and reserves no blocks for root.
            Self::Ext4 => command.args(["-q", "-F", "-E", "nodiscard", "-b", "4096", "-m", "0"]),
            Self::Xfs | Self::Btrfs => command.args(["-q", "-K"]),
        };
        run(command.arg(image))
    }

    fn mount_options(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Xfs => "loop,noatime",
            Self::Btrfs => "loop,noatime,nodiscard",
        }
    }
}

/// Runs a program that must succeed; the error contains its standard error.
fn run(command: &mut Command) -> TestResult {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(format!("{name} is not installed").into());
        }
        done => done?,
    };
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&done.stderr).trim()).into())
}

/// Copies a file that is mostly zeros, without allocating space for the zeros.
pub fn copy_sparse(from: &Path, to: &Path) -> TestResult {
    run(Command::new("cp").arg("--sparse=always").args([from, to]))
}

/// A mount; dropping it unmounts it, even if it is still in use.
pub struct Mounted {
    path: PathBuf,
}

impl Mounted {
    /// Returns the existing mount at `path`.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts, and waits until the mount is gone.
    pub fn unmount(self) -> TestResult {
        // A child that is being forked may hold a descriptor for a moment.
        for _ in 0..5000 {
            match unmount(&self.path, UnmountFlags::empty()) {
                Err(Errno::BUSY) => std::thread::sleep(Duration::from_millis(2)),
                Err(error) => return Err(format!("unmount: {error}").into()),
                Ok(()) => {
                    // It is unmounted already, so the drop must not run.
                    std::mem::forget(self);
                    return Ok(());
                }
            }
        }
        Err(format!("{} stays busy", self.path.display()).into())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

/// A folder in memory for disks and mount points.
pub struct Bench {
    /// Declared first, so it is unmounted before its folder is removed.
    memory: Mounted,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> TestResult<Self> {
        HIDDEN.get().ok_or("mounts are not hidden")?.clone()?;
        let folder = tempfile::tempdir()?;
        let memory = mount_memory(folder.path(), 2 << 30)?;
        Ok(Self { memory, _folder: folder })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.memory.path().join(name)
    }

    /// Creates a file with a new file system.
    pub fn make_image(&self, kind: Kind) -> TestResult<PathBuf> {
        let (first, image) = (self.path(&format!("new.{}", kind.name())), self.path("image"));
        if !first.exists() {
            File::create(&first)?.set_len(kind.disk_bytes())?;
            kind.make(&first)?;
        }
        copy_sparse(&first, &image)?;
        Ok(image)
    }

    /// Mounts a new file system.
    pub fn mount_new(&self, kind: Kind) -> TestResult<Mounted> {
        self.mount_image(kind, &self.make_image(kind)?)
    }

    /// Mounts a file system in a file. The loop device goes away with the mount.
    pub fn mount_image(&self, kind: Kind, image: &Path) -> TestResult<Mounted> {
        let path = self.folder("mounted")?;
        let mut command = Command::new("mount");
        command.args(["-t", kind.name(), "-o", kind.mount_options()]).arg(image).arg(&path);
        // A process that searches for a free loop device may hold the previous one open for a
        // moment, and mount would reuse that one, with a disk that is off. So the mount is
        // retried.
        let mut mounted = run(&mut command);
        for _ in 0..20 {
            if mounted.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            mounted = run(&mut command);
        }
        mounted.map(|()| Mounted { path })
    }

    pub fn folder(&self, name: &str) -> TestResult<PathBuf> {
        let path = self.path(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }
}

/// Mounts a small file system in memory.
pub fn mount_memory(folder: &Path, size_bytes: u64) -> TestResult<Mounted> {
    let size = std::ffi::CString::new(format!("size={size_bytes}"))?;
    mount("tmpfs", folder, "tmpfs", MountFlags::empty(), Some(size.as_c_str()))
        .map_err(|error| format!("mount a tmpfs: {error}"))?;
    Ok(Mounted { path: folder.to_path_buf() })
}

/// Checks whether a file system of this kind can be made and mounted, by doing so.
pub fn probe(kind: Kind) -> TestResult {
    Bench::new()?.mount_new(kind)?.unmount()
}
