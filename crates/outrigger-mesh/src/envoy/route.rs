//! Routes of one service.

use outrigger_policy::{
    Fault, HashKey, HeaderEdits, PathMatch, Ratio, Route, RouteMatch, RouteRules, TextMatch,
};

use super::{FAULT, cluster, typed};
use crate::bucket;
use crate::lines::seconds;
use crate::scene::Scene;
use crate::tries::{Share, shares};
use crate::yaml::{Map, Yaml};

pub(super) fn all(scene: &Scene<'_>) -> Vec<Yaml> {
    let mut all: Vec<Yaml> = Vec::new();
    let policy = scene.policy;
    for route in &policy.routes {
        for share in shares(&route.matcher, &route.rules.retry, policy.protocol) {
            all.push(one(scene, Some(route), &route.rules, &share).into());
        }
    }
    for share in shares(&RouteMatch::default(), &policy.rules.retry, policy.protocol) {
        all.push(one(scene, None, &policy.rules, &share).into());
    }
    all
}

fn one(scene: &Scene<'_>, route: Option<&Route>, rules: &RouteRules, share: &Share) -> Map {
    let name = route.map_or("default", |route| route.name.as_str());
    let said = |key: &str| scene.lines.route(name, key);
    let full = if share.is_rest { format!("{name}-others") } else { name.to_owned() };
    let every = RouteMatch::default();
    let matcher = route.map_or(&every, |route| &route.matcher);
    let mut map = Map::new()
        .with("name", full)
        .said("match", matches(matcher, share), said("match"))
        .with("route", action(scene, route, rules, share, &said));
    let Some(route) = route else { return map };
    for (half, edits) in
        [("request", &route.headers.request), ("response", &route.headers.response)]
    {
        if !edits.remove.is_empty() {
            let names: Vec<&str> = edits.remove.iter().map(http::HeaderName::as_str).collect();
            map = map.said(format!("{half}_headers_to_remove"), names, said("headers"));
        }
        let added = added(edits);
        if !added.is_empty() {
            map = map.said(format!("{half}_headers_to_add"), added, said("headers"));
        }
    }
    match route.fault {
        Some(fault) => {
            let faults = Map::new().said(FAULT, faults(fault), said("fault"));
            map.with("typed_per_filter_config", faults)
        }
        None => map,
    }
}

fn matches(matcher: &RouteMatch, share: &Share) -> Map {
    let mut map = match share.path.as_ref().or(matcher.path.as_ref()) {
        Some(PathMatch::Prefix(path)) if &**path != "/" => {
            Map::new().with("path_separated_prefix", path.trim_end_matches('/'))
        }
        Some(PathMatch::Exact(path)) => Map::new().with("path", &**path),
        Some(PathMatch::Regex(pattern)) => {
            Map::new().with("safe_regex", Map::new().with("regex", pattern.as_str()))
        }
        _ => Map::new().with("prefix", "/"),
    };
    let mut headers: Vec<Yaml> =
        bucket::method(&share.methods).map(Yaml::from).into_iter().collect();
    headers.extend(
        matcher.headers.iter().map(|(name, wanted)| bucket::header(name.as_str(), wanted).into()),
    );
    if !headers.is_empty() {
        map = map.with("headers", headers);
    }
    let query: Vec<Map> =
        matcher.query.iter().map(|(name, wanted)| parameter(name, wanted)).collect();
    if query.is_empty() { map } else { map.with("query_parameters", query) }
}

fn parameter(name: &str, wanted: &TextMatch) -> Map {
    let map = Map::new().with("name", name);
    match wanted {
        TextMatch::Exact(text) => map.with("string_match", Map::new().with("exact", &**text)),
        TextMatch::Regex(pattern) => {
            let regex = Map::new().with("regex", pattern.as_str());
            map.with("string_match", Map::new().with("safe_regex", regex))
        }
        TextMatch::Present(wanted) => map.with("present_match", *wanted),
        _ => map.with("present_match", true),
    }
}

fn action(
    scene: &Scene<'_>,
    route: Option<&Route>,
    rules: &RouteRules,
    share: &Share,
    said: &dyn Fn(&str) -> Option<String>,
) -> Map {
    let service = scene.service.as_str();
    let mut map = match route.and_then(|route| route.split.as_ref()) {
        None => Map::new().with("cluster", service),
        Some(split) => {
            let parts: Vec<Map> = split
                .parts
                .iter()
                .map(|part| {
                    let wanted = Map::new().with(cluster::belongs(&part.subset), "true");
                    let metadata =
                        Map::new().with("filter_metadata", Map::new().with("envoy.lb", wanted));
                    Map::new()
                        .with("name", service)
                        .with("weight", part.weight)
                        .with("metadata_match", metadata)
                })
                .collect();
            Map::new().said("weighted_clusters", Map::new().with("clusters", parts), said("split"))
        }
    };
    // Zero is what Envoy takes for none: without a word it would be 15 s.
    let time = rules.timeout.unwrap_or_default();
    map = map.said("timeout", seconds(time), said("timeout"));
    let time = rules.idle_timeout.unwrap_or_default();
    map = map.said("idle_timeout", seconds(time), said("idle_timeout"));
    let retry = &rules.retry;
    if retry.attempts > 0 && !share.words.is_empty() {
        map = map.said("retry_policy", retries(rules, share, said), said("retry.attempts"));
    }
    if let Some(mirror) = route.and_then(|route| route.mirror.as_ref()) {
        let copy = Map::new()
            .with("cluster", cluster::of_subset(service, &mirror.subset))
            .with("runtime_fraction", Map::new().with("default_value", share_of(mirror.ratio)))
            .with("disable_shadow_host_suffix_append", true);
        map = map.said("request_mirror_policies", vec![copy], said("mirror"));
    }
    let Some(key) = rules.hash_on.as_ref().filter(|_| scene.policy.balance.algorithm.is_hashing())
    else {
        return map;
    };
    let key = match key {
        HashKey::Header(name) => {
            Map::new().with("header", Map::new().with("header_name", name.as_str()))
        }
        HashKey::Cookie(name) => Map::new().with("cookie", Map::new().with("name", &**name)),
        HashKey::Query(name) => {
            Map::new().with("query_parameter", Map::new().with("name", &**name))
        }
        _ => Map::new().with("connection_properties", Map::new().with("source_ip", true)),
    };
    map.said("hash_policy", vec![key], said("balance.hash_on"))
}

fn retries(rules: &RouteRules, share: &Share, said: &dyn Fn(&str) -> Option<String>) -> Map {
    let retry = &rules.retry;
    let mut words = share.words.words.clone();
    if !share.words.statuses.is_empty() {
        words.push("retriable-status-codes");
    }
    let mut map = Map::new()
        .said("retry_on", words.join(","), said("retry.when"))
        .with("num_retries", u64::from(retry.attempts));
    if !share.words.statuses.is_empty() {
        map = map.with("retriable_status_codes", share.words.statuses.clone());
    }
    if let Some(time) = retry.per_try_timeout {
        map = map.said("per_try_timeout", seconds(time), said("retry.per_try_timeout"));
    }
    let wait = Map::new()
        .with("base_interval", seconds(retry.backoff.base))
        .with("max_interval", seconds(retry.backoff.max));
    let kind = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";
    let other = Map::new()
        .with("name", "envoy.retry_host_predicates.previous_hosts")
        .with("typed_config", typed(kind));
    map.said("retry_back_off", wait, said("retry.backoff.base"))
        .with("retry_host_predicate", vec![other])
        .with("host_selection_retry_max_attempts", 5_u64)
}

fn added(edits: &HeaderEdits) -> Vec<Map> {
    let one = |(name, value): &(http::HeaderName, http::HeaderValue), action: &str| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        Map::new()
            // A percent sign begins one of Envoy's own variables, two stand for one.
            .with(
                "header",
                Map::new().with("key", name.as_str()).with("value", value.replace('%', "%%")),
            )
            .with("append_action", action)
    };
    let set = edits.set.iter().map(|pair| one(pair, "OVERWRITE_IF_EXISTS_OR_ADD"));
    set.chain(edits.add.iter().map(|pair| one(pair, "APPEND_IF_EXISTS_OR_ADD"))).collect()
}

fn share_of(ratio: Ratio) -> Map {
    Map::new().with("numerator", (ratio.get() * 1e6).round() as u64).with("denominator", "MILLION")
}

fn faults(fault: Fault) -> Map {
    let delay = fault.delay.map(|delay| {
        Map::new()
            .with("fixed_delay", seconds(delay.span))
            .with("percentage", share_of(delay.ratio))
    });
    let abort = fault.abort.map(|abort| {
        Map::new()
            .with("http_status", abort.status.as_u16())
            .with("percentage", share_of(abort.ratio))
    });
    typed("envoy.extensions.filters.http.fault.v3.HTTPFault")
        .maybe("delay", delay)
        .maybe("abort", abort)
}
