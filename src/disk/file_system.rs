//! Identifies the file system that holds a file.

use std::fs::File;
use std::io;
use std::path::Path;

use super::retry::uninterrupted;
use crate::error::{ErrorKind, Result, io_error};

const LOOKING: &str = "look at the file system";

/// A file system type, by its magic number from `statfs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileSystem(u32);

/// File systems that only one machine can have mounted. There, all processes that can reach a file
/// share locks and memory. An overlayfs is among them, since its lower layers must not change
/// except through it.
const OF_ONE_MACHINE: [(u32, &str); 20] = [
    (0x0000_ef53, "ext2, ext3 or ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0xf2f5_2010, "f2fs"),
    (0x794c_7630, "overlayfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xca45_1a4e, "bcachefs"),
    (0x3153_464a, "jfs"),
    (0x5265_4973, "reiserfs"),
    (0x0000_3434, "nilfs2"),
    (0x0000_4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    (0x7366_746e, "ntfs3"),
    (0x0000_482b, "hfs+"),
    (0x0000_4244, "hfs"),
    (0x2405_1905, "ubifs"),
    (0x0000_72b6, "jffs2"),
    (0x0001_1954, "ufs"),
];

/// File systems that several machines may have mounted, named for messages.
const OF_SEVERAL: [(u32, &str); 22] = [
    (0x0000_6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0000_517b, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE or virtiofs"),
    (0x6573_5543, "FUSE's control files"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x786f_4256, "VirtualBox's shared folders"),
    (0xbacb_acbc, "VMware's shared folders"),
    (0x7c7c_6673, "Parallels' shared folders"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0xaad7_aaea, "PanFS"),
    (0x2003_0528, "OrangeFS"),
    (0x7375_7245, "Coda"),
    (0x00c0_ffee, "hostfs"),
];

impl FileSystem {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        // The field's integer type differs between architectures.
        Ok(Self(uninterrupted(|| rustix::fs::fstatfs(file))?.f_type as u32))
    }

    /// Returns the type for an existing folder or file.
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self(uninterrupted(|| rustix::fs::statfs(path))?.f_type as u32))
    }

    pub(super) fn is_of_one_machine(self) -> bool {
        OF_ONE_MACHINE.iter().any(|(number, _)| *number == self.0)
    }

    fn name(self) -> String {
        let known = OF_ONE_MACHINE.iter().chain(&OF_SEVERAL).find(|(number, _)| *number == self.0);
        match known {
            Some((_, name)) => (*name).to_string(),
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
    fn only_what_is_known_to_be_of_one_machine_is_let_in() {
        for (number, name) in OF_SEVERAL {
            let refused = FileSystem(number).expect_one_machine(Path::new("p")).unwrap_err();
            let text = refused.to_string();
            assert!(text.contains(name) && text.contains("assume_local(true)"), "{text}");
        }
        let unknown = FileSystem(0x1234).expect_one_machine(Path::new("p")).unwrap_err();
        assert!(unknown.to_string().contains("0x1234"), "{unknown}");
        for (number, _) in OF_ONE_MACHINE {
            FileSystem(number).expect_one_machine(Path::new("p")).unwrap();
        }
    }
}
