//! What is known while one policy is rendered.

use outrigger_core::ServiceName;
use outrigger_policy::{Parsed, Policy};

use crate::lines::Lines;
use crate::render::Options;

/// What is known while one policy is rendered.
pub(crate) struct Scene<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) service: &'p ServiceName,
    pub(crate) lines: Lines,
    pub(crate) options: &'p Options,
    pub(crate) head: String,
}

impl<'p> Scene<'p> {
    pub(crate) fn new(parsed: &'p Parsed, service: &'p ServiceName, options: &'p Options) -> Self {
        let name = parsed.name().rsplit(['/', '\\']).next().unwrap_or_default();
        let head = format!(
            "Rendered by `outrigger render` from {name}, version {}; a change is made there.",
            parsed.version
        );
        Self { policy: &parsed.policy, service, lines: Lines::of(parsed), options, head }
    }

    /// What callers ask for inside of the mesh.
    pub(crate) fn host(&self) -> &str {
        let named = self.policy.mesh.as_ref().and_then(|mesh| mesh.host.as_deref());
        named.unwrap_or_else(|| self.service.as_str())
    }

    pub(crate) fn port(&self) -> u16 {
        self.policy.mesh.as_ref().map_or(80, |mesh| mesh.port)
    }
}
