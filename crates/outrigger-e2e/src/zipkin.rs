//! A real Zipkin for tests: started on a free loopback port, ended by its own process id.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::jaeger::Span;
use crate::process::{Process, lasting_port, until_some};
use crate::raw::Ask;

/// A running Zipkin, in memory.
#[derive(Debug)]
pub struct Zipkin {
    process: Process,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Zipkin {
    /// Starts one; it answers once [`Self::wait_ready`] says so, many seconds later.
    ///
    /// # Errors
    /// Those of files and processes.
    ///
    /// # Panics
    /// When it is not installed: whoever asks for it has it.
    pub fn start() -> io::Result<Self> {
        let Some(archive) = crate::polyglot::installed("OUTRIGGER_ZIPKIN_BIN") else {
            panic!(
                "there is no Zipkin: set OUTRIGGER_ZIPKIN_BIN or install it with .ci/install zipkin"
            )
        };
        let dir = tempfile::tempdir()?;
        let port = lasting_port()?;
        let mut command = Command::new("java");
        command
            .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", &archive])
            .env("QUERY_PORT", port.to_string())
            .env("JAVA_OPTS", "")
            // Its own calls are no business of a test.
            .env("SELF_TRACING_ENABLED", "false")
            .current_dir(dir.path());
        let process = Process::start("zipkin", dir.path(), &mut command)?;
        Ok(Self { process, address: (Ipv4Addr::LOCALHOST, port).into(), _dir: dir })
    }

    /// Waits until it answers.
    ///
    /// # Panics
    /// When it does not within two minutes.
    pub fn wait_ready(&self) {
        let answers = || {
            Ask::new("GET", "/health").send(self.address).is_ok_and(|answer| answer.status == 200)
        };
        let ready = until_some(Duration::from_secs(120), || answers().then_some(()));
        assert!(ready.is_some(), "zipkin does not answer: {}", self.process.log());
    }

    /// Where spans are taken, as `OTEL_EXPORTER_ZIPKIN_ENDPOINT` wants it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/api/v2/spans", self.address)
    }

    /// The spans of one trace, as the query API tells them; empty while it knows none.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn trace(&self, id: &str) -> io::Result<Vec<Span>> {
        let answer = Ask::new("GET", &format!("/api/v2/trace/{id}")).send(self.address)?;
        let document = answer.json().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spans = document.as_array().into_iter().flatten().map(|span| Span {
            id: text(&span["id"]),
            parent: span["parentId"].as_str().map(str::to_owned),
            service: text(&span["localEndpoint"]["serviceName"]),
            name: text(&span["name"]),
            kind: text(&span["kind"]).to_ascii_lowercase(),
        });
        Ok(spans.collect())
    }
}
