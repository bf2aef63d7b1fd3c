//! The connections of a service, which all routes and all versions of its policy share.

use std::sync::OnceLock;

use outrigger_core::Endpoint;
use outrigger_http::{ClientTls, Pool, PoolConfig};
use outrigger_tower::ReplayBody;

use crate::Body;

/// The connections of a service, made when they are needed.
///
/// One kind of body for every call, hedged and copied ones too: a pool's code, hyper's and h2's
/// in it, is made for each kind, and takes more of the program than the rules do.
#[derive(Debug)]
pub(crate) struct Pools {
    config: PoolConfig,
    tls: Option<ClientTls>,
    pool: OnceLock<Pool<ReplayBody<Body>>>,
}

impl Pools {
    pub(crate) const fn new(config: PoolConfig, tls: Option<ClientTls>) -> Self {
        Self { config, tls, pool: OnceLock::new() }
    }

    pub(crate) fn pool(&self) -> Pool<ReplayBody<Body>> {
        let make = || match &self.tls {
            Some(tls) => Pool::with_tls(self.config.clone(), tls.clone()),
            None => Pool::new(self.config.clone()),
        };
        self.pool.get_or_init(make).clone()
    }

    /// Closes connections to endpoints that are not to be kept.
    pub(crate) fn retain(&self, keep: &dyn Fn(&Endpoint) -> bool) {
        if let Some(pool) = self.pool.get() {
            pool.retain(keep);
        }
    }
}
