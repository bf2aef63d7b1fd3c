//! A fleet of processes on the real Consul, under load and in trouble.
//!
//! storefront → orders → inventory ×3, pricing ×2. What counts is what a visitor of the storefront
//! sees. `OUTRIGGER_SOAK=1` asks for the full figures: 500 requests a second, and a registry that is
//! dead for a minute.
#![expect(clippy::print_stdout, reason = "each prints its figure")]
#![expect(clippy::disallowed_methods, reason = "processes run on real time")]

#[path = "faults/stub.rs"]
mod stub;

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use outrigger_e2e::consul::{RealConsul, Version};
use outrigger_e2e::fleet::{self, Fleet};
use outrigger_e2e::load::{Load, Visits};
use outrigger_e2e::process::{until_some, wait_for};
use outrigger_e2e::raw::Ask;
use stub::Stub;

/// Requests a second: enough that each fault meets several in flight, few enough for a busy machine.
fn rate() -> u32 {
    if is_soak() { 500 } else { 100 }
}
/// Half the TTL that the fleet registers with, and 3 s.
const BACK_WITHIN: Duration = Duration::from_millis(7_500 + 3_000);
const SIZES: [(&str, usize); 4] =
    [("inventory", 3), ("pricing", 2), ("orders", 1), ("storefront", 1)];

fn is_soak() -> bool {
    std::env::var("OUTRIGGER_SOAK").is_ok_and(|v| v == "1")
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A fleet, its registry, and what was found out so far.
struct Stage {
    consul: RealConsul,
    fleet: Fleet,
    figures: String,
    broken: Vec<String>,
}

impl Stage {
    fn set(version: Version) -> Option<Self> {
        let consul = RealConsul::builder(version)?.start().expect("consul starts");
        let fleet = Fleet::start(&consul, &SIZES, &[]).expect("the fleet starts");
        Some(Self { consul, fleet, figures: String::new(), broken: Vec::new() })
    }

    fn load(&self) -> Load {
        let load = Load::start(self.fleet.storefront(), rate());
        // What follows happens to a fleet at work.
        sleep(secs(1));
        load
    }

    fn figure(&mut self, scenario: &str, visits: &Visits, further: &str) {
        let failed = visits.failed().count();
        let (p50, p99) = (visits.quantile(0.5), visits.quantile(0.99));
        let number = self.consul.version().number();
        // Writing into a String cannot fail.
        let _ = writeln!(
            self.figures,
            "consul {number}, {}/s, {scenario}: {failed} of {} failed, p50 {p50:.1?}, p99 {p99:.1?}{further}",
            rate(),
            visits.count()
        );
        println!("{}", self.figures.lines().last().unwrap_or_default());
    }

    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            let otherwise = otherwise();
            println!("  BROKEN: {otherwise}");
            self.broken.push(otherwise);
        }
    }

    fn expect_none_failed(&mut self, scenario: &str, visits: &Visits, since: Instant) {
        let failed = visits.failed().count();
        self.expect(failed == 0, || {
            format!("{scenario}: {failed} failed, none may\n{}", visits.failures_since(since))
        });
    }

    fn end(self) {
        println!("\n{}", self.figures);
        assert!(self.broken.is_empty(), "{}\n{}", self.broken.join("\n"), self.fleet.logs());
    }

    /// What the others are compared with.
    fn all_is_well(&mut self) {
        let load = self.load();
        let at = Instant::now();
        sleep(secs(if is_soak() { 20 } else { 3 }));
        let visits = load.end();
        self.figure("all is well", &visits, "");
        self.expect_none_failed("all is well", &visits, at);
    }

    /// Kill -9 of one of three, and a new one in its place.
    fn an_instance_is_killed(&mut self) {
        let load = self.load();
        let at = Instant::now();
        let mut victim = self.fleet.take("inventory");
        victim.process.kill();
        sleep(secs(5));
        let visits = load.end();
        self.figure("kill -9 of 1 of 3", &visits, "");
        self.expect_none_failed("kill -9 of 1 of 3", &visits, at);
        self.fleet.add("inventory").expect("another starts");
        self.wait_until_all_are_back(secs(15));
    }

    /// The processor time of all processes of the fleet.
    fn cpu(&self) -> Duration {
        self.fleet.instances.iter().filter_map(|i| i.process.cpu_time()).sum()
    }

    fn wait_until_all_are_back(&self, limit: Duration) -> Duration {
        let all = self.fleet.instances.len();
        wait_for("every instance is registered and passing", limit, || {
            self.fleet.passing(&self.consul) == all
        })
    }

    /// The registry is gone for a while, and comes back with an empty memory.
    fn the_registry_dies_and_comes_back_empty(&mut self, gone_for: Duration) {
        let load = self.load();
        let (before, cpu_before) = (Instant::now(), self.cpu());
        sleep(gone_for / 4);
        let (at, cpu_at) = (Instant::now(), self.cpu());
        self.consul.kill();
        sleep(gone_for);
        let (end, cpu_end) = (Instant::now(), self.cpu());
        // A busy machine takes seconds to start an agent: what is promised counts from its first
        // answer, which nobody hears earlier than we.
        let address = self.consul.address();
        let first_answer = std::thread::spawn(move || {
            let ask = Ask { timeout: secs(5), ..Ask::new("GET", "/v1/status/leader") };
            until_some(secs(40), || ask.send(address).is_ok().then(Instant::now))
        });
        let started = Instant::now();
        self.consul.start_again().expect("consul starts again");
        let all = self.fleet.instances.len();
        let back = until_some(BACK_WITHIN * 2, || {
            let from = Instant::now();
            (self.fleet.passing(&self.consul) == all).then_some(from)
        });
        let answered = first_answer.join().ok().flatten().expect("it answers");
        let took = back.map(|back| back.saturating_duration_since(answered));
        sleep(secs(2));
        let visits = load.end();
        let (well, gone) = (visits.between(before, at), visits.between(at, end));
        let told = |visits: &Visits| (visits.quantile(0.9), visits.quantile(0.99));
        let ((well90, well99), (gone90, gone99)) = (told(&well), told(&gone));
        let share = |from: Duration, to: Duration, span: Duration| {
            100.0 * to.saturating_sub(from).as_secs_f64() / span.as_secs_f64()
        };
        let cpu_well = share(cpu_before, cpu_at, at - before);
        let cpu_gone = share(cpu_at, cpu_end, end - at);
        let figure = format!(
            "; before p90 {well90:.1?}, p99 {well99:.1?}, CPU {cpu_well:.1} %, while it is gone p90 \
             {gone90:.1?}, p99 {gone99:.1?}, CPU {cpu_gone:.1} %; its first answer {:.1} s after its start, every instance back {:.1} s later",
            answered.saturating_duration_since(started).as_secs_f64(),
            took.unwrap_or_default().as_secs_f64()
        );
        self.figure(&format!("registry killed for {gone_for:?}"), &visits, &figure);
        self.expect_none_failed("registry killed", &visits, at);
        // A p99 belongs to whatever else runs on a shared machine.
        self.expect(gone90 <= well90.mul_f64(1.5) + Duration::from_millis(1), || {
            format!("registry killed: p90 {gone90:?}, {well90:?} before")
        });
        self.expect(took.is_some_and(|took| took <= BACK_WITHIN), || {
            format!("registry back empty: all there after {took:?}, {BACK_WITHIN:?} are promised")
        });
    }

    /// An instance is replaced while nobody can register, and the registry comes back empty.
    fn an_instance_is_replaced_while_the_registry_is_away(&mut self) {
        let load = self.load();
        let at = Instant::now();
        self.consul.kill();
        let mut old = self.fleet.take("inventory");
        old.process.signal("TERM");
        let left = Instant::now();
        let ended = old.process.wait(secs(30));
        let left = left.elapsed();
        self.expect(ended == Some(true), || {
            format!("leaving without a registry: ended {ended:?}\n{}", old.process.log())
        });
        self.fleet.add("inventory").expect("another starts");
        sleep(secs(2));
        self.consul.start_again().expect("consul starts again");
        let back = self.wait_until_all_are_back(secs(20));
        sleep(secs(1));
        let visits = load.end();
        let told = format!(
            ", the old one left in {:.1} s, every instance there {:.1} s after the start",
            left.as_secs_f64(),
            back.as_secs_f64()
        );
        self.figure("replaced while the registry is away", &visits, &told);
        self.expect_none_failed("replaced while the registry is away", &visits, at);
        self.expect(back <= BACK_WITHIN, || format!("all there only after {back:?}"));
    }

    /// The registry hangs, and goes on.
    fn the_registry_hangs(&mut self) {
        let load = self.load();
        let at = Instant::now();
        self.consul.pause();
        sleep(secs(10));
        self.consul.resume();
        let fresh = self.time_until_a_newcomer_is_used(secs(10));
        let visits = load.end();
        let told =
            fresh.map_or_else(|| "never".to_owned(), |took| format!("{:.1} s", took.as_secs_f64()));
        self.figure(
            "registry stopped for 10 s",
            &visits,
            &format!(", a newcomer used after {told}"),
        );
        self.expect_none_failed("registry stopped", &visits, at);
        self.expect(fresh.is_some_and(|took| took <= secs(5)), || {
            format!("registry goes on: fresh after {told}, 5 s are promised")
        });
    }

    /// Registers an instance by hand; how long it takes from now until it is asked.
    fn time_until_a_newcomer_is_used(&self, limit: Duration) -> Option<Duration> {
        let from = Instant::now();
        let stub = Stub::start().expect("a stub");
        let body = format!(
            r#"{{"ID":"inventory-stub","Name":"inventory","Address":"127.0.0.1","Port":{}}}"#,
            stub.address().port()
        );
        let put = self.consul.ask("PUT", "/v1/agent/service/register", body.as_bytes());
        assert!(put.is_ok_and(|answer| answer.status == 200), "the stub is registered");
        let used = until_some(limit, || (stub.asked() > 0).then(|| from.elapsed()));
        let gone = self.consul.ask("PUT", "/v1/agent/service/deregister/inventory-stub", b"");
        assert!(gone.is_ok_and(|answer| answer.status == 200), "the stub is taken back");
        // It serves until nobody asks it any more, as whoever drains does.
        let mut before = stub.asked();
        wait_for("nobody asks the stub", secs(10), || {
            sleep(Duration::from_millis(700));
            std::mem::replace(&mut before, stub.asked()) == stub.asked()
        });
        used
    }

    /// A newcomer in quiet times.
    fn a_newcomer_is_used(&mut self) {
        let load = self.load();
        let at = Instant::now();
        let used = self.time_until_a_newcomer_is_used(secs(10));
        let visits = load.end();
        let told =
            used.map_or_else(|| "never".to_owned(), |took| format!("{:.2} s", took.as_secs_f64()));
        self.figure("one more instance", &visits, &format!(", used {told} after its registration"));
        self.expect_none_failed("one more instance", &visits, at);
        self.expect(used.is_some_and(|took| took <= secs(2)), || {
            format!("one more instance: used after {told}")
        });
    }

    /// One instance accepts and never answers.
    fn an_instance_is_grey(&mut self) {
        let load = self.load();
        let at = Instant::now();
        let victim = self.fleet.of("inventory").next().expect("an inventory").process.pid();
        self.signal(victim, "STOP");
        sleep(secs(12));
        self.signal(victim, "CONT");
        sleep(secs(1));
        let visits = load.end();
        let failed = visits.failed().count();
        let share = failed as f64 / visits.count().max(1) as f64;
        let last = visits.failed().map(|visit| visit.at.saturating_duration_since(at)).max();
        let told = format!(
            " ({:.2} %), the last was sent {:.1} s after the stop",
            share * 100.0,
            last.unwrap_or_default().as_secs_f64()
        );
        self.figure("1 of 3 grey", &visits, &told);
        self.expect(share <= 0.005 && last.unwrap_or_default() <= secs(5), || {
            format!("1 of 3 grey: {failed} failed{told}\n{}", visits.failures_since(at))
        });
    }

    fn signal(&self, pid: u32, signal: &str) {
        let instance = self.fleet.instances.iter().find(|i| i.process.pid() == pid);
        instance.expect("it runs").process.signal(signal);
    }

    /// Every inventory and pricing instance is replaced, one by one, the old one first.
    fn a_rolling_restart(&mut self) {
        let load = self.load();
        let at = Instant::now();
        let mut orders = Vec::new();
        for role in ["inventory", "inventory", "inventory", "pricing", "pricing"] {
            let mut old = self.fleet.take(role);
            old.process.signal("TERM");
            let ended = old.process.wait(secs(30));
            let name = old.process.name().to_owned();
            self.expect(ended == Some(true), || {
                format!("rolling restart: {name} ended {ended:?}\n{}", old.process.log())
            });
            orders.push((name, old.process.log()));
            self.fleet.add(role).expect("the next starts");
            self.wait_until_all_are_back(secs(20));
        }
        let took = at.elapsed();
        sleep(secs(1));
        let visits = load.end();
        let told = format!(", 5 instances in {:.1} s", took.as_secs_f64());
        self.figure("rolling restart", &visits, &told);
        self.expect_none_failed("rolling restart", &visits, at);
        for (name, log) in orders {
            let steps = ["leaving the fleet", "deregistered", "draining", "drained"];
            let places: Vec<_> = steps.iter().map(|step| log.find(step)).collect();
            let in_order = places.iter().all(Option::is_some) && places.is_sorted();
            self.expect(in_order, || format!("{name} did not leave in order {steps:?}:\n{log}"));
        }
        let left = fleet::passing(&self.consul, "inventory").len();
        self.expect(left == 3, || format!("rolling restart: {left} inventory instances are there"));
    }
}

#[test]
fn a_fleet_on_the_newest_consul_goes_on_whatever_happens() {
    let Some(mut stage) = Stage::set(Version::New) else { return };
    stage.all_is_well();
    stage.an_instance_is_killed();
    stage.a_newcomer_is_used();
    stage.the_registry_hangs();
    stage.an_instance_is_grey();
    stage.a_rolling_restart();
    // Last, since what a registry forgot is kept for half a minute, dead or not: with a third one
    // in trouble beside two of those, three tries may not be enough.
    stage.the_registry_dies_and_comes_back_empty(secs(if is_soak() { 60 } else { 20 }));
    stage.an_instance_is_replaced_while_the_registry_is_away();
    stage.end();
}

#[test]
fn a_fleet_on_the_oldest_consul_survives_kills() {
    let Some(mut stage) = Stage::set(Version::Old) else { return };
    stage.an_instance_is_killed();
    stage.the_registry_dies_and_comes_back_empty(secs(3));
    stage.end();
}
