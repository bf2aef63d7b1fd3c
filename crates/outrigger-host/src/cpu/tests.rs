use std::fs;

use tempfile::TempDir;

use super::*;

fn write(root: &TempDir, path: &str, content: &str) {
    let path = root.path().join(path);
    fs::create_dir_all(path.parent().expect("below the root")).expect("made");
    fs::write(path, content).expect("written");
}

fn root(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (path, content) in files {
        write(&root, path, content);
    }
    root
}

#[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
fn epoch() -> Instant {
    Instant::now()
}

const SECOND: Duration = Duration::from_secs(1);

/// The share between two states of a file system that lie a second apart.
fn between(root: &TempDir, change: impl FnOnce(&TempDir)) -> Option<f64> {
    let t0 = epoch();
    let mut meter = CpuMeter::below(root.path());
    assert_eq!(meter.look(t0), None, "a first look has nothing to compare with");
    change(root);
    meter.look(t0 + SECOND)
}

fn close(share: Option<f64>, wanted: f64) {
    let share = share.expect("known");
    assert!((share - wanted).abs() < 1e-9, "{share} is not {wanted}");
}

#[test]
fn under_a_limit_it_is_the_share_of_what_the_limit_grants() {
    let stat = "sys/fs/cgroup/pod/cpu.stat";
    let root = root(&[
        ("proc/self/cgroup", "0::/pod\n"),
        ("sys/fs/cgroup/pod/cpu.max", "50000 100000\n"),
        (stat, "usage_usec 1000000\n"),
        ("proc/stat", "cpu 0 0 0 1000 0 0 0 0 0 0\n"),
    ]);
    // 0.4 s of CPU in a second of which half a CPU is granted: the idle machine does not matter.
    let used = between(&root, |root| write(root, stat, "usage_usec 1400000\n"));
    close(used, 0.8);
    let more = between(&root, |root| write(root, stat, "usage_usec 9000000\n"));
    close(more, 1.0);
}

#[test]
fn a_limit_that_is_changed_counts_from_the_next_look() {
    let root = root(&[
        ("proc/self/cgroup", "0::/pod\n"),
        ("sys/fs/cgroup/pod/cpu.max", "100000 100000\n"),
        ("sys/fs/cgroup/pod/cpu.stat", "usage_usec 0\n"),
    ]);
    let used = between(&root, |root| {
        write(root, "sys/fs/cgroup/pod/cpu.max", "200000 100000\n");
        write(root, "sys/fs/cgroup/pod/cpu.stat", "usage_usec 1000000\n");
    });
    close(used, 0.5);
}

#[test]
fn version_1_is_read_too() {
    let usage = "sys/fs/cgroup/cpu,cpuacct/a/cpuacct.usage";
    let root = root(&[
        ("proc/self/cgroup", "4:cpu,cpuacct:/a\n"),
        ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "200000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
        (usage, "5000000000\n"),
    ]);
    close(between(&root, |root| write(root, usage, "6000000000\n")), 0.5);
}

#[test]
fn without_a_limit_it_is_the_busy_share_of_the_machine() {
    let root = root(&[
        ("proc/self/cgroup", "0::/pod\n"),
        ("sys/fs/cgroup/pod/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/pod/cpu.stat", "usage_usec 1000000\n"),
        ("proc/stat", "cpu 100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3 4\n"),
    ]);
    let busier = |root: &TempDir| write(root, "proc/stat", "cpu 150 10 120 810 5 2 3 0 0 0\n");
    // 50 + 10 + 20 + 2 + 3 busy of those and 10 idle and 5 waiting.
    close(between(&root, busier), 0.85);
}

#[test]
fn where_nothing_is_known_nothing_is_said() {
    assert_eq!(between(&root(&[]), |_| {}), None);
    let still = root(&[("proc/stat", "cpu 1 1 1 1\n")]);
    assert_eq!(between(&still, |_| {}), None, "no tick has passed");
    let back = |root: &TempDir| write(root, "proc/stat", "cpu 0 0 0 1\n");
    assert_eq!(between(&still, back), None, "a counter that went back");
}

#[test]
fn odd_texts_are_nothing_known() {
    for text in ["", "cpu", "cpu 1 2 3", "cpu0 1 2 3 4", "cpu a b c d", "cpu -1 2 3 4", "intr 1"] {
        assert_eq!(parse::machine(text), None, "{text:?}");
    }
    assert_eq!(parse::machine("cpu  1 2 3 4\n"), Some((6, 10)), "an old kernel's");
    let huge = format!("cpu {0} {0} {0} {0}", u64::MAX);
    assert_eq!(parse::machine(&huge), None);
}

#[test]
fn this_machine_is_measured_without_a_panic() {
    let mut meter = CpuMeter::new();
    let t0 = epoch();
    let _first = meter.look(t0);
    let share = meter.look(t0 + SECOND);
    assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)), "{share:?}");
}

#[test]
fn the_group_with_the_tightest_limit_is_the_one_that_is_measured() {
    let root = root(&[
        ("proc/self/cgroup", "0::/pod/app\n"),
        ("sys/fs/cgroup/pod/cpu.max", "100000 100000\n"),
        ("sys/fs/cgroup/pod/cpu.stat", "usage_usec 0\n"),
        ("sys/fs/cgroup/pod/app/cpu.max", "400000 100000\n"),
        ("sys/fs/cgroup/pod/app/cpu.stat", "usage_usec 0\n"),
    ]);
    let used = between(&root, |root| {
        // Its neighbours in the pod use most of what there is.
        write(root, "sys/fs/cgroup/pod/cpu.stat", "usage_usec 900000\n");
        write(root, "sys/fs/cgroup/pod/app/cpu.stat", "usage_usec 100000\n");
    });
    close(used, 0.9);
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_each_period_until_it_is_dropped() {
    let root = root(&[("proc/stat", "cpu 0 0 0 0\n")]);
    let mut told = Vec::new();
    let watch = CpuMeter::below(root.path()).watch(Duration::from_millis(250), |share| {
        told.push(share);
    });
    let changes = async {
        for second in 1..=4_u64 {
            // Between two looks: a machine of which half is busy.
            tokio::time::sleep(Duration::from_millis(if second == 1 { 100 } else { 250 })).await;
            write(&root, "proc/stat", &format!("cpu {0} 0 0 {0}\n", second * 50));
        }
    };
    let over = tokio::time::timeout(Duration::from_millis(1_010), async {
        tokio::join!(watch, changes);
    });
    assert!(over.await.is_err(), "it goes on");
    assert_eq!(told, [0.5; 4]);
}
