//! Members of a fleet in this process.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use outrigger::core::BoxError;
use outrigger::{Builder, Fleet, Rules};
use outrigger_dev::Agent;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard, oneshot};
use tokio::time::{sleep, timeout};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Waits for one's turn.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) async fn agent() -> Agent {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Agent::builder().bind(address).await.expect("an agent")
}

/// The port of an agent that is not there yet.
pub(crate) async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

/// Somebody who calls and is not called; what the environment says of telemetry does not matter.
pub(crate) fn member(name: &str, consul: &str) -> Builder {
    outrigger::builder(name).consul(consul).notice(ms(50)).drain(ms(500))
}

/// Retries what the wire or the endpoint broke, as far as the budget allows.
pub(crate) fn retrying() -> Rules {
    use outrigger::retry::Condition::{ConnectFailure, RefusedStream, Reset, ServerError};
    let mut rules = Rules::default();
    rules.retry.attempts = 2;
    rules.retry.when = vec![ConnectFailure, RefusedStream, Reset, ServerError];
    // What is asked here is how often somebody is asked, and an ejected endpoint is not.
    rules.eject = None;
    rules
}

/// A service that serves until it is dropped.
pub(crate) struct Serving {
    pub(crate) fleet: Fleet,
    pub(crate) address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Serving {
    /// Serves `app`, and comes back as soon as it listens.
    pub(crate) async fn start<A, F>(builder: Builder, app: A) -> Self
    where
        A: Fn(Fleet, Request<outrigger::RequestBody>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send + 'static,
    {
        let fleet = builder.join().await.expect("joined");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (end, ended) = oneshot::channel();
        let service = tower::service_fn({
            let fleet = fleet.clone();
            move |request| app(fleet.clone(), request)
        });
        let task = tokio::spawn({
            let fleet = fleet.clone();
            async move {
                let ended = async {
                    // A sender that is gone means the same.
                    let _ = ended.await;
                };
                fleet.serve_until(listener, service, ended).await.expect("served");
            }
        });
        Self { fleet, address, end: Some(end), task }
    }

    /// Waits until the registry has it.
    pub(crate) async fn registered(self) -> Self {
        within(ms(10_000), "registration", self.fleet.registered()).await;
        self
    }

    /// Leaves in order.
    pub(crate) async fn end(mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        (&mut self.task).await.expect("it ends well");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves by passing each request on to `below`, and what comes back to whoever asked.
pub(crate) async fn hop(builder: Builder, below: &'static str) -> Serving {
    Serving::start(builder, move |fleet, request| pass_on(fleet, below, request)).await
}

/// One hop: the same method and path, asked of `below`.
pub(crate) async fn pass_on(
    fleet: Fleet,
    below: &'static str,
    request: Request<outrigger::RequestBody>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let url = format!("http://{below}{}", request.uri().path());
    let onward = Request::builder()
        .method(request.method().clone())
        .uri(url)
        .body(outrigger::Body::empty())?;
    let answer = fleet.send(onward).await?;
    let status = answer.status();
    let body = answer.into_body().bytes().await?;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}

/// An answer with a text.
pub(crate) fn text(body: impl Into<Bytes>) -> Result<Response<Full<Bytes>>, BoxError> {
    Ok(Response::new(Full::new(body.into())))
}

/// Waits no longer than `limit`.
pub(crate) async fn within<T>(limit: Duration, what: &str, wait: impl Future<Output = T>) -> T {
    let ended = timeout(limit, wait).await;
    ended.unwrap_or_else(|_| panic!("{what}: not within {limit:?}"))
}

/// Looks every 5 ms until it is so; says how long that took.
pub(crate) async fn until(
    limit: Duration,
    what: &str,
    mut is_so: impl FnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    within(limit, what, async {
        while !is_so() {
            sleep(ms(5)).await;
        }
    })
    .await;
    start.elapsed()
}

/// The value that this share of all values does not exceed.
pub(crate) fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let at = (values.len().saturating_sub(1) as f64 * share) as usize;
    values.get(at).copied().unwrap_or_default()
}
