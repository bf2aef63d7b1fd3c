//! What a sidecar shows of itself.

use std::net::TcpListener;
use std::sync::Arc;

use outrigger::Fleet;
use outrigger::admin::{Events, MetricsFormat, Reach, Readiness, Serving, Source, Surface};

use crate::correlate::Correlation;
use crate::{Addresses, SidecarError};

/// What the pages of a sidecar are made of.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) fleet: Fleet,
    pub(super) addresses: Addresses,
    pub(super) correlation: Arc<Correlation>,
}

impl Source for Shown {
    fn readiness(&self) -> Readiness {
        if self.addresses.inbound.is_none() {
            // The application's calls are served from the start.
            return Readiness::ready();
        }
        self.fleet.readiness()
    }

    fn state(&self) -> Option<Vec<u8>> {
        let mut state = self.fleet.state();
        let listeners = &mut state.listeners;
        let mut list = |name: &str, place: String| listeners.insert(name.to_owned(), place);
        if let Some(inbound) = self.addresses.inbound {
            list("inbound", inbound.to_string());
        }
        list("outbound", self.addresses.outbound.to_string());
        list("admin", self.addresses.admin.to_string());
        if let Some(probe) = self.addresses.probe {
            list("probe", probe.to_string());
        }
        for (service, address) in &self.addresses.upstreams {
            list(&format!("upstream {service}"), address.to_string());
        }
        let calls = serde_json::json!({
            "correlated": self.correlation.correlated(),
            "uncorrelated": self.correlation.uncorrelated(),
            "forward": "traceparent, b3 or x-request-id",
        });
        state.more.insert("calls".to_owned(), calls);
        // Names are texts and numbers finite: there is nothing that JSON cannot say.
        serde_json::to_vec(&state).ok()
    }

    fn metrics(&self, format: MetricsFormat) -> String {
        self.fleet.metrics(format)
    }
}

/// The surfaces that serve, for as long as this lives.
#[derive(Debug)]
pub(super) struct Surfaces {
    admin: Serving,
    probe: Option<Serving>,
}

impl Surfaces {
    /// Serves the pages on loopback, and health and metrics where others ask for them.
    pub(super) fn serve(
        shown: Shown,
        events: Arc<Events>,
        admin: TcpListener,
        probe: Option<TcpListener>,
    ) -> Result<Self, SidecarError> {
        let addresses = shown.addresses.clone();
        let surface = Surface::new(Arc::new(shown), events);
        let wrong = |what: &str, address: String, source: std::io::Error| SidecarError::Taken {
            what: what.to_owned(),
            address,
            source,
        };
        let at = addresses.admin.to_string();
        let listener = tokio::net::TcpListener::from_std(admin)
            .map_err(|error| wrong("--admin", at.clone(), error))?;
        let admin = surface
            .serve(listener, Reach::Loopback)
            .map_err(|error| wrong("--admin", at, std::io::Error::other(error)))?;
        let probe = match probe {
            Some(probe) => {
                let at = addresses.probe.map(|at| at.to_string()).unwrap_or_default();
                let listener = tokio::net::TcpListener::from_std(probe)
                    .map_err(|error| wrong("--probe", at.clone(), error))?;
                let serving = surface.serve_probe(listener);
                Some(serving.map_err(|e| wrong("--probe", at, std::io::Error::other(e)))?)
            }
            None => None,
        };
        Ok(Self { admin, probe })
    }

    /// Ends both, and lets whoever reads finish.
    pub(super) async fn stop(self) {
        self.admin.stop().await;
        if let Some(probe) = self.probe {
            probe.stop().await;
        }
    }
}
