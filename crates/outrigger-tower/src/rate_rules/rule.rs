use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method};
use outrigger_limit::RateLimitConfig;

use crate::KeyOf;

/// What of a request a rule is matched against.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path in its normal form, without query; as it came where it has none.
    pub path: &'a str,
    /// The query, without its `?`.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Whether a rule is for a request.
type Matches = Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

/// A named rate limit.
#[derive(Clone)]
pub struct RateRule {
    pub(super) name: Arc<str>,
    pub(super) limit: RateLimitConfig,
    pub(super) per: Option<KeyOf>,
    pub(super) matches: Option<Matches>,
}

impl RateRule {
    /// One bucket for all requests; the name is that of events and receipts.
    #[must_use]
    pub const fn new(name: Arc<str>, limit: RateLimitConfig) -> Self {
        Self { name, limit, per: None, matches: None }
    }

    /// What has a bucket of its own. Default the service as a whole.
    #[must_use]
    pub fn with_per(mut self, per: Option<KeyOf>) -> Self {
        self.per = per;
        self
    }

    /// Which requests count. Default all.
    #[must_use]
    pub fn with_matches(
        mut self,
        matches: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.matches = Some(Arc::new(matches));
        self
    }
}

impl fmt::Debug for RateRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateRule")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .field("per", &self.per)
            .field("matches_all", &self.matches.is_none())
            .finish()
    }
}
