use http::{HeaderName, HeaderValue};
use outrigger_core::RouteName;

use super::*;
use crate::model::{PathMatch, Route, RouteMatch, Split, SplitPart, TextMatch};

fn route(name: &str, matcher: RouteMatch) -> Route {
    Route::new(RouteName::new(name).expect("valid"), matcher)
}

fn chosen(plan: &Plan, method: &Method, path: &str, headers: &HeaderMap) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
    plan.route(method, path, query, headers).1.name.to_string()
}

#[test]
fn the_first_route_that_matches_wins_and_the_last_matches_everything() {
    let mut policy = Policy::default();
    let path = |path| RouteMatch { path: Some(path), ..RouteMatch::default() };
    policy.routes.push(route("exact", path(PathMatch::Exact("/v2/x".into()))));
    policy.routes.push(route("prefix", path(PathMatch::Prefix("/v2".into()))));
    let mut canary = RouteMatch::default();
    canary.headers.push((HeaderName::from_static("x-canary"), TextMatch::Exact("1".into())));
    canary.query.push(("beta".into(), TextMatch::Exact("a b".into())));
    canary.methods.push(Method::GET);
    policy.routes.push(route("canary", canary));
    let plan = Plan::compile(&policy);

    let mut headers = HeaderMap::new();
    for (path, wanted) in
        [("/v2/x", "exact"), ("/v2", "prefix"), ("/v2/y", "prefix"), ("/v2y", "default")]
    {
        assert_eq!(chosen(&plan, &Method::GET, path, &headers), wanted, "{path}");
    }
    assert_eq!(chosen(&plan, &Method::GET, "/?beta=a+b", &headers), "default");
    headers.insert("x-canary", HeaderValue::from_static("2"));
    headers.append("x-canary", HeaderValue::from_static("1"));
    for query in ["/?beta=a+b", "/?x=1&be%74a=a%20b", "/?beta=a+b&beta=c"] {
        assert_eq!(chosen(&plan, &Method::GET, query, &headers), "canary", "{query}");
    }
    assert_eq!(chosen(&plan, &Method::GET, "/?beta=c&beta=a+b", &headers), "default");
    assert_eq!(chosen(&plan, &Method::POST, "/?beta=a+b", &headers), "default");
}

#[test]
fn a_split_gives_each_part_its_weight_and_an_unknown_subset_holds_nobody() {
    let mut policy = Policy::default();
    policy.subsets.insert("rust".into(), outrigger_balance::Subset::default());
    let mut split = route("s", RouteMatch::default());
    split.split = Some(Split::new(vec![
        SplitPart::new("java".into(), 90),
        SplitPart::new("rust".into(), 10),
    ]));
    policy.routes.push(split);
    let plan = Plan::compile(&policy);
    let split = plan.routes[0].split.as_ref().expect("a split");
    let mut rng = fastrand::Rng::with_seed(1);
    let rust = (0..10_000)
        .filter(|_| &*split.choose(rng.u64(..)).expect("weights").subset.name == "rust")
        .count();
    assert!((900..1_100).contains(&rust), "{rust} of 10,000");
    assert_eq!(&*split.choose(0).expect("weights").subset.name, "java");
    assert_eq!(&*split.choose(u64::MAX).expect("weights").subset.name, "rust");
    assert_eq!(split.parts[0].subset.labels, None, "java is not among the subsets");
}

#[test]
fn without_a_file_there_is_one_route_with_the_defaults() {
    let plan = Plan::default();
    assert_eq!(plan.routes.len(), 1);
    let route = &plan.routes[0];
    assert_eq!(route.name.as_str(), "default");
    assert_eq!(route.timeout, Some(Duration::from_secs(15)));
    assert_eq!(route.retry.attempts, 1);
    assert!(route.is_plain() && route.breaker.is_none() && route.hedge.is_none());
    assert_eq!(plan.version.to_string(), "default");
}
