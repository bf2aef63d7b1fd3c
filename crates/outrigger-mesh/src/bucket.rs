//! Rate limits as Envoy's local rate limit, for whoever puts the filter in place.

use std::time::Duration;

use http::Method;
use outrigger_policy::{
    GrpcStatus, InboundRate, Mode, PathMatch, Per, RateLimitConfig, RouteMatch, TextMatch,
};

use crate::lines::seconds;
use crate::yaml::{Map, Yaml};

/// Envoy refills no bucket in steps shorter than this.
const SHORTEST: Duration = Duration::from_millis(50);

/// Whether Envoy can say which requests an inbound limit counts: of the query it cannot.
pub(crate) const fn can_say(rate: &InboundRate) -> bool {
    rate.matcher.query.is_empty()
}

/// The filter for a limit of the service itself.
pub(crate) fn inbound(rate: &InboundRate, status: GrpcStatus) -> Map {
    let name = &*rate.name;
    let own = matchers(&rate.matcher);
    if rate.per == Per::Service && own.is_empty() {
        return filter(name, &rate.limit, bucket(&rate.limit), status);
    }
    // Whatever no descriptor is made for has the limit's default bucket: one that is never empty.
    let never = Map::new()
        .with("max_tokens", u32::MAX)
        .with("tokens_per_fill", u32::MAX)
        .with("fill_interval", "0.05s");
    let gate = (!own.is_empty()).then(|| {
        let wanted = Map::new()
            .with("descriptor_key", "of")
            .with("descriptor_value", name)
            .with("headers", own);
        Map::new().with("header_value_match", wanted)
    });
    let header = |name: &str| {
        Map::new().with("request_headers", named("header_name", name).with("descriptor_key", "key"))
    };
    let mut keys: Vec<Option<Map>> = match &rate.per {
        Per::Caller => vec![Some(header("x-outrigger-caller"))],
        Per::ClientAddress => {
            vec![Some(Map::new().with("masked_remote_address", Map::new()))]
        }
        Per::Header(name) => vec![Some(header(name.as_str()))],
        Per::Path => vec![Some(header(":path"))],
        Per::Query(name) => {
            let wanted = named("query_parameter_name", name).with("descriptor_key", "key");
            vec![Some(Map::new().with("query_parameters", wanted))]
        }
        _ => vec![None],
    };
    if let Per::Caller = rate.per {
        // Who does not say who it is shares one bucket with all who do not.
        let absent = Map::new()
            .with("name", "x-outrigger-caller")
            .with("present_match", true)
            .with("invert_match", true);
        let wanted = Map::new()
            .with("descriptor_key", "key")
            .with("descriptor_value", "unknown")
            .with("headers", vec![absent]);
        keys.push(Some(Map::new().with("header_value_match", wanted)));
    }
    let key = match rate.per {
        Per::Service => None,
        Per::ClientAddress => Some("masked_remote_address"),
        _ => Some("key"),
    };
    let mut entries: Vec<Map> = Vec::new();
    if gate.is_some() {
        entries.push(named("key", "of").with("value", name));
    }
    // An entry without a value has a bucket for each.
    entries.extend(key.map(|key| named("key", key)));
    let descriptor = Map::new().with("entries", entries).with("token_bucket", bucket(&rate.limit));
    let limits: Vec<Map> = keys
        .into_iter()
        .map(|key| {
            let actions: Vec<Map> = gate.iter().cloned().chain(key).collect();
            Map::new().with("actions", actions)
        })
        .collect();
    let map = filter(name, &rate.limit, never, status)
        .with("always_consume_default_token_bucket", false)
        .with("rate_limits", limits)
        .with("descriptors", vec![descriptor]);
    if key.is_some() { map.with("max_dynamic_descriptors", rate.limit.max_keys.get()) } else { map }
}

/// The filter for one bucket.
pub(crate) fn filter(name: &str, limit: &RateLimitConfig, bucket: Map, status: GrpcStatus) -> Map {
    let all = |percent: u64| {
        let share = Map::new().with("numerator", percent).with("denominator", "HUNDRED");
        Map::new().with("default_value", share)
    };
    let kind = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    let map = named("@type", &format!("type.googleapis.com/{kind}"))
        .with("stat_prefix", format!("outrigger_{}", name.replace('.', "_")))
        .with("token_bucket", bucket)
        .with("filter_enabled", all(100))
        .with("filter_enforced", all(if limit.mode == Mode::Observe { 0 } else { 100 }));
    if status == GrpcStatus::ResourceExhausted {
        map.with("rate_limited_as_resource_exhausted", true)
    } else {
        map
    }
}

/// The bucket of a limit.
pub(crate) fn bucket(limit: &RateLimitConfig) -> Map {
    let (count, per) = (limit.rate.count().get(), limit.rate.per());
    let times = SHORTEST.as_nanos().div_ceil(per.as_nanos().max(1)).max(1) as u32;
    let burst = limit.burst.map_or(count, std::num::NonZero::get);
    Map::new()
        .with("max_tokens", burst)
        .with("tokens_per_fill", count.saturating_mul(times))
        .with("fill_interval", seconds(per * times))
}

fn named(key: &str, name: &str) -> Map {
    Map::new().with(key, name)
}

/// What a request's head must hold, in Envoy's words; a path with its query.
fn matchers(matcher: &RouteMatch) -> Vec<Yaml> {
    let mut all: Vec<Yaml> = Vec::new();
    if let Some(path) = &matcher.path {
        let pattern = match path {
            PathMatch::Exact(path) => escaped(path),
            PathMatch::Prefix(path) if &**path == "/" => "/[^?]*".to_owned(),
            PathMatch::Prefix(path) => format!("{}(/[^?]*)?", escaped(path)),
            PathMatch::Regex(pattern) => format!("(?:{})", pattern.as_str()),
            _ => ".*".to_owned(),
        };
        all.push(regex(":path", &format!("{pattern}(\\?.*)?")).into());
    }
    all.extend(method(&matcher.methods).map(Yaml::from));
    all.extend(
        matcher.headers.iter().map(|(name, wanted)| Yaml::from(header(name.as_str(), wanted))),
    );
    all
}

/// One of these methods.
pub(crate) fn method(methods: &[Method]) -> Option<Map> {
    match methods {
        [] => None,
        [one] => Some(exact(":method", one.as_str())),
        several => {
            let words: Vec<_> = several.iter().map(Method::as_str).collect();
            Some(regex(":method", &words.join("|")))
        }
    }
}

/// A header's value.
pub(crate) fn header(name: &str, wanted: &TextMatch) -> Map {
    match wanted {
        TextMatch::Exact(text) => exact(name, text),
        TextMatch::Regex(pattern) => regex(name, pattern.as_str()),
        TextMatch::Present(false) => {
            named("name", name).with("present_match", true).with("invert_match", true)
        }
        _ => named("name", name).with("present_match", true),
    }
}

fn exact(name: &str, text: &str) -> Map {
    named("name", name).with("string_match", named("exact", text))
}

fn regex(name: &str, text: &str) -> Map {
    named("name", name).with("string_match", Map::new().with("safe_regex", named("regex", text)))
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !(c.is_alphanumeric() || "/-_~%!,:;=@&'".contains(c)) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
