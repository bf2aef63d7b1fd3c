use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, header as standard};
use http_body_util::{BodyExt, Empty, Full};
use outrigger_core::{BoxError, Context, Decision, Receipt, Rejected, header};
use outrigger_limit::{CpuShed, Mode, RateLimitConfig, ShedConfig};
use outrigger_tower::{
    BodyLimitLayer, ClientAddress, Dice, InboundLayer, KeyOf, LimitedBody, RateRule, RateRules,
    RateRulesLayer, RefuseLayer, ShedLayer, TellRefusedLayer, clock,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::kit::*;

fn limit(rate: &str, burst: u32) -> RateLimitConfig {
    let burst = NonZeroU32::new(burst).expect("not zero");
    RateLimitConfig::new(rate.parse().expect("a rate")).with_burst(burst)
}

fn rules(rules: Vec<RateRule>) -> RateRulesLayer {
    let rules = RateRules::new(rules, 0x5eed, clock::now()).expect("valid");
    RateRulesLayer::new(stock(), rules).with_headers(true)
}

fn answers() -> impl Service<Req, Response = Res, Error = BoxError, Future: Send> + Clone {
    service_fn(|_: Req| async { Ok(answer(200)) })
}

/// How many of ten such requests are admitted.
async fn admitted<S>(service: &S, request: impl Fn() -> Req) -> usize
where
    S: Service<Req, Error = BoxError> + Clone,
{
    let mut count = 0;
    for _ in 0..10 {
        count += usize::from(service.clone().oneshot(request()).await.is_ok());
    }
    count
}

fn told(response: &Response<impl Sized>) -> [Option<u64>; 3] {
    [header::RATELIMIT_LIMIT, header::RATELIMIT_REMAINING, header::RATELIMIT_RESET]
        .map(|name| response.headers().get(name)?.to_str().ok()?.parse().ok())
}

#[tokio::test(start_paused = true)]
async fn any_number_of_limits_hold_at_once_and_a_refusal_by_one_spends_nothing_of_another() {
    let layer = rules(vec![
        RateRule::new("wide".into(), limit("1/h", 8)),
        RateRule::new("middle".into(), limit("1/h", 5)),
        RateRule::new("narrow".into(), limit("1/h", 3)),
        RateRule::new("writes".into(), limit("1/h", 1))
            .with_matches(|head| *head.method == Method::POST),
    ]);
    let service = layer.layer(answers());
    assert_eq!(admitted(&service, || with_body("POST", "")).await, 1);
    assert_eq!(admitted(&service, get).await, 2, "the refused writes took no token of `narrow`");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_as_told_is_admitted_by_all_of_them() {
    let layer = rules(vec![
        RateRule::new("quick".into(), limit("10/s", 2)),
        RateRule::new("slow".into(), limit("3/s", 3)),
        RateRule::new("slowest".into(), limit("1/s", 5)),
    ]);
    let service = layer.layer(answers());
    let mut refused = 0;
    for _ in 0..200 {
        let Err(error) = service.clone().oneshot(get()).await else { continue };
        refused += 1;
        let wait = Rejected::find(&*error).and_then(Rejected::retry_after).expect("told");
        tokio::time::sleep(wait).await;
        assert!(service.clone().oneshot(get()).await.is_ok(), "it did as it was told");
    }
    assert!(refused > 50, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn the_answer_tells_the_limit_that_is_nearest_to_its_end() {
    // Envoy, as measured: 3, 2, 0 on the first; 3, 0, 1 on a refusal.
    let layer = rules(vec![
        RateRule::new("narrow".into(), limit("3/s", 3)),
        RateRule::new("wide".into(), limit("100/s", 100)),
    ]);
    let server = ServiceBuilder::new().layer(RefuseLayer::new()).layer(layer).service(answers());
    let mut seen = Vec::new();
    for _ in 0..5 {
        let response = server.clone().oneshot(get()).await.expect("an answer");
        seen.push((response.status().as_u16(), told(&response)));
    }
    let some = |a: u64, b: u64, c: u64| [Some(a), Some(b), Some(c)];
    assert_eq!(
        seen,
        [
            (200, some(3, 2, 0)),
            (200, some(3, 1, 0)),
            (200, some(3, 0, 1)),
            (429, some(3, 0, 1)),
            (429, some(3, 0, 1)),
        ]
    );
    let refused = server.oneshot(get()).await.expect("an answer");
    assert_eq!(refused.headers()[header::REASON], "rate_limited");
    assert_eq!(refused.headers()[standard::RETRY_AFTER], "1");
    let body = refused.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(body, "local_rate_limited");
}

#[tokio::test(start_paused = true)]
async fn a_route_without_a_limit_tells_none() {
    let layer = rules(vec![
        RateRule::new("stock".into(), limit("3/s", 3)).with_matches(|head| head.path == "/stock"),
    ]);
    let response = layer.layer(answers()).oneshot(get()).await.expect("answered");
    assert_eq!(told(&response), [None; 3]);
}

#[tokio::test(start_paused = true)]
async fn rules_see_the_normal_form_of_the_path() {
    let layer = rules(vec![
        RateRule::new("stock".into(), limit("1/h", 1))
            .with_matches(|head| head.path == "/stock/42" && head.query == Some("a=1")),
    ]);
    let service = layer.layer(answers());
    let to = |uri: &'static str| move || Request::get(uri).body(Full::default()).expect("valid");
    assert_eq!(admitted(&service, to("/stock//%34%32?a=1")).await, 1);
    assert_eq!(admitted(&service, to("/stock/./42?a=1")).await, 0, "another spelling, one bucket");
    assert_eq!(admitted(&service, to("/stock/42?a=2")).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_for_each_of_what_the_rule_names() {
    let user = HeaderName::from_static("x-user");
    let request = |n: u32| {
        move || {
            let uri = format!("/stock/{n}?user={n}");
            let mut request: Req =
                Request::get(uri).header("x-user", n).body(Full::default()).expect("valid");
            let address = IpAddr::from([192, 0, 2, n as u8]);
            request.extensions_mut().insert(ClientAddress(address));
            let mut context = Context::new(clock::now());
            context.caller = format!("caller-{n}").parse().ok();
            request.extensions_mut().insert(context);
            request
        }
    };
    for per in [
        KeyOf::Header(user),
        KeyOf::Query("user".into()),
        KeyOf::ClientAddress,
        KeyOf::Caller,
        KeyOf::Path,
    ] {
        let rule = RateRule::new("each".into(), limit("1/h", 2)).with_per(Some(per.clone()));
        let service = rules(vec![rule]).layer(answers());
        for n in 0..3 {
            assert_eq!(admitted(&service, request(n)).await, 2, "{per:?} {n}");
        }
        assert_eq!(admitted(&service, request(0)).await, 0, "{per:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_only_observes_counts_and_refuses_nothing() {
    let (heard, observers) = Heard::new();
    let layer = rules(vec![
        RateRule::new("trial".into(), limit("1/h", 4).with_mode(Mode::Observe)),
        RateRule::new("real".into(), limit("1/h", 9)),
    ]);
    let service = layer.with_observers(observers).layer(answers());
    assert_eq!(admitted(&service, get).await, 9);
    let spared = heard.take();
    assert_eq!(spared, vec!["spared by trial: rate_limited"; 5], "4 of 9 were within it");
}

#[tokio::test(start_paused = true)]
async fn grpc_callers_get_the_code_that_is_asked_for() {
    for (code, wanted) in [(None, "14"), (Some(8), "8")] {
        let layer = rules(vec![RateRule::new("a".into(), limit("1/h", 1))]).with_grpc_status(code);
        let server =
            ServiceBuilder::new().layer(RefuseLayer::new()).layer(layer).service(answers());
        let grpc = || {
            let mut request = with_body("POST", "");
            let kind = http::HeaderValue::from_static("application/grpc");
            request.headers_mut().insert(standard::CONTENT_TYPE, kind);
            request
        };
        let _first = server.clone().oneshot(grpc()).await.expect("an answer");
        let refused = server.oneshot(grpc()).await.expect("an answer");
        assert_eq!(refused.headers()[header::GRPC_STATUS], wanted);
        assert_eq!(refused.headers()[header::GRPC_MESSAGE], "local_rate_limited");
    }
}

#[tokio::test(start_paused = true)]
async fn the_receipt_names_the_rule() {
    let receipt = Arc::new(Receipt::new());
    let layer = rules(vec![RateRule::new("mine".into(), limit("1/h", 1))]);
    let answers =
        service_fn(|_: outrigger_core::Call<Req>| async { Ok::<_, std::io::Error>(answer(200)) });
    let service = layer.layer(answers);
    for _ in 0..2 {
        let kept = Arc::clone(&receipt);
        let _ = service.clone().oneshot(call(get(), |context| context.receipt = Some(kept))).await;
    }
    let rate =
        |admitted| Decision::Rate { rule: "mine".into(), admitted, spared: false, remaining: 0 };
    let decisions: Vec<_> = receipt.decisions().0.into_iter().map(|(_, d)| d).collect();
    assert_eq!(decisions, [rate(true), rate(false)]);
}

#[tokio::test(start_paused = true)]
async fn the_three_drops_of_the_inbound_rules_leave_nothing() {
    let layer = rules(vec![RateRule::new("a".into(), limit("100/s", 100))]);
    the_three_drops::<_, _, Req, _>(layer, get, 0, || 0).await;
    let shed = CpuShed::new(ShedConfig::default()).expect("valid");
    the_three_drops::<_, _, Req, _>(ShedLayer::new(stock(), shed), get, 0, || 0).await;
    let (_, observers) = Heard::new();
    the_three_drops::<_, _, Req, _>(TellRefusedLayer::new(observers), get, 0, || 0).await;
    let layer = BodyLimitLayer::new(stock(), 10);
    the_three_drops::<_, _, Request<LimitedBody<Full<Bytes>>>, _>(layer, get, 0, || 0).await;
}

/// Reads the whole body, and answers 400 when it breaks, as many handlers do.
fn reads<B>() -> impl Service<Request<LimitedBody<B>>, Response = Res, Error = BoxError> + Clone
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    service_fn(|request: Request<LimitedBody<B>>| async {
        Ok(match request.into_body().collect().await {
            Ok(body) => {
                let mut response = answer(200);
                response.headers_mut().insert("length", body.to_bytes().len().into());
                response
            }
            Err(_) => answer(400),
        })
    })
}

#[tokio::test(start_paused = true)]
async fn a_body_that_says_it_is_too_large_is_refused_before_anybody_sees_it() {
    let (mock, mut handle) = tower_test::mock::pair::<Request<LimitedBody<Full<Bytes>>>, Res>();
    let server = ServiceBuilder::new()
        .layer(RefuseLayer::new())
        .layer(BodyLimitLayer::new(stock(), 4))
        .service(mock);
    let response = server.clone().oneshot(with_body("POST", "five!")).await.expect("an answer");
    assert_eq!(response.status(), 413);
    assert_eq!(response.headers()[header::REASON], "body_too_large");
    assert!(is_quiet(&mut handle).await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_turns_out_too_large_is_413_whatever_the_handler_makes_of_it() {
    let server = ServiceBuilder::new()
        .layer(RefuseLayer::new())
        .layer(BodyLimitLayer::new(stock(), 8))
        .service(reads());
    for (pieces, status) in
        [(&["four", "four"][..], 200), (&["four", "four", "!"], 413), (&["nine-----"], 413)]
    {
        let pieces: Vec<_> = pieces.iter().map(|text| Piece::Data(text)).collect();
        let request = Request::post("/stock").body(Script::of(&pieces)).expect("valid");
        let response = server.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), status, "{pieces:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn grpc_hears_of_a_large_body_as_resource_exhausted() {
    let server = ServiceBuilder::new()
        .layer(RefuseLayer::new())
        .layer(BodyLimitLayer::new(stock(), 2))
        .service(reads());
    let request = Request::post("/stock.Stock/Put")
        .header(standard::CONTENT_TYPE, "application/grpc+proto")
        .body(Script::of(&[Piece::Data("large")]))
        .expect("valid");
    let response = server.oneshot(request).await.expect("an answer");
    assert_eq!(response.headers()[header::GRPC_STATUS], "8");
}

#[tokio::test(start_paused = true)]
async fn an_empty_body_and_one_of_exactly_the_limit_pass() {
    let server = BodyLimitLayer::new(stock(), 5).layer(reads());
    let response = server.oneshot(with_body("POST", "five!")).await.expect("it fits");
    assert_eq!(response.headers()["length"], "5");
    let server = BodyLimitLayer::new(stock(), 0).layer(reads::<Empty<Bytes>>());
    assert_eq!(server.oneshot(bare()).await.expect("it fits").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_busy_machine_turns_most_away_and_says_when_to_come_back() {
    let shed = CpuShed::new(ShedConfig::default()).expect("valid");
    let (heard, observers) = Heard::new();
    let layer = ShedLayer::new(stock(), shed.clone())
        .with_dice(Dice::seeded(1))
        .with_observers(observers.clone());
    let server = ServiceBuilder::new()
        .layer(RefuseLayer::new())
        .layer(TellRefusedLayer::new(observers))
        .layer(layer)
        .service(answers());
    let served = async || {
        let mut served = 0;
        for _ in 0..1_000 {
            let response = server.clone().oneshot(get()).await.expect("an answer");
            if response.status() == 200 {
                served += 1;
            } else {
                assert_eq!(response.status(), 503);
                assert_eq!(response.headers()[header::REASON], "overloaded");
                assert_eq!(response.headers()[standard::RETRY_AFTER], "1");
            }
        }
        served
    };
    assert_eq!(served().await, 1_000, "an idle machine serves everybody");
    for _ in 0..20 {
        shed.on_sample(1.0);
    }
    let least = served().await;
    // Five standard deviations of 100 expected are 47.
    assert!((53..=147).contains(&least), "{least}");
    let refused = heard.take().iter().filter(|word| word.starts_with("rejected")).count();
    assert_eq!(refused, 1_000 - least);

    let observed = ShedConfig::default();
    shed.reconfigure({
        let mut config = observed;
        config.mode = Mode::Observe;
        config
    })
    .expect("valid");
    assert_eq!(served().await, 1_000, "observed only");
    let spared = heard.take().iter().filter(|word| *word == "spared by shed: overloaded").count();
    assert!((853..=947).contains(&spared), "{spared}");
}

#[tokio::test(start_paused = true)]
async fn the_rules_of_a_server_work_together() {
    let server = ServiceBuilder::new()
        .layer(RefuseLayer::new())
        .layer(InboundLayer::new(stock()))
        .layer(rules(vec![
            RateRule::new("per-caller".into(), limit("1/h", 1)).with_per(Some(KeyOf::Caller)),
        ]))
        .layer(BodyLimitLayer::new(stock(), 3))
        .service(reads());
    let from = |caller: &'static str, body: &'static str| {
        let mut request = with_body("POST", body);
        let name = http::HeaderValue::from_static(caller);
        request.headers_mut().insert(header::CALLER, name);
        request
    };
    let mut seen = Vec::new();
    for (caller, body) in [("orders", "abc"), ("orders", "abc"), ("cart", "abcd"), ("cart", "abc")]
    {
        let response = server.clone().oneshot(from(caller, body)).await.expect("an answer");
        seen.push(response.status().as_u16());
    }
    assert_eq!(seen, [200, 429, 413, 429]);
}
