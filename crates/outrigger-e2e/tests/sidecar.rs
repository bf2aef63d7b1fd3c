//! Promises 13 to 16, 18 and 34 in the sidecar's form: programs of any language, here scripted
//! ones, each behind its own `outrigger sidecar`, called through another, on the real Consul.
#![expect(clippy::disallowed_methods, reason = "processes run on real time")]

#[path = "sidecar/stage.rs"]
mod stage;

use std::thread::sleep;
use std::time::{Duration, Instant};

use outrigger_e2e::consul::{RealConsul, Version};
use outrigger_e2e::load::Load;
use outrigger_e2e::process::{free_port, wait_for};
use outrigger_e2e::raw::Ask;
use stage::{Sidecar, Stage, address, reason};

/// Requests a second.
const RATE: u32 = 100;

const POLICY: &str = "version: 1\nservice: inventory\ntimeout: 2s\nretry:\n  attempts: 2\n  \
                      when: [connect_failure, refused_stream, reset, timeout]\n  \
                      per_try_timeout: 500ms\n";

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn programs_behind_sidecars_come_and_go_without_a_failed_call() {
    let Some(builder) = RealConsul::builder(Version::New) else { return };
    let consul = builder.start().expect("consul starts");
    let stage = Stage::set(&consul.url(), POLICY);
    let mut three: Vec<Sidecar> = (0..3).map(|_| stage.inventory()).collect();
    stage.wait_for_passing(&consul, 3);
    let orders = stage.caller("orders");
    let front = orders.upstream("inventory");

    // 13: nobody is there, and that is said at once.
    let ask = Ask::new("GET", "http://nobody.service.consul/");
    ask.send(orders.outbound()).expect("an answer");
    let took = (0..20)
        .map(|_| {
            let at = Instant::now();
            let answer = ask.send(orders.outbound()).expect("an answer");
            assert_eq!((answer.status, reason(&answer)), (503, Some("no_endpoint")));
            at.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!("13 no endpoints: 503 no_endpoint in {took:.1?}");
    assert!(took <= Duration::from_millis(10), "{took:?}");

    // 14: kill -9 of one sidecar of three.
    let load = Load::start(front, RATE);
    sleep(secs(1));
    let at = Instant::now();
    three.remove(0).kill();
    sleep(secs(3));
    let visits = load.end();
    let failed = visits.failed().count();
    println!("14 kill -9 of 1 of 3: {failed} of {} failed", visits.count());
    assert_eq!(failed, 0, "{}", visits.failures_since(at));
    three.push(stage.inventory());
    stage.wait_for_passing(&consul, 3);

    // 15: one hangs, and comes back.
    let load = Load::start(front, RATE);
    sleep(secs(1));
    let at = Instant::now();
    three[0].process.signal("STOP");
    sleep(secs(5));
    three[0].process.signal("CONT");
    sleep(secs(1));
    let visits = load.end();
    let (failed, all) = (visits.failed().count(), visits.count());
    println!("15 SIGSTOP of 1 of 3: {failed} of {all} failed");
    assert!(failed * 200 <= all, "{}", visits.failures_since(at));

    // 16: each is replaced, the new one first.
    stage.wait_for_passing(&consul, 3);
    let load = Load::start(front, RATE);
    let at = Instant::now();
    for turn in 0..3 {
        three.push(stage.inventory());
        stage.wait_for_passing(&consul, 4);
        let mut old = three.remove(0);
        old.process.signal("TERM");
        let ended = old.process.wait(secs(15));
        assert_eq!(ended, Some(true), "turn {turn}: {}", old.process.log());
        stage.wait_for_passing(&consul, 3);
    }
    let visits = load.end();
    let failed = visits.failed().count();
    println!("16 rolling restart of 3: {failed} of {} failed", visits.count());
    assert_eq!(failed, 0, "{}", visits.failures_since(at));

    // 18: the registry says that nobody is well, though all serve.
    stage.be_unwell(true);
    wait_for("every check is critical", secs(15), || stage.passing(&consul) == 0);
    sleep(secs(1));
    let load = Load::start(front, RATE);
    sleep(secs(2));
    let visits = load.end();
    let failed = visits.failed().count();
    println!("18 all critical, all serve: {failed} of {} failed", visits.count());
    assert_eq!(failed, 0, "requests keep flowing");
}

#[test]
fn a_sidecar_that_starts_without_its_registry_says_so_and_finds_it() {
    let Some(_) = RealConsul::builder(Version::New) else { return };
    let at = address(free_port().expect("a port"));
    let stage = Stage::set(&format!("http://{at}"), POLICY);
    let orders = stage.caller("orders");
    let ask = Ask::new("GET", "http://inventory/");
    let answer = ask.send(orders.outbound()).expect("an answer");
    assert_eq!((answer.status, reason(&answer)), (503, Some("no_endpoint")));

    let agent = outrigger_dev::Agent::builder();
    let agent = stage.runtime().block_on(agent.bind(at)).expect("the port is free still");
    let up = Instant::now();
    let _inventory = stage.inventory();
    let is_answered = || ask.send(orders.outbound()).is_ok_and(|answer| answer.status == 200);
    wait_for("the registry is found", secs(10), is_answered);
    println!("34 cold start: 503 no_endpoint, then answered {:.1?} after", up.elapsed());
    stage.runtime().block_on(agent.stop());
}
