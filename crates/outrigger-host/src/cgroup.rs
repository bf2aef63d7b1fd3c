//! What the cgroup leaves to this process.

mod parse;

#[cfg(target_os = "linux")]
use std::path::Path;
use std::time::Duration;

/// What the process may use; `None` where nothing limits it, or nothing is known.
///
/// A limit of any group above counts: the tightest is told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// CPUs, also parts of one.
    pub cpus: Option<f64>,
    /// Units: bytes.
    pub memory: Option<u64>,
}

/// CPU time of this process's cgroup since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuTime {
    /// Time that its processes ran.
    pub used: Duration,
    /// Time that they were made to wait by the CPU limit.
    pub throttled: Duration,
}

impl Limits {
    /// Reads the limits of this process, of cgroup v2 or v1. Reads a few small files.
    #[must_use]
    pub fn read() -> Self {
        #[cfg(target_os = "linux")]
        {
            Self::read_below(Path::new("/"))
        }
        #[cfg(not(target_os = "linux"))]
        {
            Self::default()
        }
    }

    /// The same for a file system that stands elsewhere.
    #[cfg(target_os = "linux")]
    fn read_below(root: &Path) -> Self {
        let mut limits = Self::default();
        let groups = parse::groups(&text(&root.join("proc/self/cgroup")));
        let mounted = root.join("sys/fs/cgroup");
        if let Some(group) = &groups.unified {
            for dir in upwards(&mounted, group) {
                tighten(&mut limits.cpus, parse::cpu_max(&text(&dir.join("cpu.max"))));
                tighten(&mut limits.memory, parse::memory(&text(&dir.join("memory.max"))));
            }
        }
        if let Some(group) = &groups.cpu {
            for controller in ["cpu", "cpu,cpuacct"] {
                for dir in upwards(&mounted.join(controller), group) {
                    let cpus = parse::cfs(
                        &text(&dir.join("cpu.cfs_quota_us")),
                        &text(&dir.join("cpu.cfs_period_us")),
                    );
                    tighten(&mut limits.cpus, cpus);
                }
            }
        }
        if let Some(group) = &groups.memory {
            for dir in upwards(&mounted.join("memory"), group) {
                let memory = parse::memory(&text(&dir.join("memory.limit_in_bytes")));
                tighten(&mut limits.memory, memory);
            }
        }
        limits
    }
}

impl CpuTime {
    /// Reads it; `None` where there is no cgroup v2 with the CPU controller.
    #[must_use]
    pub fn read() -> Option<Self> {
        #[cfg(target_os = "linux")]
        {
            Self::read_below(Path::new("/"))
        }
        #[cfg(not(target_os = "linux"))]
        {
            None
        }
    }

    #[cfg(target_os = "linux")]
    fn read_below(root: &Path) -> Option<Self> {
        let groups = parse::groups(&text(&root.join("proc/self/cgroup")));
        // In a container the path of the group is often that of the machine and not there.
        upwards(&root.join("sys/fs/cgroup"), &groups.unified?)
            .into_iter()
            .find_map(|dir| parse::cpu_stat(&text(&dir.join("cpu.stat"))))
    }
}

/// CPU time of the group whose CPU limit is the tightest of those above this process, and the CPUs
/// that it grants; `None` without a limit, or where the group's time cannot be read.
#[cfg(target_os = "linux")]
pub(crate) fn cpu_under_limit(root: &Path) -> Option<(Duration, f64)> {
    let groups = parse::groups(&text(&root.join("proc/self/cgroup")));
    let mounted = root.join("sys/fs/cgroup");
    let unified = groups.unified.iter().flat_map(|group| upwards(&mounted, group)).map(|dir| {
        let cpus = parse::cpu_max(&text(&dir.join("cpu.max")))?;
        Some((parse::cpu_stat(&text(&dir.join("cpu.stat")))?.used, cpus))
    });
    let first = groups.cpu.iter().flat_map(|group| {
        let below = |name| upwards(&mounted.join(name), group);
        ["cpu", "cpu,cpuacct"].into_iter().flat_map(below).collect::<Vec<_>>()
    });
    let first = first.map(|dir| {
        let quota = text(&dir.join("cpu.cfs_quota_us"));
        let cpus = parse::cfs(&quota, &text(&dir.join("cpu.cfs_period_us")))?;
        Some((parse::cpuacct(&text(&dir.join("cpuacct.usage")))?, cpus))
    });
    unified.chain(first).flatten().min_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// Empty when it cannot be read, which the parsers take for "nothing known".
#[cfg(target_os = "linux")]
pub(crate) fn text(path: &Path) -> String {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(65_536).read_to_string(&mut text));
    if read.is_ok() { text } else { String::new() }
}

/// The directories of a group and of all above it, itself first.
#[cfg(target_os = "linux")]
fn upwards(mounted: &Path, group: &str) -> Vec<std::path::PathBuf> {
    let mut dirs = Vec::new();
    let mut group = Path::new(group.trim_start_matches('/'));
    // `..` comes with a cgroup namespace whose root is below: nothing up there can be seen.
    if group.components().any(|part| part == std::path::Component::ParentDir) {
        group = Path::new("");
    }
    loop {
        dirs.push(mounted.join(group));
        match group.parent() {
            Some(parent) => group = parent,
            None => return dirs,
        }
    }
}

#[cfg(target_os = "linux")]
fn tighten<T: PartialOrd>(limit: &mut Option<T>, other: Option<T>) {
    if let Some(other) = other
        && limit.as_ref().is_none_or(|limit| other < *limit)
    {
        *limit = Some(other);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
