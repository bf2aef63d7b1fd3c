//! What a route adds to the rules.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use outrigger_core::{Ratio, RouteName};

use super::{HashKey, RouteMatch, RouteRules};

/// One entry of `routes`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Route {
    /// Its name in metrics, spans and circuits. Default `route-1` and so on, by its place.
    pub name: RouteName,
    /// Which requests it is for.
    pub matcher: RouteMatch,
    /// Which instances serve it. Default all.
    pub split: Option<Split>,
    /// Who gets a copy. Default nobody.
    pub mirror: Option<Mirror>,
    /// What goes wrong on purpose. Default nothing.
    pub fault: Option<Fault>,
    /// Headers that are changed. Default none.
    pub headers: HeaderRules,
    /// The rules, with what comes from above filled in.
    pub rules: RouteRules,
}

impl Route {
    /// A route for some requests, under the default rules.
    #[must_use]
    pub fn new(name: RouteName, matcher: RouteMatch) -> Self {
        Self {
            name,
            matcher,
            split: None,
            mirror: None,
            fault: None,
            headers: HeaderRules::default(),
            rules: RouteRules::default(),
        }
    }
}

/// Which instances serve a route, by shares: one draw per request, its retries stay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// The shares; their weights sum to 100.
    pub parts: Vec<SplitPart>,
    /// What keeps a caller on one side. Default nothing: each request is drawn anew.
    pub sticky: Option<HashKey>,
}

impl Split {
    /// A split that is drawn anew for each request.
    #[must_use]
    pub const fn new(parts: Vec<SplitPart>) -> Self {
        Self { parts, sticky: None }
    }
}

/// One share of a [`Split`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SplitPart {
    /// A name of `subsets`.
    pub subset: Arc<str>,
    /// Its part of 100.
    pub weight: u32,
}

impl SplitPart {
    /// A share of 100.
    #[must_use]
    pub const fn new(subset: Arc<str>, weight: u32) -> Self {
        Self { subset, weight }
    }
}

/// Who gets a copy of a request; its answer is thrown away, or compared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mirror {
    /// A name of `subsets`.
    pub subset: Arc<str>,
    /// Share of the requests that are copied. Default 1.
    pub ratio: Ratio,
    /// Largest body that is copied; a request with a larger or endless one is not. Default 64 KiB.
    pub body_limit: usize,
    /// What of the two answers is compared. Default nothing.
    pub compare: Option<Compare>,
}

/// What of a mirror's answer is compared with the real one; statuses always are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compare {
    /// Headers that are compared. Default `content-type`.
    pub headers: Vec<HeaderName>,
    /// Bytes of each body that are compared; 0 compares none. Default 64 KiB.
    pub body_limit: usize,
}

impl Default for Compare {
    fn default() -> Self {
        Self { headers: vec![http::header::CONTENT_TYPE], body_limit: 64 * 1024 }
    }
}

/// What goes wrong on purpose, outside of retries and timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Some requests start late.
    pub delay: Option<Delay>,
    /// Some requests are answered by us.
    pub abort: Option<Abort>,
}

/// Some requests start late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delay {
    /// Share of the requests.
    pub ratio: Ratio,
    /// How late, 1 ms to 1 h; `for` in the file.
    pub span: Duration,
}

/// Some requests are answered by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abort {
    /// Share of the requests.
    pub ratio: Ratio,
    /// With which status, 400 to 599; a gRPC caller gets the code that stands for it.
    pub status: StatusCode,
}

/// Headers that are changed on the way; the `headers` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderRules {
    /// In the request.
    pub request: HeaderEdits,
    /// In the response.
    pub response: HeaderEdits,
}

/// Changes of a head: first `remove`, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderEdits {
    /// Replaces every value of the name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Stands beside the values that are there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Every value of the name goes.
    pub remove: Vec<HeaderName>,
}

impl HeaderEdits {
    /// Whether nothing is changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// Changes a head.
    pub fn apply(&self, headers: &mut http::HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}
