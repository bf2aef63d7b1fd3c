//! Routes, with what they leave out filled in from above.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use outrigger_breaker::{BreakerConfig, Mode, SlowCall, Window};
use outrigger_core::{Ratio, RouteName};
use outrigger_retry::{BudgetConfig, HedgeConfig, Methods, RetryConfig};

use super::outbound::{nonzero, set};
use crate::model::{
    Abort, Breaker, Compare, Delay, Fallback, Fault, HashKey, HeaderEdits, HeaderRules, Mirror,
    PathMatch, Pattern, Route, RouteMatch, RouteRules, Split, SplitPart, TextMatch,
};
use crate::tree::{Node, Value};
use crate::view::{Part, View, duration, first_items, text};

pub(super) fn all(tree: &Node, budget: &BudgetConfig) -> Vec<Route> {
    let items = tree.get("routes").map(first_items).unwrap_or_default();
    items.iter().enumerate().map(|(at, item)| route(at, item, tree, budget)).collect()
}

/// The name of the route at a place.
pub(crate) fn name_of(at: usize, item: &Node) -> RouteName {
    let given = item.get("name").and_then(text).and_then(|name| name.parse().ok());
    given.or_else(|| format!("route-{}", at + 1).parse().ok()).unwrap_or_default()
}

fn route(at: usize, item: &Node, tree: &Node, budget: &BudgetConfig) -> Route {
    let own = View::of(item);
    let mut route = Route::new(name_of(at, item), matcher(&own.section("match")));
    route.split = split(&own);
    route.mirror = mirror(&own.section("mirror"));
    if let Part::On(view) = own.part("fault") {
        route.fault = Some(fault(&view));
    }
    let headers = own.section("headers");
    route.headers = HeaderRules {
        request: edits(&headers.section("request")),
        response: edits(&headers.section("response")),
    };
    route.rules = rules(&View::of(item).under(tree), budget);
    route
}

pub(super) fn rules(view: &View<'_>, budget: &BudgetConfig) -> RouteRules {
    let mut rules = RouteRules::default();
    set(&mut rules.timeout, view.duration_or_none("timeout"));
    set(&mut rules.idle_timeout, view.duration_or_none("idle_timeout"));
    rules.retry = retry(&view.section("retry"), budget);
    if let Part::On(view) = view.part("hedge") {
        let mut hedge = HedgeConfig::default();
        set(&mut hedge.after, view.duration("after"));
        set(&mut hedge.max, view.int("max"));
        rules.hedge = Some(hedge);
    }
    rules.hash_on = view.section("balance").get("hash_on").and_then(hash_key);
    if let Part::On(view) = view.part("breaker") {
        rules.breaker = Some(Breaker { config: breaker(&view), fallback: fallback(&view) });
    }
    rules
}

pub(super) fn budget(top: &View<'_>) -> BudgetConfig {
    let view = top.section("retry").section("budget");
    let mut budget = BudgetConfig::default();
    set(&mut budget.ratio, view.ratio("ratio"));
    set(&mut budget.min_concurrent, view.int("min_concurrent"));
    set(&mut budget.min_per_second, view.int("min_per_second"));
    budget
}

fn retry(view: &View<'_>, budget: &BudgetConfig) -> RetryConfig {
    let mut retry = RetryConfig::default();
    set(&mut retry.attempts, view.int("attempts"));
    if let Some(items) = view.items("when") {
        let conditions = items.iter().filter_map(Node::scalar).map(str::parse);
        retry.when = conditions.filter_map(Result::ok).collect();
    }
    if let Some(node) = view.get("methods") {
        retry.methods = match &node.value {
            Value::List(items) => {
                Methods::Listed(items.iter().filter_map(text).map(Box::from).collect())
            }
            _ if node.is_word("all") => Methods::All,
            _ => Methods::Idempotent,
        };
    }
    set(&mut retry.per_try_timeout, view.duration_or_none("per_try_timeout"));
    let backoff = view.section("backoff");
    set(&mut retry.backoff.base, backoff.duration("base"));
    set(&mut retry.backoff.max, backoff.duration("max"));
    let limit = view.bytes("body_limit").and_then(|bytes| usize::try_from(bytes).ok());
    set(&mut retry.body_limit, limit);
    retry.budget = *budget;
    retry
}

pub(super) fn hash_key(node: &Node) -> Option<HashKey> {
    if node.is_word("client_address") {
        return Some(HashKey::ClientAddress);
    }
    let view = View::of(node);
    if let Some(name) = view.text("header") {
        return header_name(name).map(HashKey::Header);
    }
    let cookie = view.text("cookie").map(|name| HashKey::Cookie(name.into()));
    cookie.or_else(|| view.text("query").map(|name| HashKey::Query(name.into())))
}

fn breaker(view: &View<'_>) -> BreakerConfig {
    let mut config = BreakerConfig::default();
    set(
        &mut config.mode,
        view.text("mode").and_then(|word| match word {
            "enforce" => Some(Mode::Enforce),
            "observe" => Some(Mode::Observe),
            "forced_open" => Some(Mode::ForcedOpen),
            "disabled" => Some(Mode::Disabled),
            _ => None,
        }),
    );
    set(&mut config.failure_ratio, view.ratio("failure_ratio"));
    if let Part::On(slow) = view.part("slow_call")
        && let (Some(after), Some(ratio)) = (slow.duration("after"), slow.ratio("ratio"))
    {
        config.slow_call = Some(SlowCall { after, ratio });
    }
    config.consecutive_failures = nonzero(view, "consecutive_failures");
    set(
        &mut config.window,
        view.get("window").and_then(|node| match &node.value {
            Value::Number(_) => nonzero(view, "window").map(Window::Calls),
            _ => duration(node).map(Window::Time),
        }),
    );
    set(&mut config.min_calls, nonzero(view, "min_calls"));
    set(&mut config.open_for, view.duration("open_for"));
    set(&mut config.max_open_for, view.duration("max_open_for"));
    set(&mut config.jitter, view.ratio("jitter"));
    set(&mut config.probes, nonzero(view, "probes"));
    set(&mut config.probe_lease, view.duration("probe_lease"));
    set(&mut config.max_half_open, view.duration("max_half_open"));
    config
}

fn fallback(view: &View<'_>) -> Option<Fallback> {
    // An answer of a route replaces a service from above, and the other way round.
    let node = view.get("fallback")?;
    if !matches!(node.value, Value::Map(_)) {
        return None;
    }
    let view = View::of(node);
    if let Some(service) = view.text("service") {
        return service.parse().ok().map(Fallback::Service);
    }
    let body = view.text("body").unwrap_or_default();
    let given = view.text("content_type").and_then(|value| HeaderValue::from_str(value).ok());
    let guessed = || match body.trim_start().as_bytes().first() {
        None => None,
        Some(b'{' | b'[') => Some(HeaderValue::from_static("application/json")),
        Some(_) => Some(HeaderValue::from_static("text/plain; charset=utf-8")),
    };
    Some(Fallback::Answer {
        status: status(&view).unwrap_or(StatusCode::OK),
        content_type: given.or_else(guessed),
        body: Bytes::copy_from_slice(body.as_bytes()),
    })
}

fn status(view: &View<'_>) -> Option<StatusCode> {
    view.int::<u16>("status").and_then(|number| StatusCode::from_u16(number).ok())
}

fn header_name(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}

pub(super) fn matcher(view: &View<'_>) -> RouteMatch {
    let prefix = || view.text("path_prefix").map(|path| PathMatch::Prefix(path.into()));
    let exact = || view.text("path_exact").map(|path| PathMatch::Exact(path.into()));
    let regex =
        || view.text("path_regex").and_then(|text| Pattern::new(text).ok()).map(PathMatch::Regex);
    let mut matcher = RouteMatch {
        path: prefix().or_else(exact).or_else(regex),
        methods: methods(view),
        headers: view
            .pairs("headers")
            .filter_map(|(name, node)| Some((header_name(name)?, text_match(node)?)))
            .collect(),
        query: view
            .pairs("query")
            .filter_map(|(name, node)| Some((Arc::from(name), text_match(node)?)))
            .collect(),
    };
    // The order of names means nothing, so that it makes no difference either.
    matcher.headers.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    matcher.query.sort_by(|a, b| a.0.cmp(&b.0));
    matcher
}

pub(super) fn methods(view: &View<'_>) -> Vec<Method> {
    let items = view.items("methods").unwrap_or_default().iter();
    items.filter_map(text).filter_map(|name| Method::from_bytes(name.as_bytes()).ok()).collect()
}

fn text_match(node: &Node) -> Option<TextMatch> {
    if let Some(text) = text(node) {
        return Some(TextMatch::Exact(text.into()));
    }
    let view = View::of(node);
    if let Some(text) = view.text("exact") {
        return Some(TextMatch::Exact(text.into()));
    }
    if let Some(text) = view.text("regex") {
        return Pattern::new(text).ok().map(TextMatch::Regex);
    }
    match view.get("present")?.value {
        Value::Bool(present) => Some(TextMatch::Present(present)),
        _ => None,
    }
}

fn split(own: &View<'_>) -> Option<Split> {
    let items = own.items("split")?;
    let alone = items.len() == 1;
    let part = |item: &Node| {
        let view = View::of(item);
        let weight = view.int("weight").or_else(|| alone.then_some(100)).unwrap_or(0);
        view.text("subset").map(|subset| SplitPart { subset: subset.into(), weight })
    };
    let parts: Vec<_> = items.iter().filter_map(part).collect();
    let sticky = own.get("sticky").and_then(hash_key);
    (!parts.is_empty()).then_some(Split { parts, sticky })
}

fn mirror(view: &View<'_>) -> Option<Mirror> {
    let size = |view: &View<'_>| {
        view.bytes("body_limit").and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(64 * 1024)
    };
    let compare = match view.part("compare") {
        Part::Absent | Part::Off => None,
        Part::Word => Some(Compare::default()),
        Part::On(view) => {
            let mut compare = Compare { body_limit: size(&view), ..Compare::default() };
            if let Some(items) = view.items("headers") {
                compare.headers = items.iter().filter_map(text).filter_map(header_name).collect();
            }
            Some(compare)
        }
    };
    Some(Mirror {
        subset: view.text("subset")?.into(),
        ratio: view.ratio("ratio").unwrap_or(Ratio::ONE),
        body_limit: size(view),
        compare,
    })
}

fn fault(view: &View<'_>) -> Fault {
    let (delay, abort) = (view.section("delay"), view.section("abort"));
    Fault {
        delay: delay
            .ratio("ratio")
            .and_then(|ratio| Some(Delay { ratio, span: delay.duration("for")? })),
        abort: abort.ratio("ratio").map(|ratio| Abort {
            ratio,
            status: status(&abort).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        }),
    }
}

fn edits(view: &View<'_>) -> HeaderEdits {
    let pairs = |key| {
        let pairs = view.pairs(key).filter_map(|(name, node)| {
            Some((header_name(name)?, HeaderValue::from_str(text(node)?).ok()?))
        });
        let mut pairs: Vec<(HeaderName, HeaderValue)> = pairs.collect();
        pairs.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        pairs
    };
    let remove = view.items("remove").unwrap_or_default().iter();
    HeaderEdits {
        set: pairs("set"),
        add: pairs("add"),
        remove: remove.filter_map(text).filter_map(header_name).collect(),
    }
}
