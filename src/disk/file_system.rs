//! Identifies the file system that holds a file.
//!
//! **Owns** the one table of file system types, and the answers from it: which are one machine's,
//! which overwrite in place, where reading a hole takes space.

use std::fs::File;
use std::io;
use std::path::Path;

use super::retry::uninterrupted;
use crate::error::{ErrorKind, Result, io_error};

const LOOKING: &str = "identify the file system";

/// A file system type, by its magic number from `statfs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileSystem(u32);

/// How a file system writes a block that a file has already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overwrites {
    /// To the same place, so that stores to a mapping rarely need space.
    InPlace,
    /// To another place, always.
    Elsewhere,
    /// Not known: it may lie on top of another file system, as overlayfs and FUSE do.
    Unknown,
}

/// What is known of a file system type.
struct Known {
    magic: u32,
    /// For messages.
    name: &'static str,
    /// Whether only one machine can have it mounted. There, all processes that can reach a file
    /// share locks and memory.
    is_of_one_machine: bool,
    overwrites: Overwrites,
    /// Whether reading a hole through a mapping takes space.
    holes_take_space: bool,
    /// Whether its files are in memory alone.
    is_memory: bool,
    /// Whether a write past the end of a file fills what lies between.
    fills_holes: bool,
}

impl Known {
    const fn of_one_machine(magic: u32, name: &'static str) -> Self {
        Self {
            magic,
            name,
            is_of_one_machine: true,
            overwrites: Overwrites::Unknown,
            holes_take_space: false,
            is_memory: false,
            fills_holes: false,
        }
    }

    const fn of_several(magic: u32, name: &'static str) -> Self {
        Self { is_of_one_machine: false, ..Self::of_one_machine(magic, name) }
    }

    const fn in_place(self) -> Self {
        Self { overwrites: Overwrites::InPlace, ..self }
    }

    const fn copy_on_write(self) -> Self {
        Self { overwrites: Overwrites::Elsewhere, ..self }
    }

    const fn holes_take_space(self) -> Self {
        Self { holes_take_space: true, ..self }
    }

    const fn fills_holes(self) -> Self {
        Self { fills_holes: true, ..self }
    }

    const fn in_memory(self) -> Self {
        Self { is_memory: true, ..self }
    }
}

/// The known types. An overlayfs is of one machine, since its lower layers must not change except
/// through it; reading its holes takes space if it lies on top of a tmpfs.
const KNOWN: [Known; 42] = [
    Known::of_one_machine(0x0000_ef53, "ext2, ext3 or ext4").in_place(),
    Known::of_one_machine(0x5846_5342, "xfs").in_place(),
    Known::of_one_machine(0x9123_683e, "btrfs").copy_on_write(),
    Known::of_one_machine(0x0102_1994, "tmpfs").in_place().holes_take_space().in_memory(),
    Known::of_one_machine(0x8584_58f6, "ramfs").in_memory(),
    Known::of_one_machine(0xf2f5_2010, "f2fs"),
    Known::of_one_machine(0x794c_7630, "overlayfs").holes_take_space(),
    Known::of_one_machine(0x2fc1_2fc1, "zfs").copy_on_write(),
    Known::of_one_machine(0xca45_1a4e, "bcachefs").copy_on_write(),
    Known::of_one_machine(0x3153_464a, "jfs"),
    Known::of_one_machine(0x5265_4973, "reiserfs"),
    Known::of_one_machine(0x0000_3434, "nilfs2"),
    Known::of_one_machine(0x0000_4d44, "vfat").fills_holes(),
    Known::of_one_machine(0x2011_bab0, "exfat").fills_holes(),
    Known::of_one_machine(0x7366_746e, "ntfs3").fills_holes(),
    Known::of_one_machine(0x0000_482b, "hfs+").fills_holes(),
    Known::of_one_machine(0x0000_4244, "hfs").fills_holes(),
    Known::of_one_machine(0x2405_1905, "ubifs"),
    Known::of_one_machine(0x0000_72b6, "jffs2"),
    Known::of_one_machine(0x0001_1954, "ufs"),
    Known::of_several(0x0000_6969, "NFS"),
    Known::of_several(0xff53_4d42, "CIFS"),
    Known::of_several(0xfe53_4d42, "SMB"),
    Known::of_several(0x0000_517b, "SMB"),
    Known::of_several(0x0102_1997, "9p"),
    Known::of_several(0x6573_5546, "FUSE or virtiofs"),
    Known::of_several(0x6573_5543, "FUSE's control files"),
    Known::of_several(0x5346_414f, "AFS"),
    Known::of_several(0x6b41_4653, "AFS"),
    Known::of_several(0x00c3_6400, "Ceph"),
    Known::of_several(0x0116_1970, "GFS2"),
    Known::of_several(0x7461_636f, "OCFS2"),
    Known::of_several(0x0bd0_0bd0, "Lustre"),
    Known::of_several(0x786f_4256, "VirtualBox's shared folders"),
    Known::of_several(0xbacb_acbc, "VMware's shared folders"),
    Known::of_several(0x7c7c_6673, "Parallels' shared folders"),
    Known::of_several(0x4750_4653, "GPFS"),
    Known::of_several(0x1983_0326, "BeeGFS"),
    Known::of_several(0xaad7_aaea, "PanFS"),
    Known::of_several(0x2003_0528, "OrangeFS"),
    Known::of_several(0x7375_7245, "Coda"),
    Known::of_several(0x00c0_ffee, "hostfs"),
];

impl FileSystem {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        // The field's integer type differs between architectures.
        Ok(Self(uninterrupted(|| rustix::fs::fstatfs(file))?.f_type as u32))
    }

    /// Returns the type for an existing folder or file.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self(uninterrupted(|| rustix::fs::statfs(path))?.f_type as u32))
    }

    fn known(self) -> Option<&'static Known> {
        KNOWN.iter().find(|known| known.magic == self.0)
    }

    /// Returns whether it is known that only one machine can have it mounted.
    pub(super) fn is_of_one_machine(self) -> bool {
        self.known().is_some_and(|known| known.is_of_one_machine)
    }

    /// Returns whether it is known to overwrite blocks in place, so that stores to a mapping rarely
    /// need space. Positioned writes report the error each time.
    pub(super) fn overwrites_in_place(self) -> bool {
        self.known().is_some_and(|known| known.overwrites == Overwrites::InPlace)
    }

    /// Returns whether it is known never to overwrite blocks in place.
    pub(super) fn copies_on_write(self) -> bool {
        self.known().is_some_and(|known| known.overwrites == Overwrites::Elsewhere)
    }

    /// Returns whether reading a hole through a mapping may take space.
    pub(super) fn holes_take_space(self) -> bool {
        self.known().is_some_and(|known| known.holes_take_space)
    }

    /// Returns whether sparse files there are known to take no memory that the kernel cannot take back.
    pub(super) fn saves_memory(self) -> bool {
        let known = self.known().filter(|known| known.is_of_one_machine);
        known.is_some_and(|known| !known.is_memory && !known.fills_holes)
    }

    fn name(self) -> String {
        match self.known() {
            Some(known) => known.name.to_string(),
            None => format!("a file system of the unknown type {:#x}", self.0),
        }
    }

    fn expect_one_machine(self, path: &Path) -> Result<()> {
        if self.is_of_one_machine() {
            return Ok(());
        }
        Err(ErrorKind::NotOneMachine { path: path.to_path_buf(), file_system: self.name() }.into())
    }
}

/// Refuses a file unless it is known that no other machine can have it open.
pub(crate) fn expect_one_machine(file: &File, path: &Path) -> Result<()> {
    FileSystem::of(file).map_err(io_error(LOOKING, path))?.expect_one_machine(path)
}

/// Does the same for a file that does not exist yet.
pub(crate) fn expect_folder_of_one_machine(path: &Path) -> Result<()> {
    match FileSystem::at(folder_of(path)) {
        Ok(found) => found.expect_one_machine(path),
        // Creating the file will report it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(LOOKING, path)(error)),
    }
}

/// Returns the folder of `path`.
pub(super) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_known_once() {
        for known in &KNOWN {
            let same = KNOWN.iter().filter(|other| other.magic == known.magic).count();
            assert_eq!(same, 1, "{}", known.name);
        }
    }

    #[test]
    fn only_what_is_known_to_be_of_one_machine_is_let_in() {
        for known in KNOWN.iter().filter(|known| !known.is_of_one_machine) {
            let refused = FileSystem(known.magic).expect_one_machine(Path::new("p")).unwrap_err();
            let text = refused.to_string();
            assert!(text.contains(known.name) && text.contains("assume_local(true)"), "{text}");
        }
        let unknown = FileSystem(0x1234).expect_one_machine(Path::new("p")).unwrap_err();
        assert!(unknown.to_string().contains("0x1234"), "{unknown}");
        for known in KNOWN.iter().filter(|known| known.is_of_one_machine) {
            FileSystem(known.magic).expect_one_machine(Path::new("p")).unwrap();
        }
    }
}
