use std::task::{Context as Task, Poll};

use http::{HeaderMap, HeaderValue, Method, Request};
use outrigger_core::{Context, Dispatch, header};
use outrigger_retry::guard;
use tower_service::Service;

use super::deadline_value;
use crate::{clock, tries};

/// Writes what the context knows into the headers of each try.
///
/// Cost: no allocation for a first try beyond what the map needs to grow; a retry that goes into
/// the baggage pays for its text.
#[derive(Clone, Debug)]
pub struct Stamp<S> {
    inner: S,
    caller: Option<HeaderValue>,
    passes_on: bool,
}

impl<S> Stamp<S> {
    pub(super) const fn new(inner: S, caller: Option<HeaderValue>, passes_on: bool) -> Self {
        Self { inner, caller, passes_on }
    }

    pub(crate) fn stamp<B>(&self, context: &Context, request: &mut Request<B>) {
        // Every gRPC call is one.
        let is_post = *request.method() == Method::POST;
        let headers = request.headers_mut();
        headers.insert(header::ATTEMPT, tries::small_number(context.attempt));
        if context.attempt > 0 {
            mirror(headers, context.attempt);
        }
        match (&self.caller, &context.caller) {
            (Some(caller), _) => headers.insert(header::CALLER, caller.clone()),
            // The name was made of this very header; were it not, none is better than a wrong one.
            (None, Some(caller)) if self.passes_on => {
                let is_there = headers.get(header::CALLER).is_some_and(|v| v == caller.as_str());
                match HeaderValue::from_str(caller.as_str()) {
                    Ok(caller) if !is_there => headers.insert(header::CALLER, caller),
                    Ok(_) => None,
                    Err(_) => headers.remove(header::CALLER),
                }
            }
            _ => headers.remove(header::CALLER),
        };
        // Looking through a few names is cheaper than hashing one that is hardly ever there.
        if headers.keys().any(|name| *name == header::ENVOY_EXPECTED_TIMEOUT) {
            headers.remove(header::ENVOY_EXPECTED_TIMEOUT);
        }
        let Some((until, _)) = context.ends() else {
            headers.remove(header::DEADLINE);
            return;
        };
        // Before the first try nothing was waited for, so the request's start is now.
        let now = if context.tried.is_none() { context.started } else { clock::now() };
        let left = until.saturating_duration_since(now);
        headers.insert(header::DEADLINE, deadline_value::ms(left));
        if is_post && header::is_grpc(headers) {
            headers.insert(header::GRPC_TIMEOUT, deadline_value::grpc(left));
        }
    }
}

fn mirror(headers: &mut HeaderMap, attempt: u8) {
    let lists = headers.get_all(header::BAGGAGE).iter().filter_map(|value| value.to_str().ok());
    let value = guard::mirror(lists, attempt).and_then(|list| HeaderValue::try_from(list).ok());
    if let Some(value) = value {
        headers.insert(header::BAGGAGE, value);
    }
}

impl<S, B> Service<Dispatch<Request<B>>> for Stamp<S>
where
    S: Service<Dispatch<Request<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut dispatch: Dispatch<Request<B>>) -> S::Future {
        self.stamp(&dispatch.context, &mut dispatch.request);
        self.inner.call(dispatch)
    }
}
