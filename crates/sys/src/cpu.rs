//! How many processors this process may use.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::thread::{CpuSet, sched_getaffinity};

/// The processors in this thread's affinity mask, or as many as the CPU quota of its cgroups is worth, rounded up,
/// if that is less. At least 1.
#[must_use]
pub fn available() -> usize {
    let allowed = sched_getaffinity(None).map_or(1, |mask: CpuSet| mask.count() as usize);
    let quota = cgroup_quota().unwrap_or(usize::MAX);
    allowed.min(quota).max(1)
}

/// The smallest quota of any cgroup above this process, in processors; `None` where there is none.
fn cgroup_quota() -> Option<usize> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let v2 = v2_path(&membership)
        .zip(mount(&mounts, |kind, _| kind == "cgroup2"))
        .and_then(|(path, mount)| smallest(&mount, path, quota_v2));
    let v1 = v1_path(&membership)
        .zip(mount(&mounts, |kind, options| kind == "cgroup" && options.split(',').any(|o| o == "cpu")))
        .and_then(|(path, mount)| smallest(&mount, path, quota_v1));
    v2.into_iter().chain(v1).min()
}

/// Where a cgroup file system is mounted, and which of its directories is seen there.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    root: PathBuf,
    point: PathBuf,
}

/// The path of this process in the unified hierarchy: the line `0::PATH`.
fn v2_path(membership: &str) -> Option<&str> {
    membership.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The path of this process in the hierarchy of the `cpu` controller: the line `N:…,cpu,…:PATH`.
fn v1_path(membership: &str) -> Option<&str> {
    membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        controllers.split(',').any(|name| name == "cpu").then(|| fields.next()).flatten()
    })
}

/// The first mount whose type and options are wanted (proc_pid_mountinfo(5)).
fn mount(mounts: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<Mount> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.splitn(3, ' ');
        let (name, options) = (kind.next()?, kind.nth(1)?);
        wanted(name, options).then(|| Mount { root: root.into(), point: point.into() })
    })
}

/// The smallest quota from the group at `path` up to the root of the mount.
fn smallest(mount: &Mount, path: &str, quota: impl Fn(&Path) -> Option<usize>) -> Option<usize> {
    let inside = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
    inside.ancestors().filter_map(|group| quota(&mount.point.join(group))).min()
}

fn quota_v2(group: &Path) -> Option<usize> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    processors(quota, period)
}

fn quota_v1(group: &Path) -> Option<usize> {
    let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(group.join("cpu.cfs_period_us")).ok()?;
    processors(quota.trim(), period.trim())
}

/// `max` and `-1` are no numbers, so they are no quota.
fn processors(quota: &str, period: &str) -> Option<usize> {
    let (quota, period) = (quota.parse::<usize>().ok()?, period.parse::<usize>().ok()?);
    (period > 0).then(|| quota.div_ceil(period).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_at_least_one_processor() {
        assert!(available() >= 1);
    }

    #[test]
    fn quotas_are_rounded_up_and_absent_ones_are_none() {
        assert_eq!(processors("150000", "100000"), Some(2));
        assert_eq!(processors("1000", "100000"), Some(1));
        assert_eq!(processors("max", "100000"), None);
        assert_eq!(processors("-1", "100000"), None);
    }

    #[test]
    fn the_paths_of_both_hierarchies_are_found() {
        let membership = "5:memory:/m\n4:cpu,cpuacct:/docker/abc\n0::/user.slice\n";

        assert_eq!(v1_path(membership), Some("/docker/abc"));
        assert_eq!(v2_path(membership), Some("/user.slice"));
        assert_eq!(v1_path("5:cpuset:/x\n"), None);
    }

    #[test]
    fn mounts_are_found_by_type_and_options() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                      31 23 0:27 /docker /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";

        let unified = mount(mounts, |kind, _| kind == "cgroup2").unwrap();
        let cpu = mount(mounts, |_, options| options.split(',').any(|o| o == "cpu")).unwrap();

        assert_eq!(unified, Mount { root: "/".into(), point: "/sys/fs/cgroup/unified".into() });
        assert_eq!(cpu, Mount { root: "/docker".into(), point: "/sys/fs/cgroup/cpu".into() });
    }

    #[test]
    fn the_smallest_quota_on_the_way_up_counts() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("cpu.max"), "max 100000\n").unwrap();
        fs::write(directory.path().join("a/cpu.max"), "250000 100000\n").unwrap();
        let mount = Mount { root: "/".into(), point: directory.path().into() };

        assert_eq!(smallest(&mount, "/a/b", quota_v2), Some(3));
        assert_eq!(smallest(&mount, "/", quota_v2), None);
    }
}
