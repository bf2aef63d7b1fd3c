//! The wall clock steps an hour forth and back, and the process is stopped for a while: a rate
//! limit admits no burst it is not configured for, and neither it nor a circuit stays shut.
//!
//! The process under test is this test's own program, run once more with `libfaketime` before it.
//! `OUTRIGGER_SOAK=1` makes the stop last 30 s.
#![expect(clippy::disallowed_methods, reason = "clocks are what is tried here")]

#[path = "clocks/child.rs"]
mod child;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use outrigger_e2e::process::{Process, until_some, wait_for};
use outrigger_e2e::raw::Ask;

use child::{BURST, OPEN_FOR, RATE};

/// Askers at once; each has at most one answer under way when the process stops.
const ASKERS: usize = 4;
const STEP: i64 = 3_600;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The process under test, and its clock.
struct Stage {
    process: Process,
    dir: tempfile::TempDir,
    limited: SocketAddr,
    front: SocketAddr,
    faked: bool,
}

/// The library that fakes clocks: `OUTRIGGER_FAKETIME_LIB`, or nothing, said loudly.
fn faketime() -> Option<PathBuf> {
    let found = std::env::var_os("OUTRIGGER_FAKETIME_LIB").map(PathBuf::from);
    if found.is_none() {
        // Past the harness, which would keep what a passing test prints to itself.
        let line =
            b"SKIPPED steps of the wall clock: .ci/install faketime, then .ci/install --paths\n";
        let _unheard = std::io::stderr().write_all(line);
    }
    found
}

impl Stage {
    fn set(faketime: Option<PathBuf>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = dir.path().join("clock");
        std::fs::write(&clock, "+0").expect("written");
        let mut command = Command::new(std::env::current_exe().expect("a program"));
        command.args(["--exact", "the_process_under_test", "--nocapture"]);
        command.env(child::VARIABLE, dir.path()).env("RUST_TEST_THREADS", "1");
        let faked = faketime.is_some();
        if let Some(library) = faketime {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", &clock)
                .env("FAKETIME_NO_CACHE", "1")
                // A step of the wall clock is none of the monotonic one.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let process = Process::start("child", dir.path(), &mut command).expect("started");
        let ports = dir.path().join("ports");
        let told = until_some(secs(20), || std::fs::read_to_string(&ports).ok());
        let told = told.unwrap_or_else(|| panic!("the child serves: {}", process.log()));
        let mut ports = told.split(' ').map(|port| port.parse::<u16>().expect("a port"));
        let mut next = || SocketAddr::from(([127, 0, 0, 1], ports.next().expect("two ports")));
        let (limited, front) = (next(), next());
        Self { process, dir, limited, front, faked }
    }

    /// Puts the wall clock so many seconds beside the true one.
    fn step(&self, by: i64) {
        if !self.faked {
            return;
        }
        // Renamed, so that nobody reads half of it.
        let new = self.dir.path().join("clock.new");
        std::fs::write(&new, format!("{by:+}")).expect("written");
        std::fs::rename(new, self.dir.path().join("clock")).expect("renamed");
        let off = || self.wall().saturating_sub(true_wall()).saturating_sub(by).abs() <= 5;
        wait_for("the child's wall clock has stepped", secs(5), off);
    }

    fn wall(&self) -> i64 {
        let answer = Ask::new("GET", "/wall").send(self.front).expect("an answer");
        answer.text().parse().expect("seconds")
    }

    fn stop_for(&self, span: Duration) {
        self.process.signal("STOP");
        sleep(span);
        self.process.signal("CONT");
    }

    /// Calls the flaky service through the circuit; what came of it.
    fn call(&self) -> String {
        let ask = Ask { timeout: secs(60), ..Ask::new("GET", "/call") };
        ask.send(self.front).expect("an answer").text()
    }

    fn flaky(&self, well: bool) {
        let path = if well { "/mend" } else { "/break" };
        let answer = Ask::new("GET", path).send(self.front).expect("an answer");
        assert_eq!(answer.status, 200);
    }
}

fn true_wall() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_secs()).expect("a number of seconds")
}

/// Asks the limited service without pause, and notes when it admitted.
struct Hammer {
    admitted: Arc<Mutex<Vec<Instant>>>,
    stop: Arc<AtomicBool>,
    askers: Vec<JoinHandle<()>>,
}

impl Hammer {
    fn start(at: SocketAddr) -> Self {
        let (admitted, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let asker = |_| {
            let (admitted, stop) = (Arc::clone(&admitted), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let ask = Ask { timeout: secs(60), ..Ask::new("GET", "/") };
                    if ask.send(at).is_ok_and(|answer| answer.status == 200) {
                        let mut admitted = admitted.lock().unwrap_or_else(PoisonError::into_inner);
                        admitted.push(Instant::now());
                    }
                    sleep(Duration::from_millis(8));
                }
            })
        };
        let askers = (0..ASKERS).map(asker).collect();
        Self { admitted, stop, askers }
    }

    fn since(&self, from: Instant) -> usize {
        let admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        admitted.iter().filter(|at| **at >= from).count()
    }

    fn end(self) -> Vec<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        for asker in self.askers {
            asker.join().expect("an asker ends");
        }
        let mut admitted = std::mem::take(&mut *self.admitted.lock().expect("nobody else"));
        admitted.sort_unstable();
        admitted
    }
}

/// The most that any span admitted beyond rate × span + burst; at most 0 where the law holds.
fn worst_excess(admitted: &[Instant]) -> f64 {
    let mut worst = f64::MIN;
    for (i, from) in admitted.iter().enumerate() {
        for (count, to) in (1_u32..).zip(&admitted[i..]) {
            let allowed = RATE * to.duration_since(*from).as_secs_f64() + f64::from(BURST);
            worst = worst.max(f64::from(count) - allowed);
        }
    }
    worst
}

fn stop() -> Duration {
    let soak = std::env::var("OUTRIGGER_SOAK").is_ok_and(|v| v == "1");
    secs(if soak { 30 } else { 3 })
}

#[test]
fn a_rate_limit_holds_over_steps_of_the_clock_and_a_stop() {
    let stage = Stage::set(faketime());
    let hammer = Hammer::start(stage.limited);
    sleep(secs(1));
    let mut slowest = f64::MAX;
    let mut flows = |what: &str| {
        let from = Instant::now();
        sleep(secs(2));
        let rate = hammer.since(from) as f64 / from.elapsed().as_secs_f64();
        assert!(rate >= 0.7 * RATE, "{what}: only {rate:.0} a second of {RATE} are admitted");
        slowest = slowest.min(rate);
    };
    flows("at first");
    for by in [STEP, -STEP, 0] {
        stage.step(by);
        flows("after a step of the clock");
    }
    stage.stop_for(stop());
    flows("after a stop");
    let admitted = hammer.end();
    let excess = worst_excess(&admitted);
    println!(
        "{} admitted at {RATE}/s and a burst of {BURST}, steps of ±1 h {}, stopped {:?}: at most \
         {excess:.1} beyond rate × time + burst, never below {slowest:.0}/s",
        admitted.len(),
        if stage.faked { "faked" } else { "not tried" },
        stop()
    );
    // What was admitted before a stop is answered after it.
    assert!(excess <= ASKERS as f64 + 1.0, "{excess} beyond what is configured");
}

#[test]
fn a_circuit_waits_its_time_and_closes_again_over_steps_of_the_clock_and_a_stop() {
    let stage = Stage::set(faketime());
    let mut longest = Duration::ZERO;
    assert_eq!(stage.call(), "200");
    type Trouble = fn(&Stage);
    let troubles: [(&str, Trouble); 4] = [
        ("nothing", |_| {}),
        ("an hour forth", |stage| stage.step(STEP)),
        ("an hour back", |stage| stage.step(-STEP)),
        ("a stop", |stage| stage.stop_for(stop())),
    ];
    for (what, trouble) in troubles {
        stage.flaky(false);
        let open = until_some(secs(10), || (stage.call() == "circuit_open").then(Instant::now));
        let opened = open.unwrap_or_else(|| panic!("{what}: the circuit never opened"));
        trouble(&stage);
        // Not early: the wall clock has nothing to say here.
        while opened.elapsed() < OPEN_FOR.mul_f64(0.6) {
            assert_eq!(stage.call(), "circuit_open", "{what}: open for {:?}", opened.elapsed());
        }
        stage.flaky(true);
        let mended = Instant::now();
        let limit = OPEN_FOR + secs(3);
        let closed = until_some(limit, || (stage.call() == "200").then(|| mended.elapsed()));
        longest = longest.max(closed.unwrap_or_else(|| panic!("{what}: stuck for {limit:?}")));
        for _ in 0..10 {
            assert_eq!(stage.call(), "200", "{what}: closed for good");
        }
    }
    println!(
        "a circuit open for {OPEN_FOR:?}: closed at most {longest:.1?} after the service was mended, \
         steps of ±1 h {}, stopped {:?}",
        if stage.faked { "faked" } else { "not tried" },
        stop()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_under_test() {
    child::run().await;
}
