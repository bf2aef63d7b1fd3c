//! The admin surface of a member: what it shows is the member's state.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use outrigger_admin::{AdminError, Events, MetricsFormat, Reach, Readiness, Source, Surface};
use outrigger_core::{Clock, Observe, ServiceName};
use tokio::net::TcpListener;

use crate::client::WeakClient;
use crate::{Fleet, JoinError};

/// An admin surface whose port is claimed, and whose events are written from the first on.
pub(crate) struct Admin {
    address: SocketAddr,
    listener: TcpListener,
    events: Arc<Events>,
}

impl Admin {
    /// Claims the port, before anything is joined that would have to be left again.
    pub(crate) async fn bind(
        address: SocketAddr,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, JoinError> {
        if !address.ip().to_canonical().is_loopback() {
            let source = AdminError::NotLoopback { address }.into();
            return Err(JoinError::Admin { address, source });
        }
        let wrong = |source: std::io::Error| JoinError::Admin { address, source: source.into() };
        let listener = TcpListener::bind(address).await.map_err(wrong)?;
        Ok(Self { address, listener, events: Events::new(clock.wall()) })
    }

    pub(crate) fn observer(
        &self,
        service: &ServiceName,
        clock: &Arc<dyn Clock>,
    ) -> Arc<dyn Observe> {
        self.events.observer(service.as_str(), Arc::clone(clock))
    }

    /// Serves it for as long as the fleet lives.
    pub(crate) fn serve(self, fleet: &Fleet) -> Result<(), JoinError> {
        let Self { address, listener, events } = self;
        let member = Member(fleet.client().downgrade());
        let serving = Surface::new(Arc::new(member), events)
            .serve(listener, Reach::Loopback)
            .map_err(|error| JoinError::Admin { address, source: error.into() })?;
        tracing::info!(address = %serving.address(), "admin surface");
        // Given once, where the fleet is made.
        let _ = fleet.inner.admin.set(serving);
        Ok(())
    }
}

/// A member that is looked at, and not kept alive by that.
struct Member(WeakClient);

impl Member {
    fn fleet(&self) -> Option<Fleet> {
        self.0.upgrade().map(Fleet::of)
    }
}

impl Source for Member {
    fn readiness(&self) -> Readiness {
        match self.fleet() {
            Some(fleet) => fleet.readiness(),
            None => Readiness::ready().because("ended", "the member has ended"),
        }
    }

    fn state(&self) -> Option<Vec<u8>> {
        // Names are texts and numbers finite or null: there is nothing that JSON cannot say.
        serde_json::to_vec(&self.fleet()?.state()).ok()
    }

    fn metrics(&self, format: MetricsFormat) -> String {
        self.fleet().map(|fleet| fleet.metrics(format)).unwrap_or_default()
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Member")
    }
}

impl Fleet {
    /// Everything that is counted, as a scraper wants it.
    #[must_use]
    pub fn metrics(&self, format: MetricsFormat) -> String {
        let mut page = String::new();
        match format {
            MetricsFormat::OpenMetrics => {
                self.telemetry().metrics().encode_openmetrics(&mut page);
            }
            _ => self.telemetry().metrics().encode(&mut page),
        }
        page
    }
}
