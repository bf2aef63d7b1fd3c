use super::*;
use http::{HeaderValue, StatusCode, header};
use outrigger_core::header as ours;

use crate::BudgetConfig;

fn epoch() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as an origin")]
    Instant::now()
}

fn rule(change: impl FnOnce(&mut RetryConfig)) -> RetryRule {
    let mut config = RetryConfig::default();
    change(&mut config);
    RetryRule::new(&config).expect("valid")
}

fn when(conditions: &[&str]) -> RetryRule {
    rule(|c| c.when = conditions.iter().map(|text| text.parse().expect("valid")).collect())
}

fn status(code: u16) -> Signal {
    Signal::Status(StatusCode::from_u16(code).expect("valid"))
}

const EVERY_FAILURE: [FailureKind; 6] = [
    FailureKind::ConnectFailure,
    FailureKind::RefusedStream,
    FailureKind::Reset,
    FailureKind::TryTimeout,
    FailureKind::Timeout,
    FailureKind::Deadline,
];

#[test]
fn by_default_only_what_no_endpoint_saw_is_sent_again_whatever_the_method() {
    let rule = rule(|_| {});
    for method in [Method::GET, Method::POST, Method::PATCH] {
        for kind in EVERY_FAILURE {
            let verdict = rule.judge(&Situation::new(epoch(), Signal::Failed(kind), &method));
            assert_eq!(verdict.is_ok(), kind.is_unseen(), "{method} {kind:?}");
        }
        for code in [200, 404, 429, 500, 502, 503, 504] {
            let verdict = rule.judge(&Situation::new(epoch(), status(code), &method));
            assert_eq!(verdict, Err(Stop::NotWanted), "{method} {code}");
        }
    }
}

#[test]
fn a_per_try_timeout_is_repeated_only_where_envoy_repeats_it_or_where_it_is_listed() {
    let timed_out = Signal::Failed(FailureKind::TryTimeout);
    for (condition, repeated) in [
        ("5xx", true),
        ("gateway_error", true),
        ("reset", true),
        ("timeout", true),
        ("504", false),
        ("connect_failure", false),
        ("deadline_exceeded", false),
    ] {
        let verdict = when(&[condition]).judge(&Situation::new(epoch(), timed_out, &Method::GET));
        assert_eq!(verdict.is_ok(), repeated, "{condition}");
    }
}

#[test]
fn statuses_and_codes_are_matched_as_they_are_listed() {
    for (condition, signal, wanted) in [
        ("5xx", status(500), true),
        ("5xx", status(599), true),
        ("5xx", status(499), false),
        ("gateway_error", status(503), true),
        ("gateway_error", status(500), false),
        ("429", status(429), true),
        ("429", status(503), false),
        ("unavailable", Signal::Grpc(GrpcCode::UNAVAILABLE), true),
        ("unavailable", Signal::Grpc(GrpcCode::INTERNAL), false),
        ("5xx", Signal::Grpc(GrpcCode::UNAVAILABLE), false),
        ("5xx", Signal::Rejected, false),
        ("5xx", Signal::Failed(FailureKind::Timeout), false),
        ("5xx", Signal::Failed(FailureKind::Deadline), false),
    ] {
        let verdict = when(&[condition]).judge(&Situation::new(epoch(), signal, &Method::GET));
        assert_eq!(verdict.is_ok(), wanted, "{condition} {signal:?}");
    }
}

#[test]
fn a_request_that_was_seen_is_repeated_only_with_leave() {
    let mut config = RetryConfig { when: vec![Condition::ServerError], ..RetryConfig::default() };
    let verdict = |config: &RetryConfig, signal| {
        RetryRule::new(config)
            .expect("valid")
            .judge(&Situation { path: "/orders", ..Situation::new(epoch(), signal, &Method::POST) })
    };
    assert_eq!(verdict(&config, status(500)), Err(Stop::Method));
    assert_eq!(verdict(&config, Signal::Failed(FailureKind::Reset)), Err(Stop::Method));
    assert!(verdict(&config, Signal::Failed(FailureKind::ConnectFailure)).is_ok(), "unseen");
    config.methods = Methods::All;
    assert!(verdict(&config, status(500)).is_ok());
}

#[test]
fn a_retry_from_above_is_repeated_only_if_no_endpoint_saw_it() {
    let rule = when(&["5xx", "connect_failure", "refused_stream"]);
    let method = Method::GET;
    for above in [1, 2, 99] {
        let judge =
            |signal| rule.judge(&Situation { above, ..Situation::new(epoch(), signal, &method) });
        assert_eq!(judge(status(503)), Err(Stop::Guard));
        assert_eq!(judge(Signal::Failed(FailureKind::Reset)), Err(Stop::Guard));
        assert_eq!(judge(Signal::Failed(FailureKind::TryTimeout)), Err(Stop::Guard));
        assert!(judge(Signal::Failed(FailureKind::ConnectFailure)).is_ok());
        assert!(judge(Signal::Failed(FailureKind::RefusedStream)).is_ok());
    }
}

#[test]
fn our_own_retries_are_counted_by_attempts_and_not_by_the_guard() {
    let rule = rule(|c| {
        c.attempts = 3;
        c.when = vec![Condition::ServerError];
    });
    for retries in 0..5 {
        let situation = Situation { retries, ..Situation::new(epoch(), status(503), &Method::GET) };
        assert_eq!(rule.judge(&situation).err(), (retries >= 3).then_some(Stop::Attempts));
    }
}

#[test]
fn an_answer_for_which_tries_were_made_below_is_not_asked_for_again() {
    let rule = when(&["5xx"]);
    let mut headers = http::HeaderMap::new();
    let judge = |headers: &http::HeaderMap| {
        rule.judge(&Situation {
            headers: Some(headers),
            ..Situation::new(epoch(), status(503), &Method::GET)
        })
    };
    headers.insert(ours::ATTEMPTS, HeaderValue::from_static("1"));
    assert!(judge(&headers).is_ok(), "one try is no retry");
    headers.insert(ours::ATTEMPTS, HeaderValue::from_static("2"));
    assert_eq!(judge(&headers), Err(Stop::Below));
}

#[test]
fn a_body_that_was_not_kept_ends_it() {
    let signal = Signal::Failed(FailureKind::ConnectFailure);
    let situation =
        Situation { replayable: false, ..Situation::new(epoch(), signal, &Method::PUT) };
    assert_eq!(rule(|_| {}).judge(&situation), Err(Stop::Body));
}

#[test]
fn no_retry_starts_at_or_after_the_deadline() {
    let t0 = epoch();
    let rule = rule(|_| {});
    let signal = Signal::Failed(FailureKind::ConnectFailure);
    let judge = |left_ms, random| {
        rule.judge(&Situation {
            until: Some(t0 + Duration::from_millis(left_ms)),
            random,
            ..Situation::new(t0, signal, &Method::GET)
        })
    };
    assert_eq!(judge(0, 0.0), Err(Stop::Deadline), "it has passed");
    assert_eq!(judge(10, 0.4), Err(Stop::Deadline), "the wait of 10 ms outlasts it");
    assert_eq!(judge(11, 0.4), Ok(Duration::from_millis(10)));
}

#[test]
fn the_endpoints_wish_is_obeyed_up_to_a_bound() {
    let rule = when(&["429"]);
    let judge = |name, value| {
        let headers: http::HeaderMap =
            [(name, HeaderValue::from_static(value))].into_iter().collect();
        rule.judge(&Situation {
            headers: Some(&headers),
            random: 0.4,
            ..Situation::new(epoch(), status(429), &Method::GET)
        })
    };
    let ms = Duration::from_millis;
    assert_eq!(judge(header::RETRY_AFTER, "2"), Ok(ms(2_000)));
    assert_eq!(judge(header::RETRY_AFTER, "0"), Ok(ms(10)), "our backoff is the least");
    assert_eq!(judge(header::RETRY_AFTER, "60"), Err(Stop::Pushback), "the caller waits better");
    assert_eq!(judge(ours::GRPC_RETRY_PUSHBACK, "3"), Ok(ms(3)), "instead of our backoff");
    assert_eq!(judge(ours::GRPC_RETRY_PUSHBACK, "-1"), Err(Stop::Pushback));
}

#[test]
fn the_budget_is_asked_last_and_only_for_what_all_else_allows() {
    let t0 = epoch();
    let config = BudgetConfig { min_per_second: 1, ..BudgetConfig::default() };
    let budget = Budget::new(&config, t0);
    let rule = rule(|_| {});
    let failed = Signal::Failed(FailureKind::ConnectFailure);

    let unwanted = Situation::new(t0, status(200), &Method::GET);
    for _ in 0..100 {
        assert!(matches!(rule.decide(&unwanted, &budget), Verdict::Stop { why: Stop::NotWanted }));
    }
    let wanted = Situation::new(t0, failed, &Method::GET);
    let Verdict::Retry { reservation, .. } = rule.decide(&wanted, &budget) else {
        panic!("the token is still there");
    };
    assert!(matches!(rule.decide(&wanted, &budget), Verdict::Stop { why: Stop::Budget }));
    drop(reservation);
    assert!(matches!(rule.decide(&wanted, &budget), Verdict::Retry { .. }), "it was given back");
}

#[test]
fn attempts_of_0_switch_everything_off() {
    let rule = rule(|c| c.attempts = 0);
    assert!(rule.is_off());
    let signal = Signal::Failed(FailureKind::ConnectFailure);
    let verdict = rule.judge(&Situation::new(epoch(), signal, &Method::GET));
    assert_eq!(verdict, Err(Stop::NotWanted));
}
