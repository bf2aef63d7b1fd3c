//! Consul's rules of asking, on virtual time against a scripted agent.

#![expect(clippy::disallowed_methods, reason = "a test reads the runtime's paused clock")]

#[path = "support/fake.rs"]
#[expect(dead_code, reason = "each suite uses a part of it")]
mod fake;
#[path = "support/stock.rs"]
mod stock;

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::{Act, Fake, Noted, Question, answer, entry, instances, ok};
use outrigger_consul::Consul;
use outrigger_core::{Freshness, RegistrationState};
use outrigger_discovery::{Filter, Query, Registrar, Registration, Resolver};
use stock::{HEALTH, aside, name, secs, stock, until};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_loop_over_any_index_is_calm_and_loses_no_update() {
    type Index = fn(u64) -> Option<String>;
    let indices: [(&str, Index); 8] = [
        ("0", |_| Some("0".into())),
        ("1", |_| Some("1".into())),
        ("absent", |_| None),
        ("abc", |_| Some("abc".into())),
        ("2^64-1", |_| Some(u64::MAX.to_string())),
        ("falling", |n| Some((1_000_000 - n).to_string())),
        ("changing", |n| Some((1_000 + n).to_string())),
        ("jumping", |n| Some((n * 7_919 % 1_000).to_string())),
    ];
    for (kind, index) in indices {
        let count = Arc::new(AtomicU64::new(0));
        let changed = Arc::new(AtomicBool::new(false));
        let change = Arc::clone(&changed);
        let fake = Fake::start(move |question: &Question| {
            if let Some(act) = aside(question) {
                return act;
            }
            let n = count.fetch_add(1, Ordering::SeqCst);
            let ports = if change.load(Ordering::SeqCst) { 80..83 } else { 80..82 };
            let index = index(n);
            let headers = index.as_deref().map(|index| ("X-Consul-Index", index));
            let headers: Vec<_> = headers.into_iter().collect();
            // At once, whatever it was asked to wait for.
            Act::Answer(answer("200 OK", &headers, instances(ports).as_bytes()))
        })
        .await;
        let consul = fake.consul();
        let mut watch = consul.watch(&stock());
        until(&mut watch, secs(5), kind, |s| s.instances.len() == 2).await;
        tokio::time::sleep(secs(60)).await;
        let from = Instant::now();
        tokio::time::sleep(secs(60)).await;
        let asked = fake.asked(HEALTH, from, Instant::now());
        assert!((6..=10).contains(&asked), "{kind}: {asked} questions in a minute");
        changed.store(true, Ordering::SeqCst);
        until(&mut watch, secs(10), kind, |s| s.instances.len() == 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_changes_a_second_are_read_at_most_twice_a_second_and_the_last_one_is_seen() {
    let started = Instant::now();
    let fake = Fake::start(move |question: &Question| {
        if let Some(act) = aside(question) {
            return act;
        }
        let changes = (question.at - started).as_millis().min(20_000) / 20;
        let mut changes = u16::try_from(changes).expect("small");
        let mut pause = Duration::ZERO;
        if question.index() >= 10 + u64::from(changes) {
            // Nothing new: until the next change, if there is one.
            (changes, pause) = match changes {
                1_000 => (changes, secs(300)),
                _ => (changes + 1, Duration::from_millis(20)),
            };
        }
        Act::Later(pause, ok(10 + u64::from(changes), &instances([80, 1_000 + changes])))
    })
    .await;
    let consul = fake.consul();
    let mut watch = consul.watch(&stock());
    let last = format!("stock-{}", 1_000 + 1_000);
    until(&mut watch, secs(30), "the last change", |s| {
        s.instances.iter().any(|i| i.id.as_str() == last)
    })
    .await;
    let asked = fake.asked(HEALTH, started, started + secs(20));
    assert!(asked <= 40, "{asked} in 20 s");
}

#[tokio::test(start_paused = true)]
async fn a_single_change_is_published_as_soon_as_the_agent_tells() {
    let fake = Fake::start(|question: &Question| {
        if let Some(act) = aside(question) {
            return act;
        }
        match question.index() {
            0 => Act::Answer(ok(10, &instances([80]))),
            10 => Act::Later(secs(100), ok(11, &instances([80, 81]))),
            _ => Act::Later(secs(300), ok(11, &instances([80, 81]))),
        }
    })
    .await;
    let consul = fake.consul();
    let mut watch = consul.watch(&stock());
    let first = watch.next().await.expect("a snapshot");
    assert_eq!((first.version, first.instances.len()), (1, 1));
    let asked = Instant::now();
    let second = watch.next().await.expect("a snapshot");
    assert_eq!((second.version, second.instances.len()), (2, 2));
    let took = asked.elapsed();
    assert!(took >= secs(100) && took < secs(101), "{took:?}");
    let question = fake.questions().into_iter().find(|q| q.index() == 10).expect("asked");
    assert_eq!(question.param("wait"), Some("300000ms"));
    assert_eq!(question.param("stale"), Some(""));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_answers_has_one_question_per_watch_and_is_left_at_the_deadline() {
    let hung = Arc::new(AtomicBool::new(false));
    let hangs = Arc::clone(&hung);
    let fake = Fake::start(move |question: &Question| {
        if hangs.load(Ordering::SeqCst) {
            return Act::Hang;
        }
        if let Some(act) = aside(question) {
            return act;
        }
        match question.index() {
            0 => Act::Answer(ok(10, &instances([80]))),
            _ => Act::Hang,
        }
    })
    .await;
    let mut config = fake.config();
    config.wait = secs(16);
    let consul = Consul::new(config).expect("valid");
    let mut watch = consul.watch(&stock());
    watch.next().await.expect("a snapshot");
    hung.store(true, Ordering::SeqCst);
    let from = Instant::now();
    let stale = watch.next().await.expect("a snapshot");
    // wait + wait/16 + 5 s.
    assert!((secs(22)..secs(23)).contains(&from.elapsed()), "{:?}", from.elapsed());
    assert_eq!((stale.freshness, stale.instances.len()), (Freshness::Stale, 1));
    tokio::time::sleep(secs(120)).await;
    let open = fake.connections.0.load(Ordering::SeqCst);
    assert!(open <= 2, "{open} connections: the watch's and the prober's");
    hung.store(false, Ordering::SeqCst);
    until(&mut watch, secs(5), "fresh again", |s| s.freshness == Freshness::Live).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_gone_is_asked_once_a_second_at_most_and_found_within_five() {
    let fake = Fake::start(|question: &Question| {
        aside(question).unwrap_or_else(|| match question.index() {
            0 => Act::Answer(ok(10, &instances([80]))),
            _ => Act::Later(secs(300), ok(10, &instances([80]))),
        })
    })
    .await;
    let (noted, observers) = Noted::new();
    let consul = Consul::new(fake.config().with_observers(observers)).expect("valid");
    let names: Vec<_> = (0..5).map(|n| name(&format!("stock-{n}"))).collect();
    let mut watches: Vec<_> = names.iter().map(|n| consul.watch(&Query::new(n.clone()))).collect();
    for watch in &mut watches {
        watch.next().await.expect("a snapshot");
    }
    let port = fake.port;
    drop(fake);
    // Whoever connects is counted and turned away.
    tokio::time::sleep(secs(1)).await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port");
    let knocks = Arc::new(AtomicU64::new(0));
    let knocked = Arc::clone(&knocks);
    let door = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            knocked.fetch_add(1, Ordering::SeqCst);
            let _ = stream.set_zero_linger();
        }
    });
    tokio::time::sleep(secs(10)).await;
    let before = knocks.load(Ordering::SeqCst);
    tokio::time::sleep(secs(60)).await;
    let rate = knocks.load(Ordering::SeqCst) - before;
    assert!(rate <= 60, "{rate} connections in a minute");
    assert!(!consul.is_reachable());
    for watch in &mut watches {
        let last = until(watch, secs(1), "stale", |s| s.freshness == Freshness::Stale).await;
        assert_eq!(last.instances.len(), 1, "the last good set stays");
    }
    door.abort();
    assert!(door.await.is_err(), "ended by us");
    assert!(noted.all().contains(&"lost unreachable".to_owned()), "{:?}", noted.all());

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port");
    let back = Instant::now();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let mut buffer = vec![0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    let body = instances([80]);
                    let body = if buffer.starts_with(b"GET /v1/health") { &*body } else { "{}" };
                    if stream.write_all(&ok(50, body)).await.is_err() {
                        return;
                    }
                    buffer.fill(0);
                }
            });
        }
    });
    for watch in &mut watches {
        until(watch, secs(5), "fresh again", |s| s.freshness == Freshness::Live).await;
    }
    assert!(back.elapsed() < secs(5), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn heartbeats_live_through_everything_and_pass_again_within_their_time_to_live() {
    let phase = Arc::new(AtomicU8::new(0));
    let now = Arc::clone(&phase);
    let beats = Arc::new(Mutex::new(Vec::new()));
    let beaten = Arc::clone(&beats);
    let fake = Fake::start(move |question: &Question| {
        if let Some(act) = aside(question) {
            return act;
        }
        match now.load(Ordering::SeqCst) {
            1 => return Act::Hang,
            2 => return Act::Reset,
            3 => return Act::Answer(answer("500 Internal", &[], b"No cluster leader")),
            4 => return Act::Answer(answer("403 Forbidden", &[], b"Permission denied")),
            5 => return Act::AnswerAndClose(b"garbage".to_vec()),
            6 => return Act::Answer(answer("404 Not Found", &[], b"Unknown check ID \"x\"")),
            _ => {}
        }
        if question.target.starts_with("/v1/agent/check/update") {
            beaten.lock().expect("not poisoned").push(question.at);
        }
        Act::Answer(answer("200 OK", &[], b""))
    })
    .await;
    let consul = fake.consul();
    let registration = Registration::new(name("stock"), 80).with_address([127, 0, 0, 1].into());
    let handle = consul.register(registration).await.expect("valid");
    handle.settled().await;
    assert_eq!(handle.state(), RegistrationState::Registered);
    for turn in 1..=6 {
        phase.store(turn, Ordering::SeqCst);
        tokio::time::sleep(secs(60)).await;
    }
    phase.store(0, Ordering::SeqCst);
    let well = Instant::now();
    tokio::time::sleep(secs(15)).await;
    let beats = beats.lock().expect("not poisoned").clone();
    let next = beats.iter().find(|at| **at >= well).expect("a heartbeat after five bad minutes");
    assert!(*next - well <= secs(15), "{:?}", *next - well);

    // In good times they come every third of the time to live, ±10 %.
    let from = Instant::now();
    tokio::time::sleep(secs(60)).await;
    let count = fake.asked("/v1/agent/check/update", from, Instant::now());
    assert!((10..=14).contains(&count), "{count} in a minute");
    // At most one question at a time, over one connection.
    assert!(fake.connections.1.load(Ordering::SeqCst) <= 4);
    handle.deregister().await.expect("taken back");
    let last = fake.questions().pop().expect("asked");
    assert!(last.target.starts_with("/v1/agent/service/deregister/stock-"), "{}", last.target);
}

#[tokio::test(start_paused = true)]
async fn both_words_for_an_unknown_check_mean_register_again() {
    for (status, text) in [
        ("500 Internal Server Error", "CheckID \"service:x:1\" does not have associated TTL"),
        ("404 Not Found", "Unknown check ID \"service:x:1\". Ensure that the check ID is passed"),
    ] {
        let forgot = Arc::new(AtomicBool::new(false));
        let forgets = Arc::clone(&forgot);
        let fake = Fake::start(move |question: &Question| {
            if let Some(act) = aside(question) {
                return act;
            }
            if question.target.starts_with("/v1/agent/service/register") {
                forgets.store(false, Ordering::SeqCst);
            }
            if forgets.load(Ordering::SeqCst) {
                return Act::Answer(answer(status, &[], text.as_bytes()));
            }
            Act::Answer(answer("200 OK", &[], b""))
        })
        .await;
        let consul = fake.consul();
        let registration = Registration::new(name("stock"), 80);
        let handle = consul.register(registration).await.expect("valid");
        handle.settled().await;
        forgot.store(true, Ordering::SeqCst);
        let lost = Instant::now();
        while handle.state() != RegistrationState::Restored {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(lost.elapsed() < secs(8), "{text}");
        }
        drop(handle);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_is_kept_over_a_loss_of_memory() {
    let forgot = Arc::new(AtomicBool::new(false));
    let forgets = Arc::clone(&forgot);
    let fake = Fake::start(move |question: &Question| {
        if question.target.starts_with("/v1/agent/service/register") {
            forgets.store(false, Ordering::SeqCst);
        }
        if forgets.load(Ordering::SeqCst) {
            return Act::Answer(answer("404 Not Found", &[], b"Unknown check ID"));
        }
        Act::Answer(answer("200 OK", &[], b""))
    })
    .await;
    let consul = fake.consul();
    let handle = consul.register(Registration::new(name("stock"), 80)).await.expect("valid");
    handle.settled().await;
    handle.maintenance(true, "new disk").await.expect("told");
    assert_eq!(handle.state(), RegistrationState::Maintenance);
    tokio::time::sleep(secs(1)).await;
    let before = Instant::now();
    forgot.store(true, Ordering::SeqCst);
    tokio::time::sleep(secs(8)).await;
    assert_eq!(fake.asked("/v1/agent/service/register", before, Instant::now()), 1);
    assert_eq!(fake.asked("/v1/agent/service/maintenance", before, Instant::now()), 1);
    assert_eq!(handle.state(), RegistrationState::Maintenance);
    handle.deregister().await.expect("taken back");
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_watches_share_few_connections_and_all_hear_of_changes() {
    let changed = Arc::new(AtomicBool::new(false));
    let change = Arc::clone(&changed);
    let fake = Fake::start(move |question: &Question| {
        if let Some(act) = aside(question) {
            return act;
        }
        let (index, ports) =
            if change.load(Ordering::SeqCst) { (11, 80..82) } else { (10, 80..81) };
        let wait = question.param("wait").and_then(|w| w.strip_suffix("ms")?.parse().ok());
        let wait = wait.map_or(Duration::ZERO, Duration::from_millis);
        let pause = if question.index() >= index { wait } else { Duration::ZERO };
        Act::Later(pause, ok(index, &instances(ports)))
    })
    .await;
    let consul = fake.consul();
    let mut watches: Vec<_> =
        (0..300).map(|n| consul.watch(&Query::new(name(&format!("s{n}"))))).collect();
    for watch in &mut watches {
        until(watch, secs(30), "the first", |s| s.instances.len() == 1).await;
    }
    let from = Instant::now();
    tokio::time::sleep(secs(60)).await;
    let asked = fake.asked(HEALTH, from, Instant::now());
    assert!(asked <= 60 * 100, "{asked} questions in a minute");
    changed.store(true, Ordering::SeqCst);
    let told = Instant::now();
    for watch in &mut watches {
        until(watch, secs(30), "the change", |s| s.instances.len() == 2).await;
    }
    assert!(told.elapsed() < secs(20), "{:?}", told.elapsed());
    let most = fake.connections.1.load(Ordering::SeqCst);
    assert!(most <= 40, "{most} connections at once");
}

#[tokio::test(start_paused = true)]
async fn watches_of_one_service_share_one_question_and_end_with_their_last_reader() {
    let fake = Fake::start(|question: &Question| {
        aside(question).unwrap_or_else(|| match question.index() {
            0 => Act::Answer(ok(10, &instances([80]))),
            _ => Act::Later(secs(300), ok(10, &instances([80]))),
        })
    })
    .await;
    let consul = fake.consul();
    let rust = Filter::all().with_tag("rust");
    let mut one = consul.watch(&stock());
    let mut two = consul.clone().watch(&stock().with_filter(rust));
    let mut none = consul.watch(&stock().with_filter(Filter::all().with_tag("absent")));
    assert_eq!(one.next().await.expect("a snapshot").instances.len(), 1);
    assert_eq!(two.next().await.expect("a snapshot").instances.len(), 1);
    assert_eq!(none.next().await.expect("a snapshot").instances.len(), 0);
    assert_eq!(fake.questions().iter().filter(|q| q.target.starts_with(HEALTH)).count(), 1);
    tokio::time::sleep(secs(1)).await;
    drop((one, two, none));
    tokio::time::sleep(secs(1)).await;
    assert!(consul.watched().is_empty());
    assert_eq!(fake.connections.0.load(Ordering::SeqCst), 1, "only the idle one is left");
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_any_server_answers_and_nothing_is_lost() {
    let phase = Arc::new(AtomicU8::new(0));
    let now = Arc::clone(&phase);
    let fake = Fake::start(move |question: &Question| {
        if let Some(act) = aside(question) {
            return act;
        }
        let stale = question.param("stale").is_some();
        match now.load(Ordering::SeqCst) {
            0 if question.index() == 0 => Act::Answer(ok(10, &instances([80, 81]))),
            0 => Act::Later(
                secs(1),
                answer("500 Internal", &[("X-Consul-Index", "1")], b"No cluster leader"),
            ),
            // Without a quorum: the leader is not found, stale reads are answered.
            1 if !stale => Act::Later(
                secs(9),
                answer("500 Internal", &[("X-Consul-Index", "1")], b"No cluster leader"),
            ),
            1 if question.index() == 0 => {
                let headers = [
                    ("X-Consul-Index", "10"),
                    ("X-Consul-KnownLeader", "false"),
                    ("X-Consul-LastContact", "60000"),
                ];
                Act::Answer(answer("200 OK", &headers, instances([80, 81]).as_bytes()))
            }
            1 => Act::Later(secs(2), answer("500 Internal", &[], b"No cluster leader")),
            _ => Act::Later(Duration::from_millis(10), ok(12, &instances([80, 81, 82]))),
        }
    })
    .await;
    let consul = fake.consul();
    let mut watch = consul.watch(&stock());
    until(&mut watch, secs(5), "the first", |s| s.instances.len() == 2).await;
    phase.store(1, Ordering::SeqCst);
    let end = Instant::now() + secs(120);
    while let Ok(snapshot) = tokio::time::timeout_at(end, watch.next()).await {
        let snapshot = snapshot.expect("a stream does not end");
        assert_eq!(snapshot.instances.len(), 2, "nothing is lost");
    }
    phase.store(2, Ordering::SeqCst);
    until(&mut watch, secs(35), "the leader's answer", |s| {
        s.instances.len() == 3 && s.freshness == Freshness::Live
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_comes_back_empty_loses_nobody_who_still_serves() {
    let alive = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let alive = (alive.local_addr().expect("an address").port(), alive);
    // Nobody listens there, and no other test can be given it meanwhile.
    let dead = 1;
    let emptied = Arc::new(AtomicBool::new(false));
    let empties = Arc::clone(&emptied);
    let port = alive.0;
    let fake = Fake::start(move |question: &Question| {
        if let Some(act) = aside(question) {
            return act;
        }
        match (empties.load(Ordering::SeqCst), question.index()) {
            (false, 0) => Act::Answer(ok(40, &instances([port, dead]))),
            (false, _) => Act::Later(secs(1), b"".to_vec()),
            (true, 0) => Act::Answer(ok(3, "[]")),
            (true, _) => Act::Later(secs(300), ok(3, "[]")),
        }
    })
    .await;
    let (noted, observers) = Noted::new();
    let consul = Consul::new(fake.config().with_observers(observers)).expect("valid");
    let mut watch = consul.watch(&stock());
    until(&mut watch, secs(5), "both", |s| s.instances.len() == 2).await;
    emptied.store(true, Ordering::SeqCst);
    // The agent restarts: the connection breaks, and the answer after it is empty.
    let from = Instant::now();
    let held = until(&mut watch, secs(400), "held", |s| s.freshness == Freshness::Held).await;
    assert_eq!(held.instances.len(), 2);
    let held_at = Instant::now();
    let stale = until(&mut watch, secs(60), "stale", |s| s.instances.len() == 1).await;
    assert_eq!(stale.instances[0].address.port(), port, "the one that still serves");
    assert_eq!(stale.freshness, Freshness::Stale);
    assert!((secs(29)..secs(36)).contains(&held_at.elapsed()), "{:?}", held_at.elapsed());
    let empty = until(&mut watch, secs(700), "believed in the end", |s| s.is_empty()).await;
    assert_eq!(empty.freshness, Freshness::Live);
    assert!(from.elapsed() < secs(1_100), "{:?}", from.elapsed());
    let holds: Vec<_> = noted.all().into_iter().filter(|n| n.starts_with("holding")).collect();
    assert_eq!(holds, ["holding true", "holding false"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_scaled_to_zero_goes_after_ten_seconds_when_others_are_still_listed() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let fake = Fake::start(move |question: &Question| {
        if question.target.starts_with("/v1/catalog/services") {
            return Act::Answer(ok(50, r#"{"consul":[],"orders":[]}"#));
        }
        match question.index() {
            0 if count.fetch_add(1, Ordering::SeqCst) == 0 => Act::Answer(ok(40, &instances([80]))),
            40 => Act::Later(secs(5), ok(45, "[]")),
            0 => Act::Answer(ok(45, "[]")),
            _ => Act::Later(secs(300), ok(45, "[]")),
        }
    })
    .await;
    let consul = fake.consul();
    let mut watch = consul.watch(&stock());
    until(&mut watch, secs(5), "one", |s| s.instances.len() == 1).await;
    until(&mut watch, secs(10), "held", |s| s.freshness == Freshness::Held).await;
    let held = Instant::now();
    until(&mut watch, secs(60), "gone", |s| s.is_empty()).await;
    assert!((secs(10)..secs(12)).contains(&held.elapsed()), "{:?}", held.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_was_restarted_between_two_questions_is_asked_from_zero() {
    // It closes the connection behind its first answer, and comes back knowing less.
    let fake = Fake::start(|question: &Question| {
        aside(question).unwrap_or_else(|| match question.index() {
            0 => Act::AnswerAndClose(ok(40, &instances([80]))),
            _ => Act::Later(secs(300), ok(40, &instances([80]))),
        })
    })
    .await;
    let consul = fake.consul();
    let mut watch = consul.watch(&stock());
    until(&mut watch, secs(5), "the first", |s| s.instances.len() == 1).await;
    tokio::time::sleep(secs(30)).await;
    let health = fake.questions().into_iter().filter(|q| q.target.starts_with(HEALTH));
    let waiting = health.filter(|q| q.index() != 0).count();
    assert_eq!(waiting, 0, "no index is carried to another connection");
}

#[tokio::test(start_paused = true)]
async fn one_bad_registration_does_not_blind_to_the_others() {
    let body = format!("[{},{}]", entry("10.0.0.1", "80"), entry("10.0.0.2", "0"));
    let fake = Fake::start(move |question: &Question| {
        aside(question).unwrap_or_else(|| match question.index() {
            0 => Act::Answer(ok(10, &body)),
            _ => Act::Later(secs(300), ok(10, &body)),
        })
    })
    .await;
    let consul = fake.consul();
    let snapshot = consul.watch(&stock()).next().await.expect("a snapshot");
    assert_eq!(snapshot.instances.len(), 1);
}
