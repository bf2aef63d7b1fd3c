//! What the rules of a policy allocate for a request that none of them applies to: nothing.
//!
//! In a binary of its own, since the counting allocator takes the whole process.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use outrigger_breaker::{Breaker, BreakerConfig};
use outrigger_core::{BoxError, Call, Context, Observers, Ratio, ServiceName};
use outrigger_limit::{CpuShed, RateLimitConfig, ShedConfig};
use outrigger_tower::{
    BodyLimitLayer, Elsewhere, FallbackAnswer, FallbackLayer, FaultLayer, FaultRule, FixedAnswer,
    HashOn, HeaderEditLayer, HeaderEdits, KeyOf, MirrorBody, MirrorLayer, MirrorRule, Mirrored,
    RateRule, RateRules, RateRulesLayer, ShedLayer, SplitLayer, SplitRule, TeeBody,
    TellRefusedLayer, clock,
};
use tower::{Service, ServiceBuilder};

type Bare = Call<Request<Empty<Bytes>>>;

/// Answers at once, whatever the body.
#[derive(Clone)]
struct Prompt;

impl<R> Service<R> for Prompt {
    type Response = Response<Empty<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        std::hint::black_box(&request);
        ready(Ok(Response::new(Empty::new())))
    }
}

fn stock() -> ServiceName {
    "stock".parse().expect("valid")
}

fn rates() -> RateRulesLayer {
    let limit = || RateLimitConfig::new("1000000/s".parse().expect("a rate"));
    let rules = vec![
        RateRule::new("all".into(), limit()),
        RateRule::new("paths".into(), limit()).with_per(Some(KeyOf::Path)),
        RateRule::new("some".into(), limit()).with_matches(|head| head.path == "/v2"),
    ];
    RateRulesLayer::new(stock(), RateRules::new(rules, 7, clock::now()).expect("valid"))
}

fn outbound() -> impl Service<Bare, Response: Sized, Error = BoxError> {
    let now = clock::now();
    let fault = FaultRule::new().with_abort(Ratio::ZERO, StatusCode::OK);
    let nowhere = Elsewhere::<MirrorBody>::new(Prompt);
    let mirror = MirrorRule::new().with_ratio(Ratio::ZERO);
    let split = SplitRule::new([("a".into(), 1), ("b".into(), 1)]).expect("weight");
    let sticky = Some(HashOn::Header(http::header::HOST));
    let circuit = Breaker::new(BreakerConfig::default(), 7, now).expect("valid");
    let fixed = FallbackAnswer::Fixed(FixedAnswer::new(StatusCode::OK, "[]"));
    ServiceBuilder::new()
        .layer(rates())
        .layer(HeaderEditLayer::new(HeaderEdits::new(), HeaderEdits::new()))
        .layer(FaultLayer::new(stock(), fault))
        .layer(MirrorLayer::new(stock(), mirror, nowhere, Arc::new(Mirrored::new())))
        .layer(SplitLayer::new(split).with_sticky(sticky))
        .layer(FallbackLayer::<TeeBody<Empty<Bytes>>>::new(stock(), circuit, fixed))
        .service(Prompt)
}

fn inbound() -> impl Service<Bare, Response: Sized, Error = BoxError> {
    let shed = CpuShed::new(ShedConfig::default()).expect("valid");
    ServiceBuilder::new()
        .layer(TellRefusedLayer::new(Observers::none()))
        .layer(ShedLayer::new(stock(), shed))
        .layer(rates())
        .layer(BodyLimitLayer::new(stock(), 10))
        .service(Prompt)
}

fn measured(mut service: impl Service<Bare, Error = BoxError>) -> u64 {
    let request = || {
        let request = Request::get("http://stock/stock/42").header("host", "stock");
        Call::new(Context::new(clock::now()), request.body(Empty::new()).expect("valid"))
    };
    let mut exchange = |request| {
        let mut cx = Task::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut future = std::pin::pin!(service.call(request));
        assert!(matches!(future.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    };
    // What is kept per thread and per key is made by the first calls.
    (0..10).for_each(|_| exchange(request()));
    let requests: Vec<_> = (0..1_000).map(|_| request()).collect();
    allocation_counter::measure(|| requests.into_iter().for_each(&mut exchange)).count_total
}

#[test]
fn a_request_that_no_rule_applies_to_allocates_nothing() {
    assert_eq!(measured(outbound()), 0, "to another service");
    assert_eq!(measured(inbound()), 0, "of this service");
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(7))));
    assert_eq!(counted.count_total, 1);
}
