//! The texts of the kernel, read without any I/O.

use std::time::Duration;

use super::CpuTime;

/// Which groups a process is in, by controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    /// Version 2.
    pub(super) unified: Option<String>,
    /// Version 1.
    pub(super) cpu: Option<String>,
    /// Version 1.
    pub(super) memory: Option<String>,
}

/// Reads `/proc/self/cgroup`: lines of `number:controllers:path`.
pub(super) fn groups(text: &str) -> Groups {
    let mut groups = Groups::default();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if number == "0" && controllers.is_empty() {
            groups.unified = Some(path.to_owned());
        }
        for controller in controllers.split(',') {
            match controller {
                "cpu" => groups.cpu = Some(path.to_owned()),
                "memory" => groups.memory = Some(path.to_owned()),
                _ => {}
            }
        }
    }
    groups
}

/// Reads `cpu.max`: `max 100000` or `50000 100000`, in microseconds.
pub(super) fn cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota = words.next()?.parse().ok()?;
    let period = words.next().map_or(Some(100_000), |word| word.parse().ok())?;
    share(quota, period)
}

/// Reads the two files of version 1; a quota of -1 is none.
pub(super) fn cfs(quota: &str, period: &str) -> Option<f64> {
    share(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

fn share(quota: i64, period: i64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// Reads a memory limit; `max`, and version 1's huge numbers, are none.
pub(super) fn memory(text: &str) -> Option<u64> {
    let bytes = text.trim().parse().ok()?;
    // Version 1 writes the largest multiple of the page size below 2^63.
    (bytes < i64::MAX as u64 - 65_536).then_some(bytes)
}

/// Reads `cpuacct.usage` of version 1, in nanoseconds.
pub(super) fn cpuacct(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_nanos)
}

/// Reads `cpu.stat` of version 2.
pub(super) fn cpu_stat(text: &str) -> Option<CpuTime> {
    let find = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == key).then(|| value.trim().parse().ok())?
        })
    };
    Some(CpuTime {
        used: Duration::from_micros(find("usage_usec")?),
        throttled: Duration::from_micros(find("throttled_usec").unwrap_or_default()),
    })
}
