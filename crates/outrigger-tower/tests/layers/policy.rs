//! The caller's whole side under a policy, put together in the policy's order as a facade does.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use outrigger_balance::{EndpointSet, Members, SetOptions, Subset};
use outrigger_breaker::{Breaker, BreakerConfig};
use outrigger_core::{
    BoxError, Dispatch, Endpoint, Instance, InstanceId, Language, Observers, Ratio, Rejected,
};
use outrigger_limit::{ConcurrencyLimit, RateLimitConfig};
use outrigger_retry::{Budget, RetryConfig, RetryRule};
use outrigger_tower::{
    BalanceLayer, CircuitBreakerLayer, Compare, ConcurrencyLayer, ContextLayer, Dice, Elsewhere,
    FallbackAnswer, FallbackLayer, FaultLayer, FaultRule, FixedAnswer, HeaderEditLayer,
    HeaderEdits, MirrorBody, MirrorLayer, MirrorRule, Mirrored, ObserveLayer, PerTryTimeoutLayer,
    RateRule, RateRules, RateRulesLayer, ReplayBody, RetryLayer, SplitLayer, SplitRule, StampLayer,
    TeeBody, TimeoutLayer, clock,
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::kit::*;

/// One Java and one Rust endpoint, in subsets under the keys of what they are made of.
fn set() -> (EndpointSet, Arc<str>, Arc<str>) {
    let of = |language| {
        let mut subset = Subset::default();
        subset.language = Some(language);
        subset
    };
    let (java, rust) = (of(Language::Java), of(Language::Rust));
    let keys = (java.key(), rust.key());
    let options = SetOptions::new(stock())
        .with_subset(Arc::clone(&keys.0), java)
        .with_subset(Arc::clone(&keys.1), rust);
    let set = EndpointSet::new(options, clock::now()).expect("the defaults hold");
    let endpoint = |port: u16, language| {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let id = InstanceId::new(&format!("stock-{port}")).expect("valid");
        let mut instance = Instance::new(id, stock(), address);
        instance.language = Some(language);
        Endpoint::new(Arc::new(instance), address)
    };
    let members = vec![endpoint(1, Language::Java), endpoint(2, Language::Rust)];
    set.update(Members::new(1, members), clock::now());
    (set, keys.0, keys.1)
}

/// Answers with the port it was asked at; the Rust port differs in its body.
async fn wire<B>(dispatch: Dispatch<Request<B>>) -> Result<Response<Full<Bytes>>, BoxError>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let port = dispatch.endpoint.address().port();
    let (head, body) = dispatch.request.into_parts();
    let body = body.collect().await.map_err(Into::into)?.to_bytes();
    let mut response = Response::new(Full::new(match port {
        1 => body,
        _ => Bytes::from_static(b"rewritten"),
    }));
    let headers = response.headers_mut();
    headers.insert("port", port.into());
    if let Some(team) = head.headers.get("x-team") {
        headers.insert("x-team", team.clone());
    }
    Ok(response)
}

struct Made<S> {
    service: S,
    circuit: Breaker,
    seen: Arc<Mirrored>,
}

fn made(
    observers: Observers,
    fault: FaultRule,
    burst: u32,
) -> Made<
    impl Service<
        Request<Full<Bytes>>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError>>,
        Error = BoxError,
    > + Clone,
> {
    let now = clock::now();
    let (set, java, rust) = set();
    let limit = RateLimitConfig::new("1/h".parse().expect("a rate"))
        .with_burst(NonZeroU32::new(burst).expect("not zero"));
    let rates = RateRules::new(vec![RateRule::new("mine".into(), limit)], 7, now).expect("valid");
    let team = HeaderName::from_static("x-team");
    let edits = HeaderEdits::new().set(team, HeaderValue::from_static("orders")).expect("allowed");
    let circuit = Breaker::builder(BreakerConfig::default()).build(now).expect("valid");
    let retry = RetryConfig::default();
    let budget = Budget::new(&retry.budget, now);
    let seen = Arc::new(Mirrored::new());
    // A copy goes out by a way of its own: the same set, no retries, no circuit, no mirror.
    let aside = ServiceBuilder::new()
        .layer(BalanceLayer::new(set.clone()))
        .layer(StampLayer::new())
        .service(service_fn(wire::<MirrorBody>));
    let mirror = MirrorRule::new().with_subset(Some(rust)).with_compare(Some(Compare::default()));
    let target = Elsewhere::new(aside);
    let service = ServiceBuilder::new()
        .layer(ContextLayer::new(stock()))
        .layer(ObserveLayer::new(stock(), observers.clone()))
        .layer(RateRulesLayer::new(stock(), rates).with_observers(observers.clone()))
        .layer(HeaderEditLayer::new(edits, HeaderEdits::new()))
        .layer(FaultLayer::new(stock(), fault).with_observers(observers.clone()))
        .layer(TimeoutLayer::new(ms(1_000)))
        .layer(
            MirrorLayer::new(stock(), mirror, target, Arc::clone(&seen))
                .with_observers(observers.clone()),
        )
        .layer(SplitLayer::new(SplitRule::new([(java, 1)]).expect("weight")).with_dice(Dice::new()))
        .layer(
            FallbackLayer::new(
                stock(),
                circuit.clone(),
                FallbackAnswer::Fixed(FixedAnswer::new(StatusCode::OK, "[]")),
            )
            .with_observers(observers.clone()),
        )
        .layer(CircuitBreakerLayer::new(stock(), circuit.clone()))
        .layer(RetryLayer::new(stock(), Arc::new(RetryRule::new(&retry).expect("valid")), budget))
        .layer(BalanceLayer::new(set).with_observers(observers))
        .layer(ConcurrencyLayer::new(stock(), ConcurrencyLimit::new(100)))
        .layer(PerTryTimeoutLayer::maybe(Some(ms(500))))
        .layer(StampLayer::new())
        .service(service_fn(wire::<ReplayBody<TeeBody<Full<Bytes>>>>));
    Made { service, circuit, seen }
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_walks_through_every_rule_and_its_copy_through_the_other_subset() {
    let (heard, observers) = Heard::new();
    let made = made(observers, FaultRule::new(), 9);
    let response = made.service.oneshot(with_body("PUT", "count=1")).await.expect("answered");
    assert_eq!(response.headers()["port"], "1", "the split's side");
    assert_eq!(response.headers()["x-team"], "orders", "the edited header arrived");
    let body = response.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(body, "count=1");
    settle().await;
    assert_eq!(made.seen.counts().body, 1);
    assert_eq!(made.seen.differences()[0].mirror.body, "rewritten");
    let heard = heard.take();
    assert_eq!(
        heard,
        [
            "tried 1 as 0: Some(200) success",
            "finished PUT Some(200) success after 1",
            "mirrored: body"
        ],
        "the copy is nobody's try"
    );
}

#[tokio::test(start_paused = true)]
async fn an_injected_delay_moves_the_timeout_and_not_the_circuit() {
    let (heard, observers) = Heard::new();
    let fault = FaultRule::new().with_delay(Ratio::ONE, ms(5_000));
    let made = made(observers, fault, 9);
    let began = clock::now();
    let response = made.service.oneshot(get()).await.expect("the timeout begins afterwards");
    assert_eq!(response.status(), 200);
    assert!(clock::now() - began >= ms(5_000));
    assert!(heard.take().contains(&"fault delay".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn rates_come_before_faults_and_a_fallback_within_them() {
    let (heard, observers) = Heard::new();
    let made = made(observers, FaultRule::new(), 2);
    for _ in 0..20 {
        let Ok(permit) = made.circuit.admit(clock::now()) else { break };
        permit.record(outrigger_core::Outcome::Failure, ms(1), clock::now());
    }
    for _ in 0..2 {
        let response = made.service.clone().oneshot(get()).await.expect("another answer");
        assert_eq!(response.headers()["x-outrigger-reason"], "circuit_open");
    }
    let Err(error) = made.service.oneshot(get()).await else { panic!("the bucket is empty") };
    assert!(matches!(Rejected::find(&*error), Some(Rejected::RateLimited { .. })), "{error:?}");
    settle().await;
    let heard = heard.take();
    let fallbacks = heard.iter().filter(|word| *word == "fallback fixed").count();
    assert_eq!(fallbacks, 2, "{heard:?}");
}
