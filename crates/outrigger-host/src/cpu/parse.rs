//! The kernel's text, read without any I/O.

/// Reads the first line of `/proc/stat`: ticks of all CPUs that were busy, and all.
///
/// Source: proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice.
/// Time of guests is in user and nice already; what the hypervisor took is not ours to use.
pub(super) fn machine(text: &str) -> Option<(u64, u64)> {
    let mut words = text.lines().next()?.split_ascii_whitespace();
    if words.next()? != "cpu" {
        return None;
    }
    let mut ticks = [0_u64; 8];
    for (at, tick) in ticks.iter_mut().enumerate() {
        match words.next() {
            Some(word) => *tick = word.parse().ok()?,
            // Old kernels tell fewer; the four first have always been there.
            None if at >= 4 => break,
            None => return None,
        }
    }
    let all = ticks.iter().try_fold(0_u64, |sum, tick| sum.checked_add(*tick))?;
    let idle = ticks[3].checked_add(ticks[4])?;
    Some((all - idle, all))
}
