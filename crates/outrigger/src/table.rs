//! The ways that calls to one service may go, under one version of its policy.

mod pools;
mod shared;
mod spec;

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::uri::{PathAndQuery, Uri};
use outrigger_core::{NormalPath, PolicyVersion, RouteName};
use outrigger_tower::Mirrored;

pub(crate) use pools::Pools;
pub(crate) use shared::{Means, Shared};
#[cfg(test)]
pub(crate) use spec::RouteSpec;
pub(crate) use spec::{Spec, hash_on};

use crate::DestinationError;
use crate::policy::Loaded;
use crate::stack::{Circuit, Stack};

/// The ways that calls to one service may go; a call reads it once and runs wholly under it.
#[derive(Debug)]
pub(crate) struct Table {
    version: PolicyVersion,
    /// What decides between the ways.
    loaded: Option<Arc<Loaded>>,
    /// Never empty; the last is for whatever no other is for.
    ways: Box<[Way]>,
}

/// The way of the calls of one route.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) route: RouteName,
    pub(crate) stack: Stack,
    /// The same without a fallback, for what was asked as somebody's fallback itself; `None` where
    /// there is none.
    pub(crate) last_resort: Option<Stack>,
    pub(crate) circuit: Option<Circuit>,
    /// What copies of its requests have told.
    pub(crate) mirrored: Option<Arc<Mirrored>>,
    /// The policy's.
    pub(crate) timeout: Option<Duration>,
}

impl Table {
    /// Which version of the policy it is made of.
    pub(crate) const fn version(&self) -> PolicyVersion {
        self.version
    }

    /// The policy it is made of.
    pub(crate) const fn loaded(&self) -> Option<&Arc<Loaded>> {
        self.loaded.as_ref()
    }

    /// The way of what no route is for.
    pub(crate) fn last(&self) -> &Way {
        &self.ways[self.ways.len() - 1]
    }

    /// The way of a request. Where routes decide, its path is brought into the normal form, which
    /// is what is compared and what is sent.
    ///
    /// Cost: nothing where there is one way only; else one pass over the path, and a comparison
    /// for each route before the one that matches.
    pub(crate) fn way<B>(&self, request: &mut Request<B>) -> Result<&Way, DestinationError> {
        if let [only] = &*self.ways {
            return Ok(only);
        }
        let Some(loaded) = &self.loaded else { return Ok(self.last()) };
        let path = NormalPath::new(request.uri().path())?;
        let query = if loaded.plan.reads_query { request.uri().query() } else { None };
        let (at, _) = loaded.plan.route(request.method(), path.as_str(), query, request.headers());
        if path.as_str() != request.uri().path() {
            let path = path.into_owned();
            rewrite(request.uri_mut(), path.as_str());
        }
        Ok(self.ways.get(at).unwrap_or_else(|| self.last()))
    }

    /// What copies have told, for all routes that are mirrored.
    pub(crate) fn mirrors(&self) -> impl Iterator<Item = (&RouteName, &Mirrored)> {
        self.ways.iter().filter_map(|way| Some((&way.route, way.mirrored.as_deref()?)))
    }

    /// The circuits of all routes that have one.
    pub(crate) fn circuits(&self) -> impl Iterator<Item = &Circuit> {
        self.ways.iter().filter_map(|way| way.circuit.as_ref())
    }
}

/// Puts another path into a URI, before its query.
fn rewrite(uri: &mut Uri, path: &str) {
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = std::mem::take(uri).into_parts();
    // A normal path is one that a URI may hold; were it not, the old one would be sent.
    if let Ok(whole) = PathAndQuery::try_from(whole) {
        parts.path_and_query = Some(whole);
    }
    *uri = Uri::from_parts(parts).unwrap_or_default();
}
