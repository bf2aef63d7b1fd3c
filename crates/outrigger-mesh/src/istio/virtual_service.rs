//! Routes, their timeouts and retries.

use outrigger_policy::{Fault, HeaderEdits, HeaderRules, Mirror, RouteMatch, RouteRules, Split};

use super::{NETWORKING, labels, matching};
use crate::lines::{percent, seconds};
use crate::render::Document;
use crate::scene::Scene;
use crate::tries::{Share, shares};
use crate::yaml::{Map, Yaml};

/// One route with what it holds.
struct Way<'p> {
    name: &'p str,
    matcher: &'p RouteMatch,
    split: Option<&'p Split>,
    mirror: Option<&'p Mirror>,
    fault: Option<Fault>,
    headers: Option<&'p HeaderRules>,
    rules: &'p RouteRules,
}

pub(super) fn of(scene: &Scene<'_>) -> Document {
    let every = RouteMatch::default();
    let routes = scene.policy.routes.iter().map(|route| Way {
        name: route.name.as_str(),
        matcher: &route.matcher,
        split: route.split.as_ref(),
        mirror: route.mirror.as_ref(),
        fault: route.fault,
        headers: Some(&route.headers),
        rules: &route.rules,
    });
    let last = Way {
        name: "default",
        matcher: &every,
        split: None,
        mirror: None,
        fault: None,
        headers: None,
        rules: &scene.policy.rules,
    };
    let mut http: Vec<Yaml> = Vec::new();
    for way in routes.chain([last]) {
        for share in shares(way.matcher, &way.rules.retry, scene.policy.protocol) {
            http.push(route(scene, &way, &share).into());
        }
    }
    let spec = Map::new()
        .said("hosts", vec![scene.host()], scene.lines.service("mesh"))
        .with("http", http);
    let protocol = scene.policy.protocol.as_str();
    let note = format!(
        "The port of the Service must say `appProtocol: {protocol}`, else none of this is looked at."
    );
    scene.annotated(NETWORKING, "VirtualService", "", None, spec, &[&note])
}

fn route(scene: &Scene<'_>, way: &Way<'_>, share: &Share) -> Map {
    let said = |key: &str| scene.lines.route(way.name, key);
    let name = if share.is_rest { format!("{}-others", way.name) } else { way.name.to_owned() };
    let mut map = Map::new().with("name", name);
    let matches = matching::of(way.matcher, &share.methods, share.path.as_ref());
    if !matches.is_empty() {
        let from = if way.matcher.is_any() { said("retry.methods") } else { said("match") };
        map = map.said("match", matches, from);
    }
    if let Some(fault) = way.fault {
        map = map.said("fault", faults(fault), said("fault"));
    }
    if let Some(headers) = way.headers {
        let edited = Map::new()
            .maybe("request", edits(&headers.request))
            .maybe("response", edits(&headers.response));
        if !edited.is_empty() {
            map = map.said("headers", edited, said("headers"));
        }
    }
    map = map.said("route", destinations(scene, way.split), said("split"));
    if let Some(mirror) = way.mirror {
        let copy = Map::new()
            .with("destination", destination(scene, Some(&mirror.subset)))
            .with("percentage", share_of(mirror.ratio.get()));
        map = map.said("mirrors", vec![copy], said("mirror"));
    }
    if let Some(timeout) = way.rules.timeout {
        map = map.said("timeout", seconds(timeout), said("timeout"));
    }
    map.said("retries", retries(way, share, &said), said("retry.attempts"))
}

/// Retries are always told: without the section Istio retries twice, and no manifest shows it.
fn retries(way: &Way<'_>, share: &Share, said: &dyn Fn(&str) -> Option<String>) -> Map {
    let retry = &way.rules.retry;
    if retry.attempts == 0 || share.words.is_empty() {
        // Beside no attempts nothing else may stand.
        return Map::new().with("attempts", 0_u64);
    }
    let words = share.words.words.iter().map(|word| (*word).to_owned());
    let statuses = share.words.statuses.iter().map(ToString::to_string);
    let on: Vec<String> = words.chain(statuses).collect();
    let mut map = Map::new().with("attempts", u64::from(retry.attempts)).said(
        "retryOn",
        on.join(","),
        said("retry.when"),
    );
    if let Some(time) = retry.per_try_timeout {
        map = map.said("perTryTimeout", seconds(time), said("retry.per_try_timeout"));
    }
    map.said("backoff", seconds(retry.backoff.base), said("retry.backoff.base"))
        .with("retryIgnorePreviousHosts", true)
}

fn destinations(scene: &Scene<'_>, split: Option<&Split>) -> Vec<Map> {
    let parts = split.map(|split| split.parts.as_slice()).unwrap_or_default();
    match parts {
        [] => vec![Map::new().with("destination", destination(scene, None))],
        parts => parts
            .iter()
            .map(|part| {
                Map::new()
                    .with("destination", destination(scene, Some(&part.subset)))
                    .with("weight", part.weight)
            })
            .collect(),
    }
}

fn destination(scene: &Scene<'_>, subset: Option<&str>) -> Map {
    Map::new()
        .with("host", scene.host())
        .with("port", Map::new().with("number", scene.port()))
        .maybe("subset", subset.map(labels::subset))
}

fn share_of(ratio: f64) -> Map {
    Map::new().with("value", percent(ratio))
}

fn faults(fault: Fault) -> Map {
    let delay = fault.delay.map(|delay| {
        Map::new()
            .with("percentage", share_of(delay.ratio.get()))
            .with("fixedDelay", seconds(delay.span))
    });
    let abort = fault.abort.map(|abort| {
        Map::new()
            .with("percentage", share_of(abort.ratio.get()))
            .with("httpStatus", abort.status.as_u16())
    });
    Map::new().maybe("delay", delay).maybe("abort", abort)
}

fn edits(edits: &HeaderEdits) -> Option<Map> {
    let pairs = |pairs: &[(http::HeaderName, http::HeaderValue)]| {
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let map = pairs
            .iter()
            .fold(Map::new(), |map, (name, value)| map.with(name.as_str(), text(value)));
        (!map.is_empty()).then_some(map)
    };
    let remove: Vec<&str> = edits.remove.iter().map(http::HeaderName::as_str).collect();
    let map = Map::new()
        .maybe("set", pairs(&edits.set))
        .maybe("add", pairs(&edits.add))
        .maybe("remove", (!remove.is_empty()).then_some(remove));
    (!map.is_empty()).then_some(map)
}
