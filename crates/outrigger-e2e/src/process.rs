//! A program of this workspace or a foreign one, as a process that ends with its handle.
#![expect(
    clippy::disallowed_methods,
    reason = "processes run on real time: waiting for one polls its condition"
)]

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A running process; dropped, also by a panic, it is killed and reaped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `command` with both outputs in `dir/name.log`.
    ///
    /// # Errors
    /// Those of the file and of starting a process.
    pub fn start(name: &str, dir: &Path, command: &mut Command) -> io::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written so far, invalid UTF-8 replaced.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal by its short name, `STOP`, `CONT` or `TERM`.
    ///
    /// # Panics
    /// When it does not arrive: the process is gone.
    pub fn signal(&self, signal: &str) {
        // Sending a signal needs libc; its command does it without unsafe code of ours.
        let sent =
            Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(sent.is_ok_and(|s| s.success()), "SIG{signal} reached {}", self.name);
    }

    /// It and every process below it, the youngest last; empty when it is gone.
    #[must_use]
    pub fn family(&self) -> Vec<u32> {
        let mut family = vec![self.pid()];
        let mut at = 0;
        while let Some(pid) = family.get(at) {
            // One list for each thread: any of them may have started a process.
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                family
                    .extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            at += 1;
        }
        family
    }

    /// Sends a signal to it and every process below it.
    pub fn signal_family(&self, signal: &str) {
        // One that ended by itself meanwhile needs no signal.
        let _sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .args(self.family().iter().map(u32::to_string))
            .stderr(Stdio::null())
            .status();
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        // It can only be gone already, which is what is wanted.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    /// The processor time it has used so far, its threads' together; `None` where that is not told.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        // Linux counts in hundredths of a second, whatever its own clock ticks.
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        // The name in parentheses may hold anything; user and system time are the 14th and 15th.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || rest.next()?.parse::<u32>().ok();
        Some(TICK * (ticks()? + ticks()?))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; `None` when that does not come within `limit`, else whether it ended well.
    pub fn wait(&mut self, limit: Duration) -> Option<bool> {
        let ended = || self.child.try_wait().ok().flatten();
        until_some(limit, ended).map(|status| status.success())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks every 20 ms until there is something, or `limit` has passed.
pub fn until_some<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if start.elapsed() > limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Looks every 20 ms until it is so; says how long that took.
///
/// # Panics
/// When it is not so within `limit`; `what` says what was waited for.
pub fn wait_for(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    let found = until_some(limit, || is_so().then(|| start.elapsed()));
    let Some(took) = found else { panic!("{what}: not within {limit:?}") };
    took
}

/// A TCP port of loopback that is free now.
///
/// # Errors
/// Those of binding.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A TCP port of loopback for a program that listens only in a while, a JVM for one: below the range
/// that systems give to outgoing connections, of which one would take a [`free_port`] meanwhile.
///
/// # Errors
/// `AddrInUse` when 12,000 in a row are taken.
pub fn lasting_port() -> io::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    // Every process begins elsewhere, so that tests beside each other do not try the same ones.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    let start = u16::try_from(start).unwrap_or(0);
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The `outrigger` program: `OUTRIGGER_BIN`, else what `cargo build --release -p outrigger-cli`
/// makes in the target directory of this test, built once.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn outrigger() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    program(&PROGRAM, "OUTRIGGER_BIN", "outrigger-cli", "outrigger")
}

/// The orders of the five-language fleet: `OUTRIGGER_FLEET_RUST`, else built once as [`outrigger`].
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn orders() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let name = "outrigger-example-orders";
    program(&PROGRAM, "OUTRIGGER_FLEET_RUST", name, name)
}

/// Takes out of a command what this process was told for itself: the variables whose name `is_own`
/// holds.
pub fn forget(command: &mut Command, is_own: impl Fn(&str) -> bool) {
    for (name, _) in std::env::vars_os() {
        if is_own(&name.to_string_lossy()) {
            command.env_remove(&name);
        }
    }
}

fn program(once: &OnceLock<PathBuf>, variable: &str, package: &str, name: &str) -> PathBuf {
    once.get_or_init(|| ready(variable).unwrap_or_else(|| build(package).join(name))).clone()
}

fn ready(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

/// Builds a program of this workspace that tests start; says where it is. Each by itself: together
/// they would have other features, and nothing that the README's command built would serve.
fn build(package: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // A test's own path is TARGET/PROFILE/deps/NAME.
    let target = std::env::current_exe()
        .ok()
        .and_then(|test| test.ancestors().nth(3).map(Path::to_owned))
        .unwrap_or_else(|| PathBuf::from("target"));
    let mut command = Command::new(cargo);
    // What cargo tells a test of itself: ring's build script looks at it, so that ring and all above
    // it would be compiled anew, here and again at the next build from a shell.
    forget(&mut command, |name| {
        ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.starts_with(own))
    });
    let built = command
        .args(["build", "--release", "--quiet", "-p", package, "--target-dir"])
        .arg(&target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "{package} can be built");
    target.join("release")
}
