//! The harness that the other end-to-end tests stand on does what it promises.
#![expect(clippy::disallowed_methods, reason = "a foreign process runs on real time")]

use std::time::{Duration, Instant};

use outrigger_e2e::consul::{RealConsul, Version};
use outrigger_e2e::raw::Ask;

fn check(version: Version) {
    let Some(builder) = RealConsul::builder(version) else { return };
    let mut consul = builder.start().expect("the agent starts");
    let pid = consul.pid();
    let nodes = consul.ask("GET", "/v1/catalog/nodes", b"").expect("an answer");
    assert_eq!(nodes.status, 200, "a ready agent answers");

    consul.pause();
    let asked = Instant::now();
    let ask = Ask { timeout: Duration::from_millis(300), ..Ask::new("GET", "/v1/status/leader") };
    assert!(ask.send(consul.address()).is_err(), "a stopped agent never answers");
    assert!(asked.elapsed() >= Duration::from_millis(300), "but it accepts the connection");
    consul.resume();

    let put = consul.ask("PUT", "/v1/kv/kept", b"1").expect("an answer after SIGCONT");
    assert_eq!(put.status, 200);
    consul.restart().expect("starts again on the same port");
    assert_ne!(consul.pid(), pid, "it is another process");
    let gone = consul.ask("GET", "/v1/kv/kept", b"").expect("an answer");
    assert_eq!(gone.status, 404, "which has forgotten everything");

    consul.stop();
    assert!(consul.ask("GET", "/v1/kv/kept", b"").is_err(), "a stopped agent is not there");
    consul.start_again().expect("starts again");
}

#[test]
fn an_old_agent_starts_pauses_restarts_and_ends() {
    check(Version::Old);
}

#[test]
fn a_new_agent_starts_pauses_restarts_and_ends() {
    check(Version::New);
}

#[test]
fn an_agent_with_access_control_denies_strangers() {
    let Some(builder) = RealConsul::builder(Version::Old) else { return };
    let consul = builder.acl().start().expect("the agent starts");
    let stranger = Ask::new("PUT", "/v1/kv/x").send(consul.address()).expect("an answer");
    assert_eq!(stranger.status, 403);
    assert_eq!(consul.ask("PUT", "/v1/kv/x", b"").expect("an answer").status, 200);
}
