//! What a child of `run` finds in its environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;

use outrigger::core::ServiceName;

/// What the child must be told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facts {
    /// Where the child is to listen.
    pub port: u16,
    /// Where outbound listens; `None` when that is a unix socket, which no proxy variable names.
    pub outbound: Option<SocketAddr>,
    /// What stands for outbound in `OUTRIGGER_OUTBOUND`.
    pub outbound_text: String,
    /// Where the admin surface is.
    pub admin: SocketAddr,
    /// The service's name.
    pub service: ServiceName,
    /// The service's version.
    pub version: Option<String>,
    /// The zone it runs in.
    pub zone: Option<String>,
    /// The local port of each service that has one, and whether it carries plain bytes.
    pub upstreams: Vec<(ServiceName, SocketAddr, bool)>,
}

impl Facts {
    /// Facts of a service that knows no more than where it listens and what it calls through.
    #[must_use]
    pub fn new(service: ServiceName, port: u16, outbound: SocketAddr, admin: SocketAddr) -> Self {
        Self {
            port,
            outbound: Some(outbound),
            outbound_text: outbound.to_string(),
            admin,
            service,
            version: None,
            zone: None,
            upstreams: Vec::new(),
        }
    }
}

/// The environment of a child, and what is worth telling about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// Variables that are set, over those that are inherited.
    pub set: BTreeMap<String, OsString>,
    /// Variables that are not inherited.
    pub removed: Vec<&'static str>,
    /// What was there before and does not work any more, one line each.
    pub notes: Vec<String>,
}

/// Flags of this very process: inherited, a nested command would take them for its own, and a Rust
/// program its sidecar's file for the library's.
const OURS_ALONE: &[&str] = &[
    "OUTRIGGER_CONFIG",
    "OUTRIGGER_PORT",
    "OUTRIGGER_SOCKET",
    "OUTRIGGER_PROTOCOL",
    "OUTRIGGER_WORKERS",
    "OUTRIGGER_INBOUND",
    "OUTRIGGER_TLS_CERT",
    "OUTRIGGER_TLS_KEY",
    "OUTRIGGER_ADVERTISE",
    "OUTRIGGER_PROBE",
    "OUTRIGGER_CHECK",
    "OUTRIGGER_JSON",
    "OUTRIGGER_HEALTH",
    "OUTRIGGER_NO_REGISTER",
    "OUTRIGGER_UPSTREAM",
    "OUTRIGGER_LANGUAGE",
    "OUTRIGGER_VERSION",
    "OUTRIGGER_TAG",
];

/// Whom nobody reaches through a proxy: this machine.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Environment {
    /// What a child gets, over the environment that `inherited` looks up.
    #[must_use]
    pub fn of(facts: &Facts, inherited: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut environment = Self { removed: OURS_ALONE.to_vec(), ..Self::default() };
        let inherited = |name: &str| inherited(name).filter(|value| !value.is_empty());
        environment.put("PORT", facts.port.to_string());
        if let Some(outbound) = facts.outbound {
            environment.proxy(outbound, &inherited);
        }
        for (service, address, is_tcp) in &facts.upstreams {
            let scheme = if *is_tcp { "tcp" } else { "http" };
            environment.put(&url_variable(service), format!("{scheme}://{address}"));
        }
        environment.telemetry(facts, &inherited);
        environment.put("OUTRIGGER_BESIDE", "1");
        environment.put("OUTRIGGER_OUTBOUND", &facts.outbound_text);
        environment.put("OUTRIGGER_ADMIN", facts.admin.to_string());
        environment.put("OUTRIGGER_SERVICE", facts.service.as_str());
        environment
    }

    fn put(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.set.insert(name.to_owned(), value.as_ref().to_owned());
    }

    fn proxy(&mut self, outbound: SocketAddr, inherited: &impl Fn(&str) -> Option<OsString>) {
        let url = format!("http://{outbound}");
        for name in ["HTTP_PROXY", "http_proxy"] {
            let before = inherited(name).map(|value| value.to_string_lossy().into_owned());
            // Another sidecar's, when commands are nested, is no proxy that anybody set up.
            let is_parents = inherited("OUTRIGGER_BESIDE").is_some();
            if let Some(before) = before.filter(|before| *before != url && !is_parents) {
                let shown = before.rsplit('@').next().unwrap_or_default();
                let shown: String = shown.chars().filter(|c| !c.is_control()).take(64).collect();
                self.notes.push(format!(
                    "{name} was {shown} and is this sidecar now: what is no known service is \
                     asked directly"
                ));
            }
            self.put(name, &url);
        }
        let mut hosts: Vec<String> = Vec::new();
        for name in ["NO_PROXY", "no_proxy"] {
            let before = inherited(name).map(|value| value.to_string_lossy().into_owned());
            let before = before.unwrap_or_default();
            hosts
                .extend(before.split(',').map(str::trim).filter(|h| !h.is_empty()).map(Into::into));
        }
        if hosts.iter().any(|host| host == "*") {
            hosts.retain(|host| host != "*");
            self.notes.push(
                "NO_PROXY was `*`, which would let every call pass this sidecar: left out".into(),
            );
        }
        hosts.extend(LOOPBACK.map(str::to_owned));
        let mut seen = std::collections::BTreeSet::new();
        hosts.retain(|host| seen.insert(host.clone()));
        let hosts = hosts.join(",");
        self.put("NO_PROXY", &hosts);
        self.put("no_proxy", &hosts);
        self.put("NODE_USE_ENV_PROXY", "1");
        let mut options = inherited("JAVA_TOOL_OPTIONS").unwrap_or_default();
        if !options.is_empty() {
            options.push(" ");
        }
        options.push(format!(
            "-Dhttp.proxyHost={} -Dhttp.proxyPort={} \
             -Dhttp.nonProxyHosts=localhost|127.*|[::1]|0:0:0:0:0:0:0:1",
            outbound.ip(),
            outbound.port()
        ));
        self.put("JAVA_TOOL_OPTIONS", options);
    }

    /// What OpenTelemetry's libraries read, each unless it is set already. Where to send to is
    /// inherited: it is the address that the sidecar itself sends to, and without one nothing is
    /// sent.
    fn telemetry(&mut self, facts: &Facts, inherited: &impl Fn(&str) -> Option<OsString>) {
        let mut attributes = Vec::new();
        for (key, value) in
            [("service.version", &facts.version), ("cloud.availability_zone", &facts.zone)]
        {
            attributes.extend(value.as_ref().map(|value| format!("{key}={}", encoded(value))));
        }
        for (name, value) in [
            ("OTEL_SERVICE_NAME", facts.service.as_str().to_owned()),
            ("OTEL_PROPAGATORS", "tracecontext,baggage".to_owned()),
            ("OTEL_RESOURCE_ATTRIBUTES", attributes.join(",")),
        ] {
            // A nested command names its own child, not its parent's.
            let is_parents = name == "OTEL_SERVICE_NAME"
                && inherited(name) == inherited("OUTRIGGER_SERVICE")
                && inherited("OUTRIGGER_BESIDE").is_some();
            if !value.is_empty() && (inherited(name).is_none() || is_parents) {
                self.put(name, value);
            }
        }
    }
}

/// `inventory-eu.v2` is found at `INVENTORY_EU_V2_URL`.
#[must_use]
pub fn url_variable(service: &ServiceName) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = service.as_str().chars().map(word).collect();
    format!("{name}_URL")
}

/// A value as OTEL_RESOURCE_ATTRIBUTES wants it: what baggage would not hold is encoded.
fn encoded(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+:/".contains(&b);
    let mut out = String::new();
    for byte in value.bytes() {
        if plain(byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
