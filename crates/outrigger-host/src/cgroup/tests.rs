use std::fs;

use tempfile::TempDir;

use super::parse::{self, Groups};
use super::*;

/// A file system with these files.
fn root(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, content).expect("written");
    }
    root
}

fn limits(files: &[(&str, &str)]) -> (Option<f64>, Option<u64>) {
    let limits = Limits::read_below(root(files).path());
    (limits.cpus, limits.memory)
}

#[test]
fn the_tightest_limit_of_version_2_counts() {
    let found = limits(&[
        ("proc/self/cgroup", "0::/kube/pod\n"),
        ("sys/fs/cgroup/kube/pod/cpu.max", "150000 100000\n"),
        ("sys/fs/cgroup/kube/pod/memory.max", "max\n"),
        ("sys/fs/cgroup/kube/cpu.max", "50000 100000\n"),
        ("sys/fs/cgroup/kube/memory.max", "268435456\n"),
    ]);
    assert_eq!(found, (Some(0.5), Some(268_435_456)));
}

#[test]
fn a_group_that_is_not_there_leaves_what_is_above_it() {
    let found = limits(&[
        ("proc/self/cgroup", "0::/docker/0123\n"),
        ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
    ]);
    assert_eq!(found, (Some(2.0), None));
    let found = limits(&[
        ("proc/self/cgroup", "0::/../../elsewhere\n"),
        ("sys/fs/cgroup/cpu.max", "max 100000\n"),
    ]);
    assert_eq!(found, (None, None));
}

#[test]
fn version_1_is_read_too() {
    let found = limits(&[
        ("proc/self/cgroup", "5:memory:/a\n4:cpu,cpuacct:/a\n1:name=systemd:/a\n"),
        ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "25000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
    ]);
    assert_eq!(found, (Some(0.25), Some(1_073_741_824)));
}

#[test]
fn where_nothing_is_known_nothing_is_limited() {
    assert_eq!(limits(&[]), (None, None));
    assert_eq!(CpuTime::read_below(root(&[]).path()), None);
}

#[test]
fn cpu_time_is_that_of_the_nearest_group() {
    let root = root(&[
        ("proc/self/cgroup", "0::/a/b\n"),
        ("sys/fs/cgroup/a/cpu.stat", "usage_usec 1500000\nnr_throttled 3\nthrottled_usec 20\n"),
    ]);
    let time = CpuTime::read_below(root.path()).expect("there");
    assert_eq!(time.used, Duration::from_millis(1_500));
    assert_eq!(time.throttled, Duration::from_micros(20));
}

#[test]
fn this_machine_is_read_without_a_panic() {
    let limits = Limits::read();
    assert!(limits.cpus.is_none_or(|cpus| cpus > 0.0), "{limits:?}");
    let _ = CpuTime::read();
}

#[test]
fn odd_texts_are_nothing_known() {
    for text in
        ["", "max", "max 100000", "0 100000", "-1 100000", "x 100000", "5 0", "5 x", "1e5 1"]
    {
        assert_eq!(parse::cpu_max(text), None, "{text:?}");
    }
    assert_eq!(parse::cpu_max("50000"), Some(0.5), "the period has a default");
    for text in ["", "max", "-1", "9223372036854771712", "18446744073709551615", "1.5", "1G"] {
        assert_eq!(parse::memory(text), None, "{text:?}");
    }
    assert_eq!(parse::cpu_stat("usage_usec x"), None);
    for text in ["", "0:", "::", "a:b", "0::", "\u{0}", "1:cpu"] {
        let groups = parse::groups(text);
        assert!(groups == Groups::default() || groups.unified.as_deref() == Some(""), "{text:?}");
    }
}

#[test]
fn no_text_makes_a_parser_panic() {
    let mut rng = fastrand::Rng::with_seed(9);
    for _ in 0..20_000 {
        let text: String = (0..rng.usize(..40))
            .map(|_| *rng.choice(b"0123456789 -:,/\nmaxcpu_").expect("not empty") as char)
            .collect();
        let _ = (parse::groups(&text), parse::cpu_max(&text), parse::memory(&text));
        let _ = (parse::cpu_stat(&text), parse::cfs(&text, &text));
    }
}
