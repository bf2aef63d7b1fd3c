use std::sync::Arc;

use http::StatusCode;
use outrigger_core::{Decision, FailureKind, Ratio, Receipt, Refusal, Rejected};
use outrigger_retry::{Budget, RetryConfig, RetryRule};
use outrigger_tower::{Dice, FaultLayer, FaultRule, ObserveLayer, RetryLayer, TimeoutLayer, clock};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::kit::*;

fn delayed(span: u64) -> FaultLayer {
    FaultLayer::new(stock(), FaultRule::new().with_delay(Ratio::ONE, ms(span)))
}

fn aborted() -> FaultRule {
    FaultRule::new().with_abort(Ratio::ONE, StatusCode::SERVICE_UNAVAILABLE)
}

#[tokio::test(start_paused = true)]
async fn the_timeout_starts_when_the_injected_delay_is_over() {
    // As measured of Envoy: 400 ms delay, 300 ms timeout, 100 ms of work make a 200 after 500 ms.
    let works = service_fn(|_: outrigger_core::Call<Req>| async {
        tokio::time::sleep(ms(100)).await;
        Ok::<_, std::io::Error>(answer(200))
    });
    let service =
        ServiceBuilder::new().layer(delayed(400)).layer(TimeoutLayer::new(ms(300))).service(works);
    let began = clock::now();
    let response = service.oneshot(call(get(), |_| {})).await.expect("in time");
    assert_eq!(response.status(), 200);
    assert!((ms(500)..ms(505)).contains(&(clock::now() - began)));
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_goes_on_during_the_delay_and_ends_it() {
    let (mock, mut handle) = tower_test::mock::pair::<outrigger_core::Call<Req>, Res>();
    let mut service = delayed(5_000).layer(mock);
    let began = clock::now();
    let request = call(get(), |context| context.tighten_deadline(began + ms(250)));
    let error = start(&mut service, request).await.await.expect_err("too late");
    assert_eq!(kind_of(&error), Some(FailureKind::Deadline));
    assert!((ms(250)..ms(255)).contains(&(clock::now() - began)));
    assert!(is_quiet(&mut handle).await, "nobody saw it");
}

#[tokio::test(start_paused = true)]
async fn a_delay_beyond_the_end_of_time_is_not_no_delay() {
    let (mock, mut handle) = tower_test::mock::pair::<outrigger_core::Call<Req>, Res>();
    let rule = FaultRule::new().with_delay(Ratio::ONE, std::time::Duration::MAX);
    let mut service = FaultLayer::new(stock(), rule).layer(mock);
    let request = call(get(), |context| context.tighten_deadline(clock::now() + ms(250)));
    let error = start(&mut service, request).await.await.expect_err("too late");
    assert_eq!(kind_of(&error), Some(FailureKind::Deadline));
    assert!(is_quiet(&mut handle).await, "nobody saw it");
}

#[tokio::test(start_paused = true)]
async fn an_abort_is_never_retried_and_answers_with_the_policys_status() {
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let mut config = RetryConfig::default();
    (config.attempts, config.when) = (2, vec!["5xx".parse().expect("valid")]);
    let rule = Arc::new(RetryRule::new(&config).expect("valid"));
    let budget = Budget::new(&config.budget, clock::now());
    let faulty = RetryLayer::new(stock(), rule, budget).layer(
        FaultLayer::new(stock(), aborted().with_grpc_status(5)).layer(service_fn(
            move |_: http::Request<outrigger_tower::ReplayBody<_>>| {
                let mut mock = mock.clone();
                async move { start(&mut mock, get()).await.await }
            },
        )),
    );
    let error = faulty.clone().oneshot(get()).await.expect_err("aborted");
    let refusal = Refusal::of(&*error).expect("ours");
    assert_eq!((refusal.http_status(), refusal.grpc_status()), (503, 5));
    assert_eq!(refusal.reason.as_str(), "fault");
    assert!(is_quiet(&mut handle).await);
}

#[tokio::test(start_paused = true)]
async fn faults_hit_their_share_and_are_told() {
    let (heard, observers) = Heard::new();
    let rule = FaultRule::new()
        .with_delay(Ratio::from_percent(10), ms(200))
        .with_abort(Ratio::from_percent(20), StatusCode::IM_A_TEAPOT);
    let layer =
        FaultLayer::new(stock(), rule).with_dice(Dice::seeded(7)).with_observers(observers.clone());
    let answers = service_fn(|_: Req| async { Ok::<_, std::io::Error>(answer(200)) });
    let service = ObserveLayer::new(stock(), observers).layer(layer.layer(answers));
    let (mut late, mut refused) = (0, 0);
    for _ in 0..2_000 {
        let began = clock::now();
        refused += u32::from(service.clone().oneshot(get()).await.is_err());
        late += u32::from(clock::now() - began >= ms(200));
    }
    // Five standard deviations: 67 of 200 expected, 90 of 400.
    assert!((133..=267).contains(&late), "{late}");
    assert!((310..=490).contains(&refused), "{refused}");
    let heard = heard.take();
    let count = |what: &str| heard.iter().filter(|word| word.starts_with(what)).count() as u32;
    assert_eq!((count("fault delay"), count("fault abort")), (late, refused));
    let status = format!("finished GET Some(418) {} after 0", "ignored");
    assert_eq!(count(&status), refused, "{:?}", heard.iter().find(|w| w.contains("418")));
}

#[tokio::test(start_paused = true)]
async fn the_receipt_says_what_was_injected_and_from_then_on_counts_anew() {
    let receipt = Arc::new(Receipt::new());
    let kept = Arc::clone(&receipt);
    let (mock, mut handle) = tower_test::mock::pair::<outrigger_core::Call<Req>, Res>();
    let mut service = delayed(200).layer(mock);
    let request = call(get(), |context| context.receipt = Some(kept));
    let began = clock::now();
    let flight = tokio::spawn(start(&mut service, request).await);
    let (seen, reply) = next(&mut handle).await;
    assert!(seen.context.started - began >= ms(200), "what follows measures from here");
    reply.send_response(answer(200));
    flight.await.expect("no panic").expect("answered");
    let (decisions, _) = receipt.decisions();
    assert_eq!(decisions[0].1, Decision::Fault { delay: Some(ms(200)), abort: None });
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_while_it_is_held_back_was_seen_by_nobody() {
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let mut service = delayed(200).layer(mock);
    let mut flight = Box::pin(start(&mut service, get()).await);
    assert!(tokio_poll(flight.as_mut()).await.is_none());
    drop(flight);
    tokio::time::sleep(ms(300)).await;
    assert!(is_quiet(&mut handle).await);
}

#[tokio::test(start_paused = true)]
async fn the_three_drops_leave_nothing() {
    the_three_drops::<_, _, Req, _>(FaultLayer::new(stock(), FaultRule::new()), get, 0, || 0).await;
    // A delay of no length: the request waits, and is sent at the first look.
    the_three_drops::<_, _, Req, _>(delayed(0), get, 0, || 0).await;
    let (mock, _handle) = tower_test::mock::pair::<Req, Res>();
    let error = FaultLayer::new(stock(), aborted()).layer(mock).oneshot(get()).await;
    assert!(matches!(
        Rejected::find(&*error.expect_err("aborted")),
        Some(Rejected::Fault { status: 503, .. })
    ));
}
