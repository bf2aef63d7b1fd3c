use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header as standard};
use http_body_util::{BodyExt, Full};
use outrigger_core::{BoxError, Context, Decision, FailureKind, Ratio, Receipt, TraceContext};
use outrigger_retry::{Budget, RetryConfig, RetryRule};
use outrigger_tower::{
    Compare, Dice, Elsewhere, MirrorBody, MirrorCounts, MirrorLayer, MirrorRule, Mirrored,
    RetryLayer, TeeBody, clock,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_test::mock::Handle;

use crate::kit::*;

type Copied = Request<MirrorBody>;

/// A layer, the scripted target of its copies, and what is seen of them.
fn mirror(rule: MirrorRule) -> (MirrorLayer, Handle<Copied, Res>, Arc<Mirrored>) {
    let (mock, handle) = tower_test::mock::pair::<Copied, Res>();
    let seen = Arc::new(Mirrored::new());
    let layer = MirrorLayer::new(stock(), rule, Elsewhere::new(mock), Arc::clone(&seen));
    (layer, handle, seen)
}

fn comparing() -> MirrorRule {
    MirrorRule::new().with_compare(Some(Compare::default()))
}

fn says(status: u16, pieces: &[Piece]) -> Res {
    let mut response = Response::new(Script::of(pieces));
    *response.status_mut() = status.try_into().expect("a status");
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(standard::CONTENT_TYPE, text);
    response
}

/// A service that reads the request and answers.
fn primary(
    answer: impl Fn() -> Res + Clone + Send + 'static,
) -> impl Service<Request<TeeBody<Full<Bytes>>>, Response = Res, Error = BoxError, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |request: Request<TeeBody<Full<Bytes>>>| {
        let answer = answer.clone();
        async move {
            request.into_body().collect().await?;
            Ok(answer())
        }
    })
}

/// Lets the tasks of copies run until they rest.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn counts(change: impl FnOnce(&mut MirrorCounts)) -> MirrorCounts {
    let mut counts = MirrorCounts::default();
    change(&mut counts);
    counts
}

#[tokio::test(start_paused = true)]
async fn a_copy_carries_the_head_the_body_the_trace_and_the_subset() {
    let (layer, mut handle, seen) = mirror(MirrorRule::new().with_subset(Some("rust".into())));
    let service =
        layer.layer(service_fn(|call: outrigger_core::Call<Request<TeeBody<_>>>| async move {
            assert_eq!(call.context.subset, None, "the request itself goes where it went");
            call.request.into_body().collect().await?;
            Ok::<_, BoxError>(answer(200))
        }));
    let trace = TraceContext { trace_id: 7, span_id: 9, flags: 1 };
    let receipt = Arc::new(Receipt::new());
    let kept = Arc::clone(&receipt);
    let mut request = with_body("PUT", "count=1");
    request.headers_mut().insert("x-request-id", HeaderValue::from_static("r1"));
    let request = call(request, |context| {
        (context.trace, context.receipt) = (trace, Some(kept));
    });
    assert_eq!(service.oneshot(request).await.expect("answered").status(), 200);

    let (copy, reply) = next(&mut handle).await;
    assert_eq!((copy.method().as_str(), copy.uri().path()), ("PUT", "/stock/42"));
    assert_eq!(copy.headers()["x-request-id"], "r1");
    let context: &Context = copy.extensions().get().expect("it comes along");
    assert_eq!((context.trace, context.subset.as_deref()), (trace, Some("rust")));
    assert!(context.receipt.is_none(), "the receipt is that of the caller's own way");
    assert_eq!(copy.into_body().collect().await.expect("whole").to_bytes(), "count=1");
    assert_eq!(receipt.decisions().0[0].1, Decision::Mirrored);
    reply.send_response(answer(500));
    settle().await;
    assert_eq!(seen.counts(), counts(|c| c.answered = 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_copy_and_nobody_repeats_it() {
    // As measured of Envoy: the target is slow and answers 500; the caller gets its 200 at once.
    let (layer, mut handle, seen) = mirror(MirrorRule::new());
    let service = layer.layer(primary(|| answer(200)));
    let began = clock::now();
    assert_eq!(service.oneshot(get()).await.expect("answered").status(), 200);
    assert_eq!(clock::now(), began, "no time has passed");
    let (_, reply) = next(&mut handle).await;
    tokio::time::sleep(ms(3_000)).await;
    reply.send_response(answer(500));
    settle().await;
    assert!(is_quiet(&mut handle).await, "one copy, one call");
    assert_eq!(seen.counts(), counts(|c| c.answered = 1));
}

#[tokio::test(start_paused = true)]
async fn retries_of_the_request_make_no_more_copies() {
    let (layer, mut handle, _) = mirror(MirrorRule::new());
    let mut config = RetryConfig::default();
    (config.attempts, config.when) = (2, vec!["5xx".parse().expect("valid")]);
    let retry = RetryLayer::new(
        stock(),
        Arc::new(RetryRule::new(&config).expect("valid")),
        Budget::new(&config.budget, clock::now()),
    );
    let tries = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&tries);
    let service = ServiceBuilder::new().layer(layer).layer(retry).service(service_fn(
        move |request: Request<outrigger_tower::ReplayBody<TeeBody<Full<Bytes>>>>| {
            count.fetch_add(1, Relaxed);
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                assert_eq!(body, "count=1");
                Ok::<_, BoxError>(answer(503))
            }
        },
    ));
    let response = service.oneshot(with_body("PUT", "count=1")).await.expect("the last answer");
    assert_eq!((response.status().as_u16(), tries.load(Relaxed)), (503, 3));
    let (copy, _reply) = next(&mut handle).await;
    assert_eq!(copy.into_body().collect().await.expect("whole").to_bytes(), "count=1");
    assert!(is_quiet(&mut handle).await);
}

#[tokio::test(start_paused = true)]
async fn alike_answers_are_counted_and_different_ones_shown() {
    let cases: [(&[Piece], u16, &[Piece], &str); 5] = [
        (&[Piece::Data("42")], 200, &[Piece::Data("4"), Piece::Data("2")], "same"),
        (&[Piece::Data("42")], 500, &[Piece::Data("42")], "status"),
        (&[Piece::Data("42")], 200, &[Piece::Data("43")], "body"),
        (&[Piece::Data("42")], 200, &[Piece::Data("421")], "body"),
        (&[Piece::Data("42")], 200, &[], "body"),
    ];
    for (ours, status, theirs, wanted) in cases {
        let (heard, observers) = Heard::new();
        let (layer, mut handle, seen) = mirror(comparing());
        let pieces = ours.to_vec();
        let service = layer.with_observers(observers).layer(primary(move || says(200, &pieces)));
        let response = service.oneshot(get()).await.expect("answered");
        let (_, reply) = next(&mut handle).await;
        reply.send_response(says(status, theirs));
        settle().await;
        assert_eq!(seen.counts(), MirrorCounts::default(), "the caller has not read its own yet");
        assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "42");
        settle().await;
        assert_eq!(heard.take(), [format!("mirrored: {wanted}")]);
        let differences = seen.differences();
        match wanted {
            "same" => assert!(differences.is_empty()),
            _ => {
                let [difference] = &differences[..] else { panic!("{differences:?}") };
                assert_eq!((difference.what, &*difference.path), (wanted, "/stock/42"));
                assert_eq!((difference.primary.status, difference.mirror.status), (200, status));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn chosen_headers_are_compared_and_no_others() {
    let (layer, mut handle, seen) = mirror(comparing());
    let service = layer.layer(primary(|| says(200, &[])));
    for (name, value) in [("date", "tomorrow"), ("content-type", "text/html")] {
        let _read = service.clone().oneshot(get()).await.expect("answered");
        let (_, reply) = next(&mut handle).await;
        let mut response = says(200, &[]);
        response.headers_mut().insert(name, HeaderValue::from_static(value));
        reply.send_response(response);
        settle().await;
    }
    assert_eq!(seen.counts(), counts(|c| (c.same, c.headers) = (1, 1)));
    let shown = &seen.differences()[0];
    assert_eq!(shown.primary.headers, [("content-type".into(), "text/plain".into())]);
    assert_eq!(shown.mirror.headers, [("content-type".into(), "text/html".into())]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_compared_is_said_to_be_incomplete() {
    // The caller goes away, its answer breaks, the copy's breaks.
    for case in 0..3 {
        let (layer, mut handle, seen) = mirror(comparing());
        let ours = if case == 1 { Piece::Break } else { Piece::Data("42") };
        let service = layer.layer(primary(move || says(200, &[Piece::Data("a"), ours])));
        let response = service.oneshot(get()).await.expect("answered");
        let (_, reply) = next(&mut handle).await;
        let theirs = if case == 2 { Piece::Break } else { Piece::Data("42") };
        reply.send_response(says(200, &[Piece::Data("a"), theirs]));
        match case {
            0 => drop(response),
            _ => drop(response.into_body().collect().await),
        }
        settle().await;
        let wanted = counts(|c| if case == 2 { c.failed = 1 } else { c.incomplete = 1 });
        assert_eq!(seen.counts(), wanted, "case {case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_request_is_copied_and_compared_with_nothing() {
    let (layer, mut handle, seen) = mirror(comparing());
    let service = layer.layer(service_fn(|request: Request<TeeBody<Full<Bytes>>>| async {
        request.into_body().collect().await?;
        Err::<Res, BoxError>(failed(FailureKind::Reset))
    }));
    assert!(service.oneshot(get()).await.is_err());
    next(&mut handle).await.1.send_response(says(200, &[]));
    settle().await;
    assert_eq!(seen.counts(), counts(|c| c.incomplete = 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_or_not_read_is_not_copied() {
    let (layer, mut handle, seen) = mirror(MirrorRule::new().with_body_limit(4));
    let reads = layer.layer(primary(|| answer(200)));
    reads.clone().oneshot(with_body("PUT", "five!")).await.expect("answered");
    assert_eq!(seen.counts(), counts(|c| c.too_large = 1), "it says so");
    let streams = layer.layer(service_fn(|request: Request<TeeBody<Script>>| async {
        let body = request.into_body().collect().await?.to_bytes();
        assert_eq!(body, "fourmore", "the request itself is whole");
        Ok::<_, BoxError>(answer(200))
    }));
    let body = Script::of(&[Piece::Data("four"), Piece::Data("more")]);
    let request = Request::put("/stock").body(body).expect("valid");
    streams.oneshot(request).await.expect("answered");
    assert_eq!(seen.counts(), counts(|c| c.too_large = 2), "it turns out so");
    let refuses = layer.layer(service_fn(|_: Request<TeeBody<Full<Bytes>>>| async {
        Ok::<_, BoxError>(answer(403))
    }));
    refuses.oneshot(with_body("PUT", "four")).await.expect("answered");
    settle().await;
    assert_eq!(seen.counts(), counts(|c| (c.too_large, c.unread) = (2, 1)));
    assert!(is_quiet(&mut handle).await);
    reads.oneshot(with_body("PUT", "four")).await.expect("answered");
    next(&mut handle).await;
}

#[tokio::test(start_paused = true)]
async fn copies_are_bounded_in_number_and_in_time() {
    let (layer, mut handle, seen) = mirror(MirrorRule::new().with_bounds(2, ms(1_000)));
    let service = layer.layer(primary(|| answer(200)));
    for _ in 0..5 {
        assert_eq!(service.clone().oneshot(get()).await.expect("answered").status(), 200);
    }
    let held = [next(&mut handle).await, next(&mut handle).await];
    assert!(is_quiet(&mut handle).await);
    assert_eq!(seen.counts(), counts(|c| c.full = 3));
    tokio::time::sleep(ms(1_001)).await;
    settle().await;
    assert_eq!(seen.counts(), counts(|c| (c.full, c.failed) = (3, 2)), "their time is over");
    drop(held);
    assert_eq!(service.oneshot(get()).await.expect("answered").status(), 200);
    next(&mut handle).await.1.send_response(answer(200));
    settle().await;
    assert_eq!(seen.counts().answered, 1, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_fails_or_panics_harms_nobody() {
    for panics in [false, true] {
        let target = service_fn(move |_: Copied| async move {
            assert!(!panics, "as planned");
            Err::<Res, _>(failed(FailureKind::ConnectFailure))
        });
        let seen = Arc::new(Mirrored::new());
        let layer = MirrorLayer::new(stock(), comparing(), Elsewhere::new(target), seen.clone());
        let service = layer.layer(primary(|| says(200, &[Piece::Data("42")])));
        let response = service.oneshot(get()).await.expect("answered");
        assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "42");
        settle().await;
        assert_eq!(seen.counts().failed, u64::from(!panics));
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_is_copied() {
    let (layer, _handle, seen) = mirror(MirrorRule::new().with_ratio(Ratio::from_percent(5)));
    let service = layer.with_dice(Dice::seeded(7)).layer(primary(|| answer(200)));
    for _ in 0..2_000 {
        service.clone().oneshot(get()).await.expect("answered");
        // The target never answers: what is drawn beyond 64 is counted as full.
    }
    let full = seen.counts().full;
    // Five standard deviations of 100 expected are 49.
    assert!((51..=149).contains(&(full + 64)), "{full} beyond 64");
}

#[tokio::test(start_paused = true)]
async fn only_the_last_differences_are_kept() {
    let target = service_fn(|_: Copied| async { Ok::<_, BoxError>(says(500, &[])) });
    let seen = Arc::new(Mirrored::new());
    let layer = MirrorLayer::new(stock(), comparing(), Elsewhere::new(target), seen.clone());
    let service = layer.layer(primary(|| says(200, &[])));
    for n in 0..100 {
        let uri = format!("/stock/{n}");
        let request = Request::get(uri).body(Full::default()).expect("valid");
        service.clone().oneshot(request).await.expect("answered");
        settle().await;
    }
    let kept = seen.differences();
    assert_eq!(kept.len(), Mirrored::KEPT);
    assert_eq!((&*kept[0].path, &*kept[31].path), ("/stock/68", "/stock/99"));
    assert_eq!(seen.counts().status, 100);
}

#[tokio::test(start_paused = true)]
async fn the_three_drops_leave_nothing() {
    let (layer, _handle, _) = mirror(comparing());
    the_three_drops::<_, _, Request<TeeBody<Full<Bytes>>>, _>(layer, get, 0, || 0).await;
}
