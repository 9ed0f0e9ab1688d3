//! How much memory this process may use.

use std::fs::read_to_string;
use std::path::Path;
use std::sync::OnceLock;

/// Returns the memory of the machine, or the limit of the process's control group or of one above
/// it, if that is less. Looked up once. What cannot be read is no limit.
pub(crate) fn memory_limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| limit_under(Path::new("/")))
}

fn limit_under(root: &Path) -> u64 {
    let groups = read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let of_groups = groups.lines().flat_map(|line| limits_of_group(root, line));
    of_groups.chain(physical(root)).min().unwrap_or(u64::MAX)
}

/// Returns the limits of the control group that a line of `/proc/self/cgroup` names, and of those
/// above it.
fn limits_of_group(root: &Path, line: &str) -> Vec<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (base, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        names if names.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(group.trim_start_matches('/'));
    let groups = group.ancestors().map(|group| root.join(base).join(group).join(file));
    groups.filter_map(|file| read_to_string(file).ok()?.trim().parse().ok()).collect()
}

fn physical(root: &Path) -> Option<u64> {
    let info = read_to_string(root.join("proc/meminfo")).ok()?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    fn limit_with(files: &[(&str, &str)]) -> u64 {
        let root = std::env::temp_dir().join(format!("flagstone-limit-{}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            create_dir_all(path.parent().expect("a folder")).expect("a folder");
            write(path, text).expect("a file");
        }
        let limit = limit_under(&root);
        let _ = std::fs::remove_dir_all(root);
        limit
    }

    #[test]
    fn the_least_of_the_machine_and_the_groups_counts() {
        let machine = ("proc/meminfo", "MemTotal:       8 kB\nMemFree: 1 kB\n");
        assert_eq!(limit_with(&[]), u64::MAX);
        assert_eq!(limit_with(&[machine]), 8192);
        let group = ("proc/self/cgroup", "0::/a/b\n");
        let own = ("sys/fs/cgroup/a/b/memory.max", "max\n");
        assert_eq!(limit_with(&[machine, group, own]), 8192);
        let above = ("sys/fs/cgroup/a/memory.max", "4096\n");
        assert_eq!(limit_with(&[machine, group, own, above]), 4096);
        let group = ("proc/self/cgroup", "5:cpu:/x\n4:hugetlb,memory:/a\n1:name=systemd:/\n");
        let above = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let own = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2048\n");
        assert_eq!(limit_with(&[machine, group, above, own]), 2048);
    }
}
