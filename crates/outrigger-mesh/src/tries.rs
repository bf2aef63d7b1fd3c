//! Retries in the words of Envoy, which Istio shares.

use http::Method;
use outrigger_policy::{Condition, Methods, PathMatch, PolicyProtocol, RetryConfig, RouteMatch};

/// What makes a try worth repeating, in Envoy's words.
///
/// Shape: no word twice; statuses as numbers, in `statuses`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) words: Vec<&'static str>,
    pub(crate) statuses: Vec<u16>,
}

impl Words {
    pub(crate) const fn is_empty(&self) -> bool {
        self.words.is_empty() && self.statuses.is_empty()
    }

    fn add(&mut self, word: &'static str) {
        if !self.words.contains(&word) {
            self.words.push(word);
        }
    }
}

/// The words for every condition of a policy.
pub(crate) fn words(retry: &RetryConfig) -> Words {
    let mut all = Words::default();
    let covers_timeout = is_broken(retry);
    for condition in &retry.when {
        match condition {
            Condition::ConnectFailure => all.add("connect-failure"),
            Condition::RefusedStream => all.add("refused-stream"),
            Condition::Reset => all.add("reset"),
            // Envoy repeats a try that took too long under these, and has no word for it alone.
            Condition::Timeout if covers_timeout => {}
            Condition::Timeout => all.add("reset"),
            Condition::ServerError => all.add("5xx"),
            Condition::GatewayError => all.add("gateway-error"),
            Condition::Status(status) => all.statuses.push(*status),
            Condition::Grpc(code) => all.add(match code.get() {
                1 => "cancelled",
                4 => "deadline-exceeded",
                8 => "resource-exhausted",
                13 => "internal",
                _ => "unavailable",
            }),
            _ => {}
        }
    }
    all
}

/// The words for a request that must not be delivered twice: only what no endpoint saw.
pub(crate) fn unseen(retry: &RetryConfig) -> Words {
    let mut all = Words::default();
    let broken = is_broken(retry);
    if broken || retry.when.contains(&Condition::ConnectFailure) {
        all.add("connect-failure");
    }
    if broken || retry.when.contains(&Condition::RefusedStream) {
        all.add("refused-stream");
    }
    all
}

/// Whether whatever the wire does is a reason to try again.
pub(crate) fn is_broken(retry: &RetryConfig) -> bool {
    let wide = [Condition::Reset, Condition::ServerError, Condition::GatewayError];
    retry.when.iter().any(|condition| wide.contains(condition))
}

/// A part of a route's requests, under the retries that hold for it.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// Whether the part is what the others leave.
    pub(crate) is_rest: bool,
    pub(crate) methods: Vec<Method>,
    /// Instead of the route's own path.
    pub(crate) path: Option<PathMatch>,
    pub(crate) words: Words,
}

/// A proxy does not ask whether a method may be sent twice: a route becomes one for those that may,
/// and one for the others.
pub(crate) fn shares(
    matcher: &RouteMatch,
    retry: &RetryConfig,
    protocol: PolicyProtocol,
) -> Vec<Share> {
    let (full, narrow) = (words(retry), unseen(retry));
    let whole = |words: Words| {
        vec![Share { is_rest: false, methods: matcher.methods.clone(), path: None, words }]
    };
    if retry.attempts == 0 || full.is_empty() {
        return whole(Words::default());
    }
    if full == narrow || retry.methods == Methods::All {
        return whole(full);
    }
    let mut allowed: Vec<Method> = Vec::new();
    let mut calls: Vec<&str> = Vec::new();
    match &retry.methods {
        Methods::Listed(names) => {
            for name in names {
                if name.contains('/') {
                    calls.push(name.strip_prefix('/').unwrap_or(name));
                } else if let Ok(method) = Method::from_bytes(name.as_bytes()) {
                    allowed.push(method);
                }
            }
        }
        // Each gRPC call is a POST.
        _ if protocol == PolicyProtocol::Grpc => {}
        _ => {
            allowed = vec![
                Method::GET,
                Method::HEAD,
                Method::OPTIONS,
                Method::TRACE,
                Method::PUT,
                Method::DELETE,
            ];
        }
    }
    let own = &matcher.methods;
    let takes = |method: &Method| own.is_empty() || own.contains(method);
    allowed.retain(takes);
    if calls.is_empty() && allowed.is_empty() {
        return whole(narrow);
    }
    if !own.is_empty() && own.iter().all(|method| allowed.contains(method)) {
        return whole(full);
    }
    let mut all = Vec::new();
    for call in calls.into_iter().filter(|_| takes(&Method::POST)) {
        let path = format!("/{call}");
        if matcher.path.as_ref().is_none_or(|wanted| is_within(wanted, &path)) {
            all.push(Share {
                is_rest: false,
                methods: vec![Method::POST],
                path: Some(PathMatch::Exact(path.into())),
                words: full.clone(),
            });
        }
    }
    if !allowed.is_empty() {
        all.push(Share { is_rest: false, methods: allowed, path: None, words: full });
    }
    all.push(Share { is_rest: true, methods: own.clone(), path: None, words: narrow });
    all
}

fn is_within(wanted: &PathMatch, path: &str) -> bool {
    match wanted {
        PathMatch::Exact(exact) => &**exact == path,
        PathMatch::Prefix(prefix) => match path.strip_prefix(&**prefix) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
            None => false,
        },
        PathMatch::Regex(pattern) => pattern.is_match(path),
        _ => true,
    }
}
