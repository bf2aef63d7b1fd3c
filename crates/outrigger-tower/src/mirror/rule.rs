use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, header};
use outrigger_core::Ratio;

/// Which requests are copied, and what is done with the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirrorRule {
    /// Share of the requests. Default all.
    pub ratio: Ratio,
    /// The subset that the copies go to, by key. Default whatever the target chooses.
    pub subset: Option<Arc<str>>,
    /// Units: bytes. A request with a larger body is not copied. Default 64 KiB.
    pub body_limit: usize,
    /// Copies under way at once; beyond them none are made. Default 64.
    pub max_in_flight: u32,
    /// Time for a copy, to the end of its answer. Default 15 s.
    pub timeout: Duration,
    /// What of the two answers is compared. Default nothing.
    pub compare: Option<Compare>,
}

/// What of two answers is compared; statuses always are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compare {
    /// Headers whose values are compared. Default `content-type`.
    pub headers: Vec<HeaderName>,
    /// Units: bytes of each body that are compared; 0 compares none. Default 64 KiB.
    pub body_limit: usize,
}

impl Default for Compare {
    fn default() -> Self {
        Self { headers: vec![header::CONTENT_TYPE], body_limit: 64 * 1024 }
    }
}

impl Compare {
    /// These headers, and so much of the bodies.
    #[must_use]
    pub const fn new(headers: Vec<HeaderName>, body_limit: usize) -> Self {
        Self { headers, body_limit }
    }
}

impl Default for MirrorRule {
    fn default() -> Self {
        Self::new()
    }
}

impl MirrorRule {
    /// A copy of each request.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ratio: Ratio::ONE,
            subset: None,
            body_limit: 64 * 1024,
            max_in_flight: 64,
            timeout: Duration::from_secs(15),
            compare: None,
        }
    }

    /// Of a share of the requests.
    #[must_use]
    pub const fn with_ratio(mut self, ratio: Ratio) -> Self {
        self.ratio = ratio;
        self
    }

    /// To endpoints of this subset.
    #[must_use]
    pub fn with_subset(mut self, subset: Option<Arc<str>>) -> Self {
        self.subset = subset;
        self
    }

    /// Units: bytes that are copied of a request.
    #[must_use]
    pub const fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Bounds in number and in time.
    #[must_use]
    pub const fn with_bounds(mut self, max_in_flight: u32, timeout: Duration) -> Self {
        (self.max_in_flight, self.timeout) = (max_in_flight, timeout);
        self
    }

    /// What is compared.
    #[must_use]
    pub fn with_compare(mut self, compare: Option<Compare>) -> Self {
        self.compare = compare;
        self
    }
}
