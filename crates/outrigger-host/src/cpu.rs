//! How busy the CPU is that this process may use.

#[cfg(any(target_os = "linux", test))]
mod parse;

#[cfg(target_os = "linux")]
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use crate::cgroup;

/// Measures which share of the CPU that this process may use was used, from one look to the next.
///
/// Under a CPU limit (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`) it is the group's CPU time over
/// what the limit grants: at 1 the kernel makes the process wait, however idle the machine is.
/// Without one, or where the group's time cannot be read, it is the busy share of the whole
/// machine, from `/proc/stat`: what others use is not there for this process either. The limit is
/// read at each look, for it may be changed while the process runs.
///
/// Cost: a look reads a few small files, well below a millisecond; it is blocking, and short
/// enough for a task. Linux only; elsewhere nothing is known.
#[derive(Clone, Debug)]
pub struct CpuMeter {
    #[cfg(target_os = "linux")]
    root: PathBuf,
    before: Option<(Instant, Look)>,
}

/// What was read at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    /// CPU time of the group, and the CPUs that its limit grants.
    group: Option<(Duration, f64)>,
    /// Ticks of all CPUs: busy, and all.
    machine: Option<(u64, u64)>,
}

impl Default for CpuMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl CpuMeter {
    /// A meter that has not looked yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            root: PathBuf::from("/"),
            before: None,
        }
    }

    /// The share that was used since the last look.
    ///
    /// Shape: 0 to 1; `None` at the first look, where nothing is known, and for a look so soon that
    /// nothing has been counted in between.
    pub fn look(&mut self, now: Instant) -> Option<f64> {
        let look = self.read();
        let before = self.before.replace((now, look));
        let (then, before) = before?;
        share(&before, &look, now.saturating_duration_since(then))
    }

    /// Tells `each` the share every `period`, for as long as it is polled; 250 ms are right for
    /// shedding load.
    ///
    /// # Cancel safety
    /// Dropping it ends the measuring.
    pub async fn watch(mut self, period: Duration, mut each: impl FnMut(f64) + Send) {
        let mut ticks = tokio::time::interval(period.max(Duration::from_millis(10)));
        // A machine that is too busy to look in time is not to be asked twice at once.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = ticks.tick().await;
            if let Some(share) = self.look(now.into_std()) {
                each(share);
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn read(&self) -> Look {
        let machine = parse::machine(&cgroup::text(&self.root.join("proc/stat")));
        Look { group: cgroup::cpu_under_limit(&self.root), machine }
    }

    #[cfg(not(target_os = "linux"))]
    fn read(&self) -> Look {
        Look { group: None, machine: None }
    }

    #[cfg(all(test, target_os = "linux"))]
    fn below(root: &std::path::Path) -> Self {
        Self { root: root.to_owned(), before: None }
    }
}

/// The share that was used from one look to the next.
fn share(before: &Look, after: &Look, elapsed: Duration) -> Option<f64> {
    if let (Some((then, _)), Some((now, cpus))) = (before.group, after.group) {
        let granted = elapsed.as_secs_f64() * cpus;
        // A counter that went back is that of another group.
        let used = now.checked_sub(then)?.as_secs_f64();
        return (granted > 0.0).then(|| (used / granted).clamp(0.0, 1.0));
    }
    let ((busy_then, all_then), (busy, all)) = (before.machine?, after.machine?);
    let (busy, all) = (busy.checked_sub(busy_then)?, all.checked_sub(all_then)?);
    (all > 0).then(|| (busy as f64 / all as f64).clamp(0.0, 1.0))
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
