use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, Request};
use outrigger_balance::{EndpointSet, Members, SetOptions, Subset};
use outrigger_core::{
    Call, Decision, Dispatch, Endpoint, Instance, InstanceId, Language, Receipt, Rejected,
};
use outrigger_retry::{Budget, RetryConfig, RetryRule};
use outrigger_tower::{BalanceLayer, Dice, HashOn, RetryLayer, SplitLayer, SplitRule, clock};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::kit::*;

fn rule(java: u32, rust: u32) -> SplitRule {
    SplitRule::new([("java".into(), java), ("rust".into(), rust)]).expect("it has weight")
}

fn of(language: Language) -> Subset {
    let mut subset = Subset::default();
    subset.language = Some(language);
    subset
}

/// Ports below 100 are Java's, others Rust's; `all` overlaps with both.
fn set(ports: &[u16]) -> EndpointSet {
    let options = SetOptions::new(stock())
        .with_subset("java", of(Language::Java))
        .with_subset("rust", of(Language::Rust))
        .with_subset("all", Subset::default())
        .with_subset("go", of(Language::Go));
    let set = EndpointSet::new(options, clock::now()).expect("the defaults hold");
    let endpoint = |port: &u16| {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], *port));
        let id = InstanceId::new(&format!("stock-{port}")).expect("valid");
        let mut instance = Instance::new(id, stock(), address);
        instance.language = Some(if *port < 100 { Language::Java } else { Language::Rust });
        Endpoint::new(Arc::new(instance), address)
    };
    set.update(Members::new(1, ports.iter().map(endpoint).collect()), clock::now());
    set
}

/// The port that a request went to.
async fn port_of<S, B>(service: S, request: Req) -> u16
where
    S: tower::Service<Req, Response = http::Response<B>, Error: std::fmt::Debug>,
{
    let response = service.oneshot(request).await.expect("answered");
    response.headers()["port"].to_str().ok().and_then(|text| text.parse().ok()).expect("a port")
}

macro_rules! wire {
    ($status:expr) => {
        service_fn(|dispatch: Dispatch<Request<_>>| async move {
            let mut response = answer($status);
            let port = dispatch.endpoint.address().port();
            response.headers_mut().insert("port", port.into());
            drop(dispatch);
            Ok::<_, std::io::Error>(response)
        })
    };
}

#[tokio::test(start_paused = true)]
async fn one_draw_a_request_and_each_side_gets_its_share() {
    let split = SplitLayer::new(rule(90, 10)).with_dice(Dice::seeded(5));
    let service = ServiceBuilder::new()
        .layer(split)
        .layer(BalanceLayer::new(set(&[1, 2, 101, 102])))
        .service(wire!(200));
    let mut counts = HashMap::<bool, u32>::new();
    for _ in 0..2_000 {
        *counts.entry(port_of(service.clone(), get()).await > 100).or_default() += 1;
    }
    // Five standard deviations of 200 expected are 67.
    assert!((133..=267).contains(&counts[&true]), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_stay_in_the_chosen_subset() {
    let mut config = RetryConfig::default();
    (config.attempts, config.when) = (2, vec!["5xx".parse().expect("valid")]);
    let retry = RetryLayer::new(
        stock(),
        Arc::new(RetryRule::new(&config).expect("valid")),
        Budget::new(&config.budget, clock::now()),
    );
    let (heard, observers) = Heard::new();
    let service = ServiceBuilder::new()
        .layer(SplitLayer::new(rule(50, 50)).with_dice(Dice::seeded(9)))
        .layer(retry)
        .layer(BalanceLayer::new(set(&[1, 2, 3, 101, 102, 103])).with_observers(observers))
        .service(wire!(503));
    let mut sides = [0, 0];
    for _ in 0..20 {
        let response = service.clone().oneshot(get()).await.expect("the last answer");
        assert_eq!(response.status(), 503);
        let ports: Vec<u16> = heard
            .take()
            .iter()
            .filter_map(|word| word.strip_prefix("tried ")?.split(' ').next()?.parse().ok())
            .collect();
        assert!(ports.len() > 1, "{ports:?}");
        let java = ports.iter().filter(|port| **port < 100).count();
        assert!(java == 0 || java == ports.len(), "one side only: {ports:?}");
        sides[usize::from(java == 0)] += 1;
        // Lets the budget fill and ejections, of which a few fall, end.
        tokio::time::sleep(ms(60_000)).await;
    }
    assert!(sides[0] > 0 && sides[1] > 0, "both sides were drawn: {sides:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sticky_caller_stays_and_only_the_moved_share_moves() {
    let user = HeaderName::from_static("x-user");
    let service = |java, rust| {
        let sticky = Some(HashOn::Header(HeaderName::from_static("x-user")));
        ServiceBuilder::new()
            .layer(SplitLayer::new(rule(java, rust)).with_sticky(sticky))
            .layer(BalanceLayer::new(set(&[1, 101])))
            .service(wire!(200))
    };
    let (before, after) = (service(90, 10), service(80, 20));
    let (mut rust, mut moved) = (0, 0);
    for n in 0..1_000 {
        let request = || {
            let mut request = get();
            let value = format!("user-{n}").parse().expect("a value");
            request.headers_mut().insert(user.clone(), value);
            request
        };
        let first = port_of(before.clone(), request()).await;
        assert_eq!(
            first,
            port_of(before.clone(), request()).await,
            "the same caller, the same side"
        );
        let then = port_of(after.clone(), request()).await;
        rust += u32::from(first == 101);
        moved += u32::from(first != then);
        assert!(!(first == 101 && then == 1), "nobody leaves the side that grows");
    }
    // Five standard deviations of 100 expected are 47.
    assert!((53..=147).contains(&rust) && (53..=147).contains(&moved), "{rust} {moved}");
}

#[tokio::test(start_paused = true)]
async fn a_subset_without_endpoints_is_refused_as_no_endpoint() {
    for subset in ["go", "unheard-of"] {
        let rule = SplitRule::new([(subset.into(), 1)]).expect("it has weight");
        let service = ServiceBuilder::new()
            .layer(SplitLayer::new(rule))
            .layer(BalanceLayer::new(set(&[1, 101])))
            .service(wire!(200));
        let error = service.oneshot(get()).await.expect_err("nobody is in it");
        assert!(matches!(Rejected::find(&*error), Some(Rejected::NoEndpoint { .. })), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn overlapping_subsets_share_what_is_known_of_an_endpoint() {
    let set = set(&[1, 2, 101]);
    let service = |subset: &str, status| {
        let rule = SplitRule::new([(subset.into(), 1)]).expect("it has weight");
        let layers = ServiceBuilder::new()
            .layer(SplitLayer::new(rule))
            .layer(BalanceLayer::new(set.clone()));
        (layers.into_inner(), status)
    };
    // Rust's only endpoint fails five times in its subset: ejected.
    let (rust, _) = service("rust", 503);
    let failing = rust.layer(wire!(503));
    for _ in 0..5 {
        let _answered = failing.clone().oneshot(get()).await;
    }
    let ejected = |set: &EndpointSet| {
        set.view(clock::now()).endpoints.iter().filter(|view| view.ejected_for.is_some()).count()
    };
    assert_eq!(ejected(&set), 1);
    let (all, _) = service("all", 200);
    let working = all.layer(wire!(200));
    for _ in 0..50 {
        assert_ne!(port_of(working.clone(), get()).await, 101, "ejected for the other subset too");
    }
    // A reload that names other subsets knows it still.
    let options = SetOptions::new(stock()).with_subset("all", Subset::default());
    set.reconfigure(options, clock::now()).expect("valid");
    assert_eq!(ejected(&set), 1);
    for _ in 0..50 {
        assert_ne!(port_of(working.clone(), get()).await, 101);
    }
}

#[tokio::test(start_paused = true)]
async fn the_receipt_names_the_side() {
    let receipt = Arc::new(Receipt::new());
    let kept = Arc::clone(&receipt);
    let takes = service_fn(|call: Call<Req>| async move {
        Ok::<_, std::io::Error>(http::Response::new(call.context.subset))
    });
    let service = SplitLayer::new(rule(0, 1)).layer(takes);
    let seen = service.oneshot(call(get(), |context| context.receipt = Some(kept))).await;
    assert_eq!(seen.expect("answered").into_body().as_deref(), Some("rust"));
    let (decisions, _) = receipt.decisions();
    assert_eq!(decisions[0].1, Decision::Split { subset: "rust".into() });
}

#[tokio::test(start_paused = true)]
async fn the_three_drops_leave_nothing() {
    the_three_drops::<_, _, Req, _>(SplitLayer::new(rule(1, 1)), get, 0, || 0).await;
}
