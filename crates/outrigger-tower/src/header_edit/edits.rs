use http::{HeaderMap, HeaderName, HeaderValue};

/// Changes of one head: first what is removed, then what is set, then what is added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

/// A header that a rule may not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be changed: {why}")]
#[non_exhaustive]
pub struct HeaderEditError {
    /// The header.
    pub name: HeaderName,
    /// What it is good for.
    pub why: &'static str,
}

impl HeaderEdits {
    /// No change.
    #[must_use]
    pub const fn new() -> Self {
        Self { remove: Vec::new(), set: Vec::new(), add: Vec::new() }
    }

    /// Every value of the name goes.
    ///
    /// # Errors
    /// [`HeaderEditError`] for a header that no rule may change.
    pub fn remove(mut self, name: HeaderName) -> Result<Self, HeaderEditError> {
        self.remove.push(allowed(name)?);
        Ok(self)
    }

    /// The value takes the place of every one that is there.
    ///
    /// # Errors
    /// [`HeaderEditError`] for a header that no rule may change.
    pub fn set(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, HeaderEditError> {
        self.set.push((allowed(name)?, value));
        Ok(self)
    }

    /// The value stands beside those that are there.
    ///
    /// # Errors
    /// [`HeaderEditError`] for a header that no rule may change.
    pub fn add(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, HeaderEditError> {
        self.add.push((allowed(name)?, value));
        Ok(self)
    }

    /// Whether nothing is changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Changes a head.
    pub fn apply(&self, headers: &mut HeaderMap) {
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

    /// Why no rule may change a header; `None` for all others.
    #[must_use]
    pub fn forbidden(name: &HeaderName) -> Option<&'static str> {
        match name.as_str() {
            "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-authenticate"
            | "proxy-authorization" => Some("it belongs to one connection"),
            "host" | "content-length" | "expect" => Some("it frames or routes the request"),
            "grpc-timeout"
            | "x-envoy-expected-rq-timeout-ms"
            | "traceparent"
            | "tracestate"
            | "b3" => Some("Outrigger writes it"),
            name if name.starts_with("x-outrigger-") || name.starts_with("x-b3-") => {
                Some("Outrigger writes it")
            }
            _ => None,
        }
    }
}

fn allowed(name: HeaderName) -> Result<HeaderName, HeaderEditError> {
    match HeaderEdits::forbidden(&name) {
        Some(why) => Err(HeaderEditError { name, why }),
        None => Ok(name),
    }
}
