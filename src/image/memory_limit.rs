//! How much memory this process may use: what the machine has, or a limit of its control groups or
//! of its own.
//!
//! **Owns** the reading of `/proc` and `/sys/fs/cgroup`. What cannot be read is no limit. **Must not
//! know** what the memory is for.
//!
//! The limit of each ancestor of the process's group binds as well, so all of them are read. Inside
//! a container the group's path may name a folder that only the host sees; then the mount itself is
//! the container's group.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Values from here on stand for no limit, as in `memory.limit_in_bytes`.
const UNLIMITED: u64 = 1 << 60;
/// The heap is mapped once for each image, so only a part of the address space can be private.
const SHARE_OF_ADDRESS_SPACE: u64 = 4;

/// Returns the bytes of memory that this process may use. Looked up once.
pub(crate) fn memory_limit_bytes() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| limit_below(Path::new("/")))
}

/// Reads the limits of the process whose root folder is `root`.
fn limit_below(root: &Path) -> u64 {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let own = own_limits(&read("proc/self/limits"));
    let of_groups = memory_groups(&groups, &mounts).flat_map(|group| group.limits(root));
    let all = of_groups.chain(own).chain(machine_bytes(&read("proc/meminfo")));
    all.filter(|limit| *limit < UNLIMITED).min().unwrap_or(UNLIMITED)
}

/// Returns the memory of the machine.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns the process's resource limits: for its data, and for its address space.
fn own_limits(limits: &str) -> impl Iterator<Item = u64> + use<> {
    let limit = |name: &str| -> Option<u64> {
        let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    // Both count a private mapping that can be written to as a whole.
    let limits = [limit("Max address space"), limit("Max data size")];
    limits.into_iter().flatten().map(|bytes| bytes / SHARE_OF_ADDRESS_SPACE)
}

/// A control group that limits memory.
#[derive(Debug, PartialEq)]
struct Group {
    is_v2: bool,
    /// Where its hierarchy is mounted.
    mount: PathBuf,
    /// The group's folder, in the mount.
    folder: PathBuf,
}

impl Group {
    /// Returns its limits and those of its ancestors.
    fn limits(self, root: &Path) -> Vec<u64> {
        let files: &[&str] = match self.is_v2 {
            true => &["memory.max", "memory.high"],
            false => &["memory.limit_in_bytes"],
        };
        let mut limits = Vec::new();
        for folder in self.folder.ancestors().take_while(|folder| folder.starts_with(&self.mount)) {
            let folder = root.join(folder.strip_prefix("/").unwrap_or(folder));
            let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
            // The word `max` is no number, and no limit.
            limits.extend(files.iter().filter_map(|name| read(name)?.trim().parse::<u64>().ok()));
            if !self.is_v2 {
                limits.extend(read("memory.stat").as_deref().and_then(hierarchical_limit));
            }
        }
        limits
    }
}

/// Returns what the ancestors allow that this process cannot see.
fn hierarchical_limit(stat: &str) -> Option<u64> {
    let limit = stat.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit "))?;
    limit.trim().parse().ok()
}

/// Returns the groups of the process, one for each mounted hierarchy that limits memory.
fn memory_groups(groups: &str, mounts: &str) -> impl Iterator<Item = Group> {
    mounts.lines().filter_map(|line| {
        let mount = Mount::parse(line)?;
        let path = groups.lines().find_map(|line| path_of(line, mount.is_v2))?;
        let below = Path::new(path).strip_prefix(mount.root).ok();
        // A path with `..` leads out of what is mounted here.
        let below = below.filter(|below| !below.iter().any(|part| part == ".."));
        let folder = below.map_or(mount.point.to_path_buf(), |below| mount.point.join(below));
        Some(Group { is_v2: mount.is_v2, mount: mount.point.to_path_buf(), folder })
    })
}

/// A mounted hierarchy of control groups that may limit memory.
struct Mount<'a> {
    is_v2: bool,
    /// The folder of the hierarchy that is mounted.
    root: &'a str,
    point: &'a Path,
}

impl<'a> Mount<'a> {
    /// Parses a line of `mountinfo`.
    fn parse(line: &'a str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, Path::new(place.next()?));
        let mut kind = kind.split(' ');
        let is_v2 = match kind.next()? {
            "cgroup2" => true,
            "cgroup" if kind.nth(1)?.split(',').any(|option| option == "memory") => false,
            _ => return None,
        };
        Some(Self { is_v2, root, point })
    }
}

/// Returns the path in a line of `/proc/self/cgroup`, if it is of the hierarchy that is meant.
fn path_of(line: &str, is_v2: bool) -> Option<&str> {
    let (number, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let is_it = match is_v2 {
        true => number == "0" && controllers.is_empty(),
        false => controllers.split(',').any(|controller| controller == "memory"),
    };
    is_it.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";
    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";

    /// Returns the limit in a root folder with these files.
    fn limit_with(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().expect("a folder");
        let machine = ("proc/meminfo", "MemTotal:       4194304 kB\nMemFree: 12 kB\n");
        for (path, text) in files.iter().chain([&machine]) {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        limit_below(root.path())
    }

    #[test]
    fn without_groups_the_machine_is_the_limit() {
        assert_eq!(limit_with(&[]), 4096 * MIB);
        assert_eq!(limit_with(&[("proc/self/mountinfo", V2)]), 4096 * MIB);
        assert_eq!(limit_below(Path::new("/no such folder")), UNLIMITED);
    }

    #[test]
    fn of_a_group_and_its_ancestors_the_lowest_limit_counts() {
        let place = [("proc/self/mountinfo", V2), ("proc/self/cgroup", "0::/a/b\n")];
        let with = |more: &[(&'static str, &'static str)]| limit_with(&[&place[..], more].concat());
        let (a, b) = ("sys/fs/cgroup/a/memory.max", "sys/fs/cgroup/a/b/memory.max");
        assert_eq!(with(&[(a, "max\n"), (b, "max\n")]), 4096 * MIB);
        assert_eq!(with(&[(a, "536870912\n"), (b, "max\n")]), 512 * MIB);
        assert_eq!(with(&[(a, "536870912\n"), (b, "268435456\n")]), 256 * MIB);
        let high = "sys/fs/cgroup/a/memory.high";
        assert_eq!(with(&[(high, "134217728\n"), (b, "268435456\n")]), 128 * MIB);
        // Of a group beside it, nothing counts.
        assert_eq!(with(&[("sys/fs/cgroup/c/memory.max", "4096\n")]), 4096 * MIB);
    }

    #[test]
    fn groups_of_version_1_count_with_what_their_ancestors_allow() {
        let place = [
            ("proc/self/mountinfo", V1),
            ("proc/self/cgroup", "5:cpu:/c\n4:memory:/a/b\n0::/\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        let with = |more: (&'static str, &'static str)| limit_with(&[&place[..], &[more]].concat());
        let own = "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes";
        assert_eq!(with((own, "9223372036854771712\n")), 4096 * MIB);
        assert_eq!(with((own, "536870912\n")), 512 * MIB);
        let stat = "cache 7\nhierarchical_memory_limit 268435456\ntotal_cache 7\n";
        assert_eq!(with(("sys/fs/cgroup/memory/a/b/memory.stat", stat)), 256 * MIB);
    }

    #[test]
    fn in_a_container_the_mount_is_the_group() {
        for (root, path) in [("/", "/"), ("/docker/x", "/docker/x"), ("/", "/../y"), ("/d", "/e")] {
            let mount = format!("31 23 0:28 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
            let found = limit_with(&[
                ("proc/self/mountinfo", &mount),
                ("proc/self/cgroup", &format!("0::{path}\n")),
                ("sys/fs/cgroup/memory.max", "536870912\n"),
            ]);
            assert_eq!(found, 512 * MIB, "{root} {path}");
        }
    }

    #[test]
    fn resource_limits_count() {
        let limits = |data: &str, space: &str| {
            let text = format!(
                "Limit                     Soft Limit           Hard Limit           Units\n\
                 Max data size             {data}           unlimited            bytes\n\
                 Max address space         {space}           unlimited            bytes\n"
            );
            limit_with(&[("proc/self/limits", &text)])
        };
        assert_eq!(limits("unlimited", "unlimited"), 4096 * MIB);
        assert_eq!(limits("104857600", "unlimited"), 25 * MIB);
        assert_eq!(limits("unlimited", "1073741824"), 256 * MIB);
    }

    #[test]
    fn files_that_say_something_else_are_no_limit() {
        for text in ["", "-1", "many", "99999999999999999999999", "12 34"] {
            let found = limit_with(&[
                ("proc/self/mountinfo", V2),
                ("proc/self/cgroup", "0::/a\nx\n:\n"),
                ("proc/self/limits", "Max data size\nMax address space  x"),
                ("sys/fs/cgroup/a/memory.max", text),
            ]);
            assert_eq!(found, 4096 * MIB, "{text}");
        }
    }
}
