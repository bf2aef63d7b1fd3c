use std::net::IpAddr;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt;
use outrigger_core::{Call, Decision, Receipt, Rejected};
use outrigger_limit::{
    AdaptiveLimit, ConcurrencyLimit, Gradient2Config, KeyedRateLimit, RateLimit, RateLimitConfig,
};
use outrigger_tower::{ClientAddress, ConcurrencyLayer, KeyOf, RateLimitLayer, clock};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::kit::*;

fn bucket(rate: &str) -> RateLimitConfig {
    RateLimitConfig::new(rate.parse().expect("valid"))
}

fn answers() -> impl Service<Req, Response = Res, Error = std::io::Error, Future: Send> + Clone {
    service_fn(|_: Req| async { Ok(answer(200)) })
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_permit_is_given_back_at_each_of_the_three_drops() {
    let limit = ConcurrencyLimit::new(5);
    let held = || u64::from(limit.in_flight());
    the_three_drops(ConcurrencyLayer::new(stock(), limit.clone()), get, 1, held).await;

    let limit = AdaptiveLimit::new(Gradient2Config::default()).expect("the defaults hold");
    let held = || u64::from(limit.in_flight());
    the_three_drops(ConcurrencyLayer::adaptive(stock(), limit.clone()), get, 1, held).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_over_the_bound_is_refused_at_once_and_costs_the_service_nothing() {
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let limit = ConcurrencyLimit::new(1);
    let mut service = ConcurrencyLayer::new(stock(), limit).layer(mock);
    let first = tokio::spawn(start(&mut service, get()).await);
    let (_, reply) = next(&mut handle).await;

    let error = start(&mut service, get()).await.await.expect_err("one is all");
    let rejected = Rejected::find(&*error);
    assert!(matches!(rejected, Some(Rejected::Overloaded { limit: 1, .. })), "{error:?}");
    assert!(is_quiet(&mut handle).await);

    reply.send_response(Response::new(Script::of(&[Piece::Data("all")])));
    let body = first.await.expect("no panic").expect("answered").into_body();
    assert!(start(&mut service, get()).await.await.is_err(), "the body is not read yet");
    body.collect().await.expect("whole");
    let second = tokio::spawn(start(&mut service, get()).await);
    next(&mut handle).await.1.send_response(answer(204));
    let response = second.await.expect("no panic").expect("there is room again");
    assert!(!response.body().is_held(), "an answer without a body has ended with its head");
}

#[tokio::test(start_paused = true)]
async fn readiness_that_nobody_uses_spends_no_token() {
    let limit = Arc::new(RateLimit::new(bucket("1/h"), clock::now()).expect("valid"));
    let layer = RateLimitLayer::new(stock(), limit);
    let mut service = layer.layer(answers());
    for _ in 0..10 {
        assert!(ServiceExt::<Req>::ready(&mut service).await.is_ok());
    }
    assert!(start(&mut service, get()).await.await.is_ok(), "the one token is still there");
    let error = start(&mut service, get()).await.await.expect_err("it was the only one");
    let Some(Rejected::RateLimited { retry_after, limit, .. }) = Rejected::find(&*error) else {
        panic!("{error:?}");
    };
    assert_eq!(*limit, Some((1, 0)));
    assert!(*retry_after > ms(3_599_000), "{retry_after:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_as_told_is_admitted() {
    let limit = Arc::new(RateLimit::new(bucket("10/s"), clock::now()).expect("valid"));
    let mut service = RateLimitLayer::new(stock(), limit).layer(answers());
    for _ in 0..200 {
        let Err(error) = start(&mut service, get()).await.await else { continue };
        let rejected = Rejected::find(&*error).expect("ours");
        tokio::time::sleep(rejected.retry_after().expect("waiting helps")).await;
        assert!(
            start(&mut service, get()).await.await.is_ok(),
            "a caller that obeys is not turned away"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_three_drops_of_a_rate_limit_leave_nothing() {
    let limit = Arc::new(RateLimit::new(bucket("100/s"), clock::now()).expect("valid"));
    the_three_drops(RateLimitLayer::new(stock(), limit), get, 0, || 0).await;
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_bucket() {
    let caller =
        |name: &str| call(get(), |context| context.caller = Some(name.parse().expect("valid")));
    let limit = |key| {
        let limit = KeyedRateLimit::new(bucket("1/h"), 7, clock::now()).expect("valid");
        RateLimitLayer::keyed(stock(), Arc::new(limit), key)
            .layer(service_fn(|_: Call<Req>| async { Ok::<_, std::io::Error>(answer(200)) }))
    };
    let mut per_caller = limit(KeyOf::Caller);
    assert!(per_caller.call(caller("orders")).await.is_ok());
    assert!(per_caller.call(caller("storefront")).await.is_ok());
    assert!(per_caller.call(caller("orders")).await.is_err(), "its own bucket is empty");

    let header = |value: &str| {
        let request = Request::get("/").header("x-user", value).body(Default::default());
        call(request.expect("valid"), |_| {})
    };
    let mut per_header = limit(KeyOf::Header("x-user".parse().expect("valid")));
    assert!(per_header.call(header("ann")).await.is_ok());
    assert!(per_header.call(header("bob")).await.is_ok());
    assert!(per_header.call(header("ann")).await.is_err());
    assert!(per_header.call(call(get(), |_| {})).await.is_ok(), "those without share one");
    assert!(per_header.call(call(get(), |_| {})).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_cannot_multiply_its_bucket_within_its_own_network() {
    let limit = KeyedRateLimit::new(bucket("1/h"), 7, clock::now()).expect("valid");
    let layer = RateLimitLayer::keyed(stock(), Arc::new(limit), KeyOf::ClientAddress);
    let mut service = layer.layer(answers());
    let from = |address: &str| {
        let mut request = get();
        let address: IpAddr = address.parse().expect("valid");
        request.extensions_mut().insert(ClientAddress(address));
        request
    };
    assert!(start(&mut service, from("2001:db8::1")).await.await.is_ok());
    assert!(start(&mut service, from("2001:db8::2")).await.await.is_err(), "the same /64");
    assert!(start(&mut service, from("2001:db8:0:1::1")).await.await.is_ok());
    assert!(start(&mut service, from("10.0.0.1")).await.await.is_ok());
    assert!(start(&mut service, from("10.0.0.2")).await.await.is_ok());
    assert!(start(&mut service, from("10.0.0.1")).await.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_admitted_answer_tells_what_is_left_where_that_is_wished() {
    let limit = Arc::new(RateLimit::new(bucket("5/s"), clock::now()).expect("valid"));
    let layer = RateLimitLayer::new(stock(), limit).with_headers(true);
    let response = layer.layer(answers()).oneshot(get()).await.expect("admitted");
    assert_eq!(response.headers()["ratelimit-limit"], "5");
    assert_eq!(response.headers()["ratelimit-remaining"], "4");
}

#[tokio::test(start_paused = true)]
async fn a_sampled_request_has_it_on_its_receipt() {
    let limit = Arc::new(RateLimit::new(bucket("1/h"), clock::now()).expect("valid"));
    let mut service = RateLimitLayer::new(stock(), limit)
        .with_name("own")
        .layer(service_fn(|_: Call<Req>| async { Ok::<_, std::io::Error>(answer(200)) }));
    let receipt = Arc::new(Receipt::new());
    for _ in 0..2 {
        let call = call(get(), |context| context.receipt = Some(Arc::clone(&receipt)));
        let _ = start(&mut service, call).await.await;
    }
    let (decisions, _) = receipt.decisions();
    let told: Vec<_> = decisions.into_iter().map(|(_, decision)| decision).collect();
    let limited = |admitted| Decision::Limited { limit: "own", admitted, remaining: Some(0) };
    assert_eq!(told, [limited(true), limited(false)]);
}
