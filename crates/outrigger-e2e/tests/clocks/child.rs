//! The process under test: a service with a rate limit, and one that calls a flaky one through a
//! circuit.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use outrigger::breaker::BreakerConfig;
use outrigger::{Builder, Fleet, Inbound, InboundRate, Rules};
use tokio::net::TcpListener;
use tower::service_fn;

/// Names the directory for the ports, and makes this program the process under test.
pub(crate) const VARIABLE: &str = "OUTRIGGER_CLOCKS_CHILD";
/// Requests a second that are admitted.
pub(crate) const RATE: f64 = 50.0;
/// Requests at once that are admitted.
pub(crate) const BURST: u32 = 20;
/// How long the circuit stays open.
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(2);

type Answer = Result<Response<Full<Bytes>>, Infallible>;

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    Ok(response)
}

async fn serve<F, A>(builder: Builder, handler: F) -> SocketAddr
where
    F: Fn(Request<outrigger::RequestBody>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let fleet = builder.consul("none").join().await.expect("valid");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        fleet.serve_until(listener, service_fn(handler), std::future::pending()).await
    });
    address
}

async fn caller(flaky: SocketAddr) -> Fleet {
    let mut rules = Rules::default();
    let mut breaker = BreakerConfig::default();
    breaker.consecutive_failures = Some(5.try_into().expect("not zero"));
    (breaker.open_for, breaker.max_open_for) = (OPEN_FOR, OPEN_FOR);
    breaker.jitter = "0".parse().expect("a ratio");
    (rules.breaker, rules.eject) = (Some(breaker), None);
    let caller = outrigger::builder("caller").consul("none").rules(rules);
    caller.endpoints("flaky", [flaky]).expect("a name").join().await.expect("valid")
}

/// Serves until it is killed, when the variable is there; nothing at all otherwise.
pub(crate) async fn run() {
    let Some(dir) = std::env::var_os(VARIABLE) else { return };
    let mut inbound = Inbound::default();
    let rate = InboundRate::new(format!("{RATE}/s").parse().expect("a rate"));
    inbound.rate_limits.push(rate.with_burst(BURST.try_into().expect("not zero")));
    let limited = outrigger::builder("limited").inbound(inbound);
    let limited = serve(limited, |_| async { text(StatusCode::OK, "yes") }).await;

    let well = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&well);
    let flaky =
        serve(outrigger::builder("flaky"), move |_| {
            let well = state.load(Ordering::SeqCst);
            async move {
                text(if well { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, "")
            }
        })
        .await;
    let caller = caller(flaky).await;
    let front = serve(outrigger::builder("front"), move |request| {
        let (caller, well) = (caller.clone(), Arc::clone(&well));
        async move { answer(request.uri().path(), &caller, &well).await }
    })
    .await;

    let dir = Path::new(&dir);
    // Renamed, so that nobody reads half of it.
    let ports = format!("{} {}", limited.port(), front.port());
    std::fs::write(dir.join("ports.new"), ports).expect("written");
    std::fs::rename(dir.join("ports.new"), dir.join("ports")).expect("renamed");
    std::future::pending::<()>().await;
}

async fn answer(path: &str, caller: &Fleet, well: &AtomicBool) -> Answer {
    match path {
        "/wall" => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            text(StatusCode::OK, now.as_secs().to_string())
        }
        "/mend" | "/break" => {
            well.store(path == "/mend", Ordering::SeqCst);
            text(StatusCode::OK, "")
        }
        _ => match caller.get("http://flaky/").await {
            Ok(response) => text(StatusCode::OK, response.status().as_str().to_owned()),
            Err(error) => {
                text(StatusCode::OK, error.reason().map_or("error", |reason| reason.as_str()))
            }
        },
    }
}
