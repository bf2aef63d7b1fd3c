//! One service of the demo fleet as a process of its own, for containers and end-to-end tests.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::board::Board;
use super::report::{ChapterReport, Report};
use super::services::{Knobs, Role, Service};
use super::{load, policies};
use crate::cli::DemoArgs;
use crate::{Exit, clock, print};

/// How long a probe waits for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

fn builder(name: &str) -> outrigger::Builder {
    outrigger::builder(name).version(env!("CARGO_PKG_VERSION"))
}

/// Serves as one instance of a service until SIGTERM, then drains.
///
/// Environment: `PORT` (0 or absent: any), `OUTRIGGER_BIND` (default 127.0.0.1), and everything
/// that the library reads: `OUTRIGGER_CONSUL`, `OUTRIGGER_ADVERTISE`, `OTEL_*`, … A registry
/// without the demo's policies is given them.
pub(crate) async fn run(role: Role) -> Result<Exit> {
    let port = port()?;
    let host = std::env::var("OUTRIGGER_BIND").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let providing = tokio::spawn(async {
        if let Err(error) = policies::provide().await {
            print::note(&format!("no policies for the registry: {error:#}"));
        }
    });
    let fleet = builder(role.as_str()).join().await?;
    let listener = TcpListener::bind((host.as_str(), port))
        .await
        .with_context(|| format!("{host}:{port} is taken or cannot be listened on"))?;
    let address: SocketAddr = listener.local_addr()?;
    print::note(&format!("{} listens on {address}", role.as_str()));
    let name = std::env::var("HOSTNAME").map_or_else(
        |_| format!("{}-{}", role.as_str(), address.port()),
        |host| format!("{}-{host}", role.as_str()),
    );
    let service = Service::new(role, &name, fleet.clone(), Arc::new(Knobs::default()));
    fleet.serve(listener, service).await?;
    providing.abort();
    fleet.shutdown(Duration::from_secs(5)).await;
    Ok(Exit::Done)
}

fn port() -> Result<u16> {
    match std::env::var("PORT") {
        Ok(text) => text.parse().with_context(|| format!("PORT={text}: allowed is 0 to 65535")),
        Err(_) => Ok(0),
    }
}

/// Asks the service that [`run`] made of this container's other process; an image from scratch has
/// no program that could.
pub(crate) async fn probe() -> Result<Exit> {
    let address = (Ipv4Addr::LOCALHOST, port()?);
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(1_024).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(PROBE_TIMEOUT, ask)
        .await
        .with_context(|| format!("no answer within {PROBE_TIMEOUT:?}"))?
        .with_context(|| format!("nothing listens on port {}", address.1))?;
    let status = String::from_utf8_lossy(&answer);
    let status = status.lines().next().unwrap_or_default();
    print::note(status);
    Ok(if status.split(' ').nth(1) == Some("200") { Exit::Done } else { Exit::DoesNotHold })
}

/// Visits a fleet that runs elsewhere for `--for`, and reports.
pub(crate) async fn visit(arguments: &DemoArgs) -> Result<Exit> {
    let board = Board::new();
    let [figures, events] = board.observers("visitors");
    let mut visitors = builder("visitors").observer(figures).observer(events);
    if let Some(url) = &arguments.registry {
        visitors = visitors.consul(url.clone());
    }
    let visitors = visitors.join().await?;
    super::warm_up(&visitors).await.context("the fleet does not answer")?;
    let began = clock::now();
    let load = tokio::spawn(load::run(visitors.clone(), Arc::clone(&board), arguments.rate));
    tokio::time::sleep(arguments.span).await;
    load.abort();
    visitors.shutdown(Duration::from_secs(2)).await;
    let seconds = (clock::now() - began).as_secs_f64();
    let tally = board.chapter();
    let visit = ChapterReport {
        name: "visit",
        promise: "no failed request",
        kept: tally.failed == 0 && tally.requests > 0,
        requests: tally.requests,
        failed: tally.failed,
        degraded: tally.degraded,
        measured: format!("{} took over a second", tally.slow),
        figures: BTreeMap::new(),
        broken_because: Vec::new(),
    };
    let report = Report::new(&board, vec![visit], seconds);
    if arguments.json {
        print::result(&serde_json::to_string(&report)?);
    } else {
        print::result(&report.text());
    }
    Ok(report.exit())
}
