//! Checks that the agent runs itself: HTTP, TCP and gRPC.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};

use crate::clock;
use crate::model::Status;
use crate::registration::{CheckDefinition, Probe};
use crate::shared::Shared;
use crate::signal::Gate;

mod grpc;

/// A check without a timeout is given up after this.
const TIMEOUT: Duration = Duration::from_secs(10);
/// As much of an answer as Consul keeps.
const BODY_MAX: usize = 4096;
/// Go's client gives up after as many.
const REDIRECTS_MAX: usize = 10;
/// The first run comes soon, spread so that many checks do not start at once. Consul spreads it over
/// the whole interval, which would only make people wait here.
const FIRST_WITHIN: Duration = Duration::from_millis(300);

/// Keeps one task for each check that has to be run, until it is dropped.
pub(crate) async fn supervise(shared: Arc<Shared>, interval_floor: Duration, gate: Gate) {
    let mut tasks = JoinSet::new();
    let mut running: HashMap<(String, u64), AbortHandle> = HashMap::new();
    let mut changes = shared.changes();
    let mut seen = 0;
    loop {
        changes.catch_up();
        let generation = shared.with(|state| state.local.generation);
        if generation != seen {
            seen = generation;
            let wanted = shared.with(|state| state.probes());
            running.retain(|(id, generation), task| {
                let keep = wanted.iter().any(|(i, g, _)| i == id && g == generation);
                if !keep {
                    task.abort();
                }
                keep
            });
            for (id, generation, definition) in wanted {
                running.entry((id.clone(), generation)).or_insert_with(|| {
                    let interval = definition.interval.max(interval_floor);
                    let check = Running {
                        shared: shared.clone(),
                        gate: gate.clone(),
                        id,
                        generation,
                        definition,
                        interval,
                    };
                    tasks.spawn(check.run())
                });
            }
        }
        while tasks.try_join_next().is_some() {}
        changes.changed().await;
    }
}

struct Running {
    shared: Arc<Shared>,
    gate: Gate,
    id: String,
    generation: u64,
    definition: CheckDefinition,
    interval: Duration,
}

impl Running {
    async fn run(self) {
        let first = FIRST_WITHIN.min(self.interval).mul_f64(fastrand::f64());
        tokio::time::sleep(first).await;
        loop {
            self.gate.pass().await;
            let (status, output) = run(&self.definition).await;
            self.gate.pass().await;
            let now = clock::since(self.shared.started);
            self.shared.with(|state| {
                state.probed(now, &self.id, self.generation, status, output);
            });
            self.shared.changed();
            tokio::time::sleep(self.interval).await;
        }
    }
}

/// Runs a check once.
async fn run(definition: &CheckDefinition) -> (Status, String) {
    let timeout = if definition.timeout.is_zero() { TIMEOUT } else { definition.timeout };
    let probe = async {
        match &definition.probe {
            Probe::Http { url, method, headers, body } => http(url, method, headers, body).await,
            Probe::Grpc { target, tls } => grpc::check(target, *tls).await,
            Probe::Tcp { address } => dial(address)
                .await
                .map(|_| (Status::Passing, format!("TCP connect {address}: Success"))),
            // Validation lets no other kind come here, and TTL checks are not run.
            other => Err(format!("{} checks are not run by this development agent", other.kind())),
        }
    };
    match tokio::time::timeout(timeout, probe).await {
        Ok(Ok(result)) => result,
        Ok(Err(why)) => (Status::Critical, why),
        Err(_) => (
            Status::Critical,
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned(),
        ),
    }
}

async fn dial(address: &str) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {address}: connect: {why}")
    })
}

async fn http(
    url: &str,
    method: &str,
    headers: &BTreeMap<String, Vec<String>>,
    body: &str,
) -> Result<(Status, String), String> {
    let method = if method.is_empty() { "GET" } else { method };
    let mut target = url.to_owned();
    for _ in 0..=REDIRECTS_MAX {
        let response = exchange(&target, method, headers, body).await?;
        let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        if let Some(location) = location.filter(|_| response.status().is_redirection()) {
            target = resolve(&target, location);
            continue;
        }
        let status = response.status();
        let reason = match response.extensions().get::<ReasonPhrase>() {
            Some(own) => String::from_utf8_lossy(own.as_bytes()).into_owned(),
            None => status.canonical_reason().unwrap_or_default().to_owned(),
        };
        let text = match Limited::new(response.into_body(), BODY_MAX).collect().await {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            // The verdict stands on the status; what is too long or broken is left out.
            Err(_) => String::new(),
        };
        let output = format!("HTTP {method} {url}: {} {reason} Output: {text}", status.as_u16());
        let verdict = match status.as_u16() {
            200..=299 => Status::Passing,
            429 => Status::Warning,
            _ => Status::Critical,
        };
        return Ok((verdict, output));
    }
    Err(format!("Get {url:?}: stopped after {REDIRECTS_MAX} redirects"))
}

async fn exchange(
    target: &str,
    method: &str,
    headers: &BTreeMap<String, Vec<String>>,
    body: &str,
) -> Result<Response<hyper::body::Incoming>, String> {
    let failed = |why: String| format!("Get {target:?}: {why}");
    let uri: Uri = target.parse().map_err(|e| failed(format!("invalid URL: {e}")))?;
    if uri.scheme_str() != Some("http") {
        return Err(failed("this development agent runs checks over http only".to_owned()));
    }
    let authority = uri.authority().ok_or_else(|| failed("no host".to_owned()))?;
    let port = authority.port_u16().unwrap_or(80);
    let host = authority.host();
    let stream = dial(&format!("{host}:{port}")).await.map_err(&failed)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(e.to_string()))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let method = Method::from_bytes(method.as_bytes()).map_err(|e| failed(e.to_string()))?;
    let mut request = Request::builder().method(method).uri(path);
    let has = |name: &str| headers.keys().any(|key| key.eq_ignore_ascii_case(name));
    for (name, default) in [
        (HOST, authority.as_str()),
        (USER_AGENT, "Consul Health Check"),
        (ACCEPT, "text/plain, text/*, */*"),
    ] {
        if !has(name.as_str()) {
            request = request.header(name, default);
        }
    }
    for (name, values) in headers {
        for value in values {
            request = request.header(name, value);
        }
    }
    let request =
        request.body(Full::new(Bytes::from(body.to_owned()))).map_err(|e| failed(e.to_string()))?;
    // The connection lives as long as the body that is read from it, and no longer than this task.
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|e| failed(e.to_string()));
    if response.is_err() {
        connection.abort();
    }
    response
}

fn resolve(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let origin_end =
        base.find("://").and_then(|at| base[at + 3..].find('/').map(|slash| at + 3 + slash));
    let origin = &base[..origin_end.unwrap_or(base.len())];
    let slash = if location.starts_with('/') { "" } else { "/" };
    format!("{origin}{slash}{location}")
}
