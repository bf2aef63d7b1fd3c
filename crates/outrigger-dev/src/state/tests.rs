use super::*;
use serde_json::json;

const S: Duration = Duration::from_secs(1);

fn state() -> State {
    let identity = Identity {
        node: "node-1".to_owned(),
        node_id: "id".to_owned(),
        datacenter: "dc1".to_owned(),
        server_port: 8300,
        deregister_floor: 60 * S,
        reap_every: 30 * S,
    };
    State::new(identity, Acl::off(), fastrand::Rng::with_seed(1))
}

fn register(state: &mut State, now: Duration, body: serde_json::Value) {
    let registration = Registration::decode(&body).expect("a valid body");
    state.register_service(now, registration, false);
}

fn web(state: &mut State) {
    register(state, Duration::ZERO, json!({"Name": "web", "ID": "web-1", "Check": {"TTL": "10s"}}));
}

fn status(state: &State, service: &str) -> Status {
    state.instances(service)[0].1
}

#[test]
fn a_ttl_check_is_critical_until_reported_and_again_when_reports_stop() {
    let mut state = state();
    web(&mut state);
    assert_eq!(status(&state, "web"), Status::Critical);
    state.heartbeat(S, "service:web-1", Status::Passing, "fine").unwrap();
    assert_eq!(status(&state, "web"), Status::Passing);
    assert!(!state.tick(10 * S), "still in time");
    assert_eq!(state.next_deadline(), 11 * S);
    assert!(state.tick(11 * S));
    assert_eq!(status(&state, "web"), Status::Critical);
    let output = &state.local.checks["service:web-1"].check.output;
    assert_eq!(output, "TTL expired (last output before timeout follows): fine");
}

#[test]
fn heartbeats_that_say_the_same_change_no_index() {
    let mut state = state();
    web(&mut state);
    state.heartbeat(S, "service:web-1", Status::Passing, "").unwrap();
    let before = (state.index(), state.catalog.service_index("web", true));
    state.heartbeat(2 * S, "service:web-1", Status::Passing, "").unwrap();
    state.heartbeat(3 * S, "service:web-1", Status::Passing, "another note").unwrap();
    assert_eq!((state.index(), state.catalog.service_index("web", true)), before);
}

#[test]
fn an_output_that_changed_alone_reaches_the_catalogue_late() {
    let mut state = state();
    web(&mut state);
    state.heartbeat(S, "service:web-1", Status::Passing, "a").unwrap();
    for at in 2..=302 {
        state.heartbeat(at * S, "service:web-1", Status::Passing, "b").unwrap();
        state.tick(at * S);
        let output = &state.catalog.check("node-1", "service:web-1").unwrap().output;
        assert_eq!(output, if at < 302 { "a" } else { "b" }, "at {at} s");
    }
}

#[test]
fn registering_again_keeps_the_status_and_the_other_checks() {
    let mut state = state();
    web(&mut state);
    state.heartbeat(S, "service:web-1", Status::Passing, "fine").unwrap();
    web(&mut state);
    assert_eq!(status(&state, "web"), Status::Passing);
    register(&mut state, S, json!({"Name": "web", "ID": "web-1"}));
    assert_eq!(state.local.checks.len(), 1, "the old check stays, as in Consul");
}

#[test]
fn a_critical_instance_is_deregistered_after_the_floor_and_the_next_reaping() {
    let mut state = state();
    let check = json!({"TTL": "10s", "DeregisterCriticalServiceAfter": "1s"});
    register(&mut state, Duration::ZERO, json!({"Name": "web", "Check": check}));
    state.tick(10 * S);
    state.tick(60 * S);
    assert_eq!(state.instances("web").len(), 1, "critical for 50 s only");
    state.tick(90 * S);
    assert_eq!(state.instances("web").len(), 0);
}

#[test]
fn every_service_has_its_own_index_and_checks_of_the_node_count_for_all() {
    let mut state = state();
    web(&mut state);
    register(&mut state, S, json!({"Name": "db"}));
    let (web_index, db_index) =
        (state.catalog.service_index("web", true), state.catalog.service_index("db", true));
    assert!(web_index < db_index);
    state.node_maintenance(S, Some(""));
    assert_eq!(state.catalog.service_index("web", true), state.index());
    assert_eq!(state.catalog.service_index("db", true), state.index());
}

#[test]
fn the_index_of_an_absent_service_is_that_of_the_last_service_that_vanished() {
    let mut state = state();
    assert_eq!(
        state.catalog.service_index("web", true),
        state.index(),
        "any change counts at first"
    );
    web(&mut state);
    state.deregister_service(S, "web-1");
    let gone = state.index();
    assert_eq!(state.catalog.service_index("web", true), gone);
    register(&mut state, S, json!({"Name": "other"}));
    assert_eq!(state.catalog.service_index("web", true), gone, "others do not count any more");
}

#[test]
fn thresholds_hold_a_probe_back() {
    let mut state = state();
    let check = json!({
        "TCP": "127.0.0.1:1", "Interval": "1s",
        "SuccessBeforePassing": 2, "FailuresBeforeWarning": 1, "FailuresBeforeCritical": 2,
    });
    register(&mut state, Duration::ZERO, json!({"Name": "web", "Check": check}));
    let generation = state.local.checks["service:web"].generation;
    let mut probe = |verdict| {
        state.probed(S, "service:web", generation, verdict, String::new());
        status(&state, "web")
    };
    assert_eq!(probe(Status::Passing), Status::Critical);
    assert_eq!(probe(Status::Passing), Status::Passing);
    assert_eq!(probe(Status::Critical), Status::Warning);
    assert_eq!(probe(Status::Critical), Status::Critical);
}

#[test]
fn a_late_answer_of_an_old_probe_is_not_taken() {
    let mut state = state();
    let body = json!({"Name": "web", "Check": {"TCP": "127.0.0.1:1", "Interval": "1s"}});
    register(&mut state, Duration::ZERO, body.clone());
    let old = state.local.checks["service:web"].generation;
    register(&mut state, S, body);
    state.probed(S, "service:web", old, Status::Passing, String::new());
    assert_eq!(status(&state, "web"), Status::Critical);
}

fn session(state: &mut State, body: (bool, &str, u64)) -> String {
    let (deletes, check, delay) = body;
    let session = Session {
        id: String::new(),
        name: String::new(),
        node: "node-1".to_owned(),
        lock_delay: Duration::from_secs(delay),
        deletes,
        ttl: "10s".to_owned(),
        ttl_span: 10 * S,
        node_checks: vec![check.to_owned()],
        service_checks: Vec::new(),
        expires: None,
        create_index: 0,
    };
    state.create_session(Duration::ZERO, session)
}

#[test]
fn a_session_ends_after_twice_its_time_to_live() {
    let mut state = state();
    let id = session(&mut state, (false, "serfHealth", 0));
    state.tick(19 * S);
    assert!(state.sessions.session(&id).is_some());
    state.tick(20 * S);
    assert!(state.sessions.session(&id).is_none());
}

#[test]
fn a_session_ends_with_its_check_and_frees_the_lock() {
    let mut state = state();
    web(&mut state);
    state.heartbeat(S, "service:web-1", Status::Passing, "").unwrap();
    let id = session(&mut state, (false, "service:web-1", 15));
    let index = state.step();
    assert!(state.kv.lock(index, "leader", b"me".to_vec(), 0, &id));
    state.heartbeat(2 * S, "service:web-1", Status::Critical, "").unwrap();
    assert!(state.sessions.session(&id).is_none());
    assert_eq!(state.kv.entry("leader").unwrap().session, "");
    assert!(state.kv.is_delayed(16 * S, "leader"), "for the lock delay nobody gets it");
}
