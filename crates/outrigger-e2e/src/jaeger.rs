//! A real Jaeger for tests: started on free ports of loopback, ended by its own process id.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Process, lasting_port, until_some};
use crate::raw::Ask;

/// A running Jaeger, all in one and in memory.
#[derive(Debug)]
pub struct Jaeger {
    process: Process,
    query: SocketAddr,
    otlp: SocketAddr,
    _dir: tempfile::TempDir,
}

/// Where the program is: `OUTRIGGER_JAEGER_BIN`, else the tool cache.
#[must_use]
pub fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("OUTRIGGER_JAEGER_BIN") {
        return Some(path.into());
    }
    let tools = Path::new(&std::env::var_os("HOME")?).join(".cache/outrigger-tools");
    Some(tools.join("jaeger-1.65.0/jaeger")).filter(|path| path.is_file())
}

impl Jaeger {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// Those of files and processes, and `TimedOut` with the end of its log.
    ///
    /// # Panics
    /// When the program is not installed: whoever asks for real parts has them.
    pub fn start() -> io::Result<Self> {
        let Some(program) = program() else {
            panic!("there is no Jaeger: set OUTRIGGER_JAEGER_BIN or install it with .ci/install")
        };
        let dir = tempfile::tempdir()?;
        let [health, query, grpc, otlp, otlp_grpc] =
            [lasting_port()?, lasting_port()?, lasting_port()?, lasting_port()?, lasting_port()?];
        let config = format!(
            r#"service:
  extensions: [jaeger_storage, jaeger_query, healthcheckv2]
  pipelines:
    traces: {{receivers: [otlp], processors: [], exporters: [jaeger_storage_exporter]}}
  telemetry:
    resource: {{service.name: jaeger}}
    metrics: {{level: none}}
    logs: {{level: warn}}
extensions:
  healthcheckv2: {{use_v2: true, http: {{endpoint: "127.0.0.1:{health}"}}}}
  jaeger_query:
    storage: {{traces: some_store}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{grpc}"}}
  jaeger_storage:
    backends:
      some_store: {{memory: {{max_traces: 10000}}}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{otlp_grpc}"}}
      http: {{endpoint: "127.0.0.1:{otlp}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: some_store}}
"#
        );
        let file = dir.path().join("config.yaml");
        std::fs::write(&file, config)?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&file);
        let process = Process::start("jaeger", dir.path(), &mut command)?;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut jaeger = Self { process, query: at(query), otlp: at(otlp), _dir: dir };
        jaeger.wait_ready()?;
        Ok(jaeger)
    }

    fn wait_ready(&mut self) -> io::Result<()> {
        let (query, otlp) = (self.query, self.otlp);
        let answers = || {
            let query = Ask::new("GET", "/api/services").send(query).is_ok_and(|a| a.status == 200);
            (query && std::net::TcpStream::connect(otlp).is_ok()).then_some(())
        };
        until_some(Duration::from_secs(30), answers).ok_or_else(|| {
            io::Error::new(io::ErrorKind::TimedOut, format!("jaeger: {}", self.process.log()))
        })
    }

    /// Where OTLP over HTTP is taken.
    #[must_use]
    pub fn otlp(&self) -> String {
        format!("http://{}", self.otlp)
    }

    /// The spans of one trace, as the query API tells them; empty while it knows none.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn trace(&self, id: &str) -> io::Result<Vec<Span>> {
        let answer = Ask::new("GET", &format!("/api/traces/{id}")).send(self.query)?;
        let document = answer.json().unwrap_or_default();
        let trace = &document["data"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spans = trace["spans"].as_array().into_iter().flatten().map(|span| Span {
            id: text(&span["spanID"]),
            parent: span["references"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|reference| reference["refType"] == "CHILD_OF")
                .map(|reference| text(&reference["spanID"])),
            service: text(&trace["processes"][text(&span["processID"])]["serviceName"]),
            name: text(&span["operationName"]),
            kind: span["tags"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|tag| tag["key"] == "span.kind")
                .map(|tag| text(&tag["value"]))
                .unwrap_or_default(),
        });
        Ok(spans.collect())
    }
}

/// A span as Jaeger tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// Its id, hexadecimal.
    pub id: String,
    /// Its parent's, if it has one.
    pub parent: Option<String>,
    /// Whose span it is.
    pub service: String,
    /// What was done.
    pub name: String,
    /// `server`, `client` or `internal`.
    pub kind: String,
}
