//! The connections of a service, which all routes and all versions of its policy share.

use std::sync::OnceLock;

use outrigger_core::Endpoint;
use outrigger_http::{ClientTls, OutboundBody, Pool, PoolConfig};
use outrigger_tower::{MirrorBody, ReplayBody};

use crate::Body;

/// The body of a try that may be hedged: it is kept twice.
pub(crate) type HedgedBody = ReplayBody<ReplayBody<Body>>;

/// The connections of a service: a pool for each kind of request body, made when it is needed.
#[derive(Debug)]
pub(crate) struct Pools {
    config: PoolConfig,
    tls: Option<ClientTls>,
    plain: OnceLock<Pool<ReplayBody<Body>>>,
    hedged: OnceLock<Pool<HedgedBody>>,
    mirrored: OnceLock<Pool<MirrorBody>>,
}

impl Pools {
    pub(crate) const fn new(config: PoolConfig, tls: Option<ClientTls>) -> Self {
        Self {
            config,
            tls,
            plain: OnceLock::new(),
            hedged: OnceLock::new(),
            mirrored: OnceLock::new(),
        }
    }

    pub(crate) fn plain(&self) -> Pool<ReplayBody<Body>> {
        self.plain.get_or_init(|| self.make()).clone()
    }

    pub(crate) fn hedged(&self) -> Pool<HedgedBody> {
        self.hedged.get_or_init(|| self.make()).clone()
    }

    pub(crate) fn mirrored(&self) -> Pool<MirrorBody> {
        self.mirrored.get_or_init(|| self.make()).clone()
    }

    fn make<B: OutboundBody>(&self) -> Pool<B> {
        match &self.tls {
            Some(tls) => Pool::with_tls(self.config.clone(), tls.clone()),
            None => Pool::new(self.config.clone()),
        }
    }

    /// Closes connections to endpoints that are not to be kept.
    pub(crate) fn retain(&self, keep: &dyn Fn(&Endpoint) -> bool) {
        if let Some(pool) = self.plain.get() {
            pool.retain(keep);
        }
        if let Some(pool) = self.hedged.get() {
            pool.retain(keep);
        }
        if let Some(pool) = self.mirrored.get() {
            pool.retain(keep);
        }
    }
}
