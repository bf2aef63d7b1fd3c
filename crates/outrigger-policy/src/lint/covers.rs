//! Whether one matcher takes every request of another.

use crate::model::{PathMatch, RouteMatch, TextMatch};

/// Whether every request of `inner` is one of `outer`. Never true by mistake; what two regular
/// expressions share is not looked into.
pub(super) fn covers(outer: &RouteMatch, inner: &RouteMatch) -> bool {
    let methods = outer.methods.is_empty()
        || (!inner.methods.is_empty()
            && inner.methods.iter().all(|one| outer.methods.contains(one)));
    let path = match (&outer.path, &inner.path) {
        (None, _) => true,
        (Some(outer), inner) => path_covers(outer, inner.as_ref()),
    };
    let headers = outer.headers.iter().all(|(name, wanted)| {
        inner.headers.iter().any(|(other, found)| name == other && text_covers(wanted, found))
    });
    let query = outer.query.iter().all(|(name, wanted)| {
        inner.query.iter().any(|(other, found)| name == other && text_covers(wanted, found))
    });
    methods && path && headers && query
}

fn path_covers(outer: &PathMatch, inner: Option<&PathMatch>) -> bool {
    match (outer, inner) {
        (PathMatch::Prefix(prefix), _) if prefix.trim_end_matches('/').is_empty() => true,
        (PathMatch::Regex(pattern), _) if matches!(pattern.as_str(), ".*" | "/.*") => true,
        (_, None) => false,
        (PathMatch::Prefix(_), Some(PathMatch::Prefix(inner) | PathMatch::Exact(inner))) => {
            outer.is_match(inner)
        }
        (PathMatch::Regex(_) | PathMatch::Exact(_), Some(PathMatch::Exact(inner))) => {
            outer.is_match(inner)
        }
        (PathMatch::Regex(outer), Some(PathMatch::Regex(inner))) => outer == inner,
        (PathMatch::Prefix(prefix), Some(PathMatch::Regex(inner))) => {
            // A pattern that begins with the prefix and a slash, letter by letter.
            let prefix = prefix.trim_end_matches('/');
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_');
            prefix.chars().all(plain)
                && inner.as_str().strip_prefix(prefix).is_some_and(|rest| {
                    rest.starts_with('/')
                        && !rest.starts_with("/?")
                        && !rest.starts_with("/*")
                        && !rest.starts_with("/{")
                        && !inner.as_str().contains('|')
                })
        }
        _ => false,
    }
}

fn text_covers(outer: &TextMatch, inner: &TextMatch) -> bool {
    match (outer, inner) {
        (TextMatch::Present(true), TextMatch::Exact(_) | TextMatch::Regex(_)) => true,
        (TextMatch::Regex(_), TextMatch::Exact(text)) => outer.is_match(Some(text)),
        (outer, inner) => outer == inner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pattern;

    fn path(path: PathMatch) -> RouteMatch {
        RouteMatch { path: Some(path), ..RouteMatch::default() }
    }

    #[test]
    fn a_wider_path_covers_a_narrower_one_and_never_the_other_way_round() {
        let prefix = |text: &str| path(PathMatch::Prefix(text.into()));
        let exact = |text: &str| path(PathMatch::Exact(text.into()));
        let regex = |text: &str| path(PathMatch::Regex(Pattern::new(text).expect("valid")));
        for (outer, inner) in [
            (prefix("/"), regex("/x")),
            (prefix("/v2"), exact("/v2")),
            (prefix("/v2"), prefix("/v2/x")),
            (prefix("/v2"), regex("/v2/[0-9]+")),
            (regex("/v[0-9]/.*"), exact("/v2/x")),
            (RouteMatch::default(), exact("/x")),
        ] {
            assert!(covers(&outer, &inner), "{outer:?} {inner:?}");
        }
        for (outer, inner) in [
            (prefix("/v2"), exact("/v2x")),
            (prefix("/v2/x"), prefix("/v2")),
            (exact("/v2"), prefix("/v2")),
            (prefix("/v2"), regex("/v2/?x")),
            (prefix("/v2"), regex("/v2/x|/y")),
            (exact("/x"), RouteMatch::default()),
        ] {
            assert!(!covers(&outer, &inner), "{outer:?} {inner:?}");
        }
    }
}
