//! Which requests a rule is for, in Istio's words.

use http::Method;
use outrigger_policy::{PathMatch, RouteMatch, TextMatch};

use crate::yaml::{Map, Yaml};

/// The matches that stand for one; any of them is enough. Empty for every request.
///
/// `methods` and `path` count for more than what the match says of them.
pub(super) fn of(matcher: &RouteMatch, methods: &[Method], path: Option<&PathMatch>) -> Vec<Yaml> {
    let uris: Vec<Option<Map>> = match path.or(matcher.path.as_ref()) {
        None => vec![None],
        Some(PathMatch::Prefix(path)) if &**path == "/" => vec![None],
        // Whole segments: `/v2` is no `/v2x`.
        Some(PathMatch::Prefix(path)) => {
            vec![Some(exact(path)), Some(Map::new().with("prefix", format!("{path}/")))]
        }
        Some(PathMatch::Exact(path)) => vec![Some(exact(path))],
        Some(PathMatch::Regex(pattern)) => vec![Some(regex(pattern.as_str()))],
        Some(_) => vec![None],
    };
    let (mut headers, mut without, mut query) = (Map::new(), Map::new(), Map::new());
    for (name, wanted) in &matcher.headers {
        match wanted {
            TextMatch::Present(false) => without = without.with(name.as_str(), Map::new()),
            TextMatch::Present(true) => headers = headers.with(name.as_str(), Map::new()),
            other => headers = headers.with(name.as_str(), text(other)),
        }
    }
    for (name, wanted) in &matcher.query {
        query = query.with(&**name, text(wanted));
    }
    let some = |map: Map| (!map.is_empty()).then_some(map);
    uris.into_iter()
        .map(|uri| {
            Map::new()
                .maybe("uri", uri)
                .maybe("method", method(methods))
                .maybe("headers", some(headers.clone()))
                .maybe("withoutHeaders", some(without.clone()))
                .maybe("queryParams", some(query.clone()))
        })
        .filter(|one| !one.is_empty())
        .map(Yaml::from)
        .collect()
}

fn method(methods: &[Method]) -> Option<Map> {
    match methods {
        [] => None,
        [one] => Some(exact(one.as_str())),
        several => {
            let words: Vec<_> = several.iter().map(Method::as_str).collect();
            Some(regex(&words.join("|")))
        }
    }
}

fn text(wanted: &TextMatch) -> Map {
    match wanted {
        TextMatch::Exact(text) => exact(text),
        TextMatch::Regex(pattern) => regex(pattern.as_str()),
        // Absent ones do not come this far: see `RenderError::AbsentParameter`.
        _ => regex(".*"),
    }
}

fn exact(text: &str) -> Map {
    Map::new().with("exact", text)
}

fn regex(text: &str) -> Map {
    Map::new().with("regex", text)
}
