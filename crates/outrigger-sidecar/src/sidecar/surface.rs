//! What a sidecar shows of itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::sync::Arc;

use outrigger::Fleet;
use outrigger::admin::{Events, MetricsFormat, Reach, Readiness, Serving, Source, Surface};
use outrigger::core::ServiceName;

use crate::correlate::Correlation;
use crate::outbound::TcpCounts;
use crate::tls::Trouble;
use crate::{Addresses, SidecarError, TlsFiles};

/// What the pages of a sidecar are made of.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) fleet: Fleet,
    pub(super) addresses: Addresses,
    pub(super) correlation: Arc<Correlation>,
    pub(super) tcp: BTreeMap<ServiceName, Arc<TcpCounts>>,
    /// What callers are shown, and what is wrong with it.
    pub(super) tls: Option<(TlsFiles, Trouble)>,
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
        let tcp = self.tcp.iter().map(|(service, counts)| {
            let (forth, back) = counts.bytes();
            let counts = serde_json::json!({
                "connections": counts.connections(),
                "open": counts.open(),
                "failed": counts.failed(),
                "bytes_forth": forth,
                "bytes_back": back,
            });
            (service.to_string(), counts)
        });
        state.more.insert("tcp".to_owned(), tcp.collect::<serde_json::Map<_, _>>().into());
        if let Some((files, trouble)) = &self.tls {
            let tls = serde_json::json!({
                "cert": files.cert.display().to_string(),
                "error": trouble.now().as_deref(),
            });
            state.more.insert("tls".to_owned(), tls);
        }
        // Names are texts and numbers finite: there is nothing that JSON cannot say.
        serde_json::to_vec(&state).ok()
    }

    fn metrics(&self, format: MetricsFormat) -> String {
        let mut page = self.fleet.metrics(format);
        let end = if page.ends_with(EOF) {
            page.split_off(page.len() - EOF.len())
        } else {
            String::new()
        };
        self.add_own(&mut page, format);
        page.push_str(&end);
        page
    }
}

/// How a page of OpenMetrics ends.
const EOF: &str = "# EOF\n";

impl Shown {
    /// What only a sidecar counts.
    fn add_own(&self, page: &mut String, format: MetricsFormat) {
        // In Prometheus' own format the type is that of the sample, with its ending.
        let ending = if format == MetricsFormat::OpenMetrics { "" } else { "_total" };
        let name = "outrigger_sidecar_calls";
        let _ = writeln!(
            page,
            "# HELP {name}{ending} Calls of the application, by whether they named a request or a trace."
        );
        let _ = writeln!(page, "# TYPE {name}{ending} counter");
        let calls =
            [(true, self.correlation.correlated()), (false, self.correlation.uncorrelated())];
        for (correlated, count) in calls {
            let _ = writeln!(page, "{name}_total{{correlated=\"{correlated}\"}} {count}");
        }
        if self.tcp.is_empty() {
            return;
        }
        let name = "outrigger_sidecar_tcp_bytes";
        let _ = writeln!(
            page,
            "# HELP {name}{ending} Bytes through plain TCP upstreams, of connections that have ended."
        );
        let _ = writeln!(page, "# TYPE {name}{ending} counter");
        for (service, counts) in &self.tcp {
            let (forth, back) = counts.bytes();
            for (direction, bytes) in [("forth", forth), ("back", back)] {
                let _ = writeln!(
                    page,
                    "{name}_total{{service=\"{service}\",direction=\"{direction}\"}} {bytes}"
                );
            }
        }
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
