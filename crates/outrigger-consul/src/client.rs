//! What all parts of the adapter share: questions in, judged answers out.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use outrigger_core::ServiceName;
use outrigger_discovery::RegistryError;
use tokio::runtime::Handle;
use tokio::sync::{SemaphorePermit, watch};

use crate::ask::Ask;
use crate::gate::Gate;
use crate::index::Told;
use crate::tls::Tls;
use crate::token::TokenKeeper;
use crate::wire::{Connection, Lane, Reply, Target, WireError};
use crate::{ConfigError, ConsulConfig};

/// An answer that may be read.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) told: Told,
    /// False only where [`Ask::may_miss`] allowed a 404.
    pub(crate) found: bool,
    pub(crate) body: Bytes,
}

/// What all parts of the adapter share.
pub(crate) struct Client {
    pub(crate) config: ConsulConfig,
    pub(crate) runtime: Handle,
    pub(crate) gate: Arc<Gate>,
    pub(crate) token: TokenKeeper,
    /// Connections for blocking queries.
    pub(crate) watches: Lane,
    /// Connections for everything that is answered at once.
    pub(crate) rest: Lane,
    target: Arc<Target>,
    host: HeaderValue,
    /// How many watches there are: more than connections, and they take turns.
    following: watch::Sender<usize>,
    seen: Mutex<HashMap<Option<Arc<str>>, BTreeSet<ServiceName>>>,
}

impl Client {
    pub(crate) fn new(config: ConsulConfig) -> Result<Arc<Self>, ConfigError> {
        config.validate()?;
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let tls = Tls::new(&config.address, &config.tls)?;
        let host = match &config.address {
            crate::AgentAddress::Tcp { .. } => {
                let text = config.address.to_string();
                let host = text.split_once("://").map_or(&*text, |(_, host)| host).to_owned();
                HeaderValue::try_from(host)
                    .map_err(|_| ConfigError::value("address", &text, "a plain host"))?
            }
            crate::AgentAddress::Unix(_) => HeaderValue::from_static("localhost"),
        };
        let target = Arc::new(Target {
            address: config.address.clone(),
            tls,
            connect_timeout: config.connect_timeout,
            max_answer: config.max_answer,
            dialer: Arc::clone(&config.dialer),
            open: Arc::default(),
        });
        let client = Arc::new(Self {
            gate: Arc::new(Gate::new(config.observers.clone())),
            token: TokenKeeper::new(&config.token)?,
            watches: Lane::new(Arc::clone(&target), config.max_watches),
            rest: Lane::new(Arc::clone(&target), 4),
            host,
            target,
            following: watch::Sender::new(0),
            seen: Mutex::default(),
            runtime,
            config,
        });
        client.watch_token_file();
        Ok(client)
    }

    /// A lane of its own, for one registration's heartbeats.
    pub(crate) fn own_lane(&self) -> Lane {
        Lane::new(Arc::clone(&self.target), 1)
    }

    pub(crate) fn now(&self) -> std::time::Instant {
        self.config.clock.now()
    }

    /// Asks over a lane and judges the answer, all within `within`.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        lane: &Lane,
        ask: &Ask,
        within: Duration,
    ) -> Result<Answered, RegistryError> {
        let asking = async {
            let permit = lane.admit().await;
            self.ask_denied_twice(lane, &permit, ask).await
        };
        self.bound(asking, ask, within).await
    }

    /// A connection for one whose turn it is.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        lane: &Lane,
        ask: &Ask,
    ) -> Result<Connection, RegistryError> {
        let connecting = async { lane.connection().await.map_err(|error| self.name(ask, error)) };
        // Whether there is an answer is not known yet.
        let result = connecting.await;
        if let Err(error) = &result {
            self.suspect(error.class());
        }
        result
    }

    /// Asks over one connection and no other, within a time.
    pub(crate) async fn ask_over(
        self: &Arc<Self>,
        lane: &Lane,
        permit: SemaphorePermit<'_>,
        connection: Connection,
        ask: &Ask,
        within: Duration,
    ) -> Result<Answered, RegistryError> {
        let asking = async {
            let sent = lane.send_over(connection, self.request(ask), &permit).await;
            judge(ask, sent.map_err(|error| self.name(ask, error))?)
        };
        let result = self.bound(asking, ask, within).await;
        if result.as_ref().is_err_and(RegistryError::is_denied) {
            // Whoever waits for another token is woken when the file holds one by now.
            self.token.reread();
        }
        result
    }

    async fn ask_denied_twice(
        &self,
        lane: &Lane,
        permit: &SemaphorePermit<'_>,
        ask: &Ask,
    ) -> Result<Answered, RegistryError> {
        match self.ask_once(lane, permit, ask).await {
            // The file may hold another token by now; once, so that two wrong ones do not loop.
            Err(error) if error.is_denied() && self.token.reread() => {
                self.ask_once(lane, permit, ask).await
            }
            other => other,
        }
    }

    async fn bound(
        self: &Arc<Self>,
        asking: impl Future<Output = Result<Answered, RegistryError>>,
        ask: &Ask,
        within: Duration,
    ) -> Result<Answered, RegistryError> {
        let result = tokio::time::timeout(within, asking).await;
        let result =
            result.unwrap_or(Err(RegistryError::Timeout { what: ask.what, after: within }));
        match &result {
            Err(error @ (RegistryError::Unreachable { .. } | RegistryError::Timeout { .. })) => {
                self.suspect(error.class());
            }
            _ => self.gate.answered(self.now()),
        }
        result
    }

    /// The same over the common lane, within the configured time.
    pub(crate) async fn ask_plain(self: &Arc<Self>, ask: &Ask) -> Result<Answered, RegistryError> {
        self.ask(&self.rest, ask, self.config.timeout).await
    }

    fn suspect(self: &Arc<Self>, class: &'static str) {
        let client = Arc::downgrade(self);
        let lane = Arc::new(self.own_lane());
        let within = self.config.timeout.min(Duration::from_secs(2));
        self.gate.suspect(class, &self.runtime, move || {
            let (client, lane) = (client.clone(), Arc::clone(&lane));
            async move {
                // Needs no right, and is answered without a leader too.
                let ask = Ask::get("the leader", "/v1/status/leader");
                let Some(client) = client.upgrade() else { return true };
                let asking = async { client.ask_once(&lane, &lane.admit().await, &ask).await };
                let result = tokio::time::timeout(within, asking).await;
                result.is_ok_and(|r| !matches!(r, Err(RegistryError::Unreachable { .. })))
            }
        });
    }

    async fn ask_once(
        &self,
        lane: &Lane,
        permit: &SemaphorePermit<'_>,
        ask: &Ask,
    ) -> Result<Answered, RegistryError> {
        let sent = lane.send(self.request(ask), permit).await;
        judge(ask, sent.map_err(|error| self.name(ask, error))?)
    }

    fn request(&self, ask: &Ask) -> Request<Full<Bytes>> {
        const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
        const NAMESPACE: HeaderName = HeaderName::from_static("x-consul-namespace");
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        let target = ask.target.parse();
        *request.uri_mut() = target.expect("segments and parameters are percent-encoded");
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        if let Some(token) = self.token.header() {
            headers.insert(TOKEN, token);
        }
        if let Some(basic) = &self.config.basic_auth {
            headers.insert(header::AUTHORIZATION, basic.header.clone());
        }
        let namespace = self.config.namespace.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(namespace)) = namespace {
            headers.insert(NAMESPACE, namespace);
        }
        request
    }

    fn name(&self, ask: &Ask, error: WireError) -> RegistryError {
        let what = ask.what;
        match error {
            WireError::Unreachable(source) => {
                let registry = self.config.address.to_string().into();
                RegistryError::Unreachable { registry, source }
            }
            WireError::Answer(class, source) => {
                RegistryError::Answer { what, class, source: Some(source) }
            }
            WireError::TooLong => RegistryError::Answer { what, class: "too_long", source: None },
        }
    }

    // A token may be replaced while a watch waits; the agent does not wake that watch.
    fn watch_token_file(self: &Arc<Self>) {
        if !self.token.is_file() {
            return;
        }
        let client = Arc::downgrade(self);
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(2)).await;
                let Some(client) = client.upgrade() else { return };
                if client.token.reread() {
                    tracing::info!("token file read again");
                }
            }
        });
    }

    /// Connections to the agent that are open, of all lanes.
    pub(crate) fn connections(&self) -> usize {
        // One is this target's own.
        Arc::strong_count(&self.target.open) - 1
    }

    /// Counts one more watch for as long as the guard lives.
    pub(crate) fn follow(self: &Arc<Self>) -> Following {
        self.following.send_modify(|count| *count += 1);
        Following(Arc::clone(self))
    }

    /// How long each watch may wait when all take turns; `None` when there is a connection for each.
    pub(crate) fn turn(&self) -> Option<Duration> {
        // Everybody's turn comes within about this time.
        const ROUND: Duration = Duration::from_secs(5);
        let (most, count) = (self.config.max_watches, *self.following.borrow());
        (count > most)
            .then(|| ROUND.mul_f64(most as f64 / count as f64).max(Duration::from_millis(250)))
    }

    /// Completes when watches begin to take turns.
    pub(crate) async fn crowded(&self) {
        let most = self.config.max_watches;
        let mut count = self.following.subscribe();
        if count.wait_for(|&count| count > most).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Option<Arc<str>>, BTreeSet<ServiceName>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that the registry listed services; whether they were the first of their place.
    pub(crate) fn saw<'a>(
        &self,
        datacenter: Option<&Arc<str>>,
        services: impl IntoIterator<Item = &'a ServiceName>,
    ) {
        let mut seen = self.seen();
        let names = seen.entry(datacenter.cloned()).or_default();
        // Consul's own entry is there again right after a loss of memory: no witness.
        names.extend(services.into_iter().filter(|name| name.as_str() != "consul").cloned());
    }

    /// Whether a catalogue still lists a service other than `but` that was listed before; `None`
    /// when there was no other.
    pub(crate) fn witness(
        &self,
        datacenter: Option<&Arc<str>>,
        but: &ServiceName,
        listed: &BTreeSet<ServiceName>,
    ) -> Option<bool> {
        let seen = self.seen();
        let mut others = seen.get(&datacenter.cloned())?.iter().filter(|n| *n != but).peekable();
        others.peek()?;
        Some(others.any(|name| listed.contains(name)))
    }
}

fn judge(ask: &Ask, reply: Reply) -> Result<Answered, RegistryError> {
    let what = ask.what;
    let Reply { status, headers, body } = reply;
    if status.is_success() || (status == StatusCode::NOT_FOUND && ask.may_miss) {
        return Ok(Answered { told: Told::read(&headers), found: status.is_success(), body });
    }
    if status.is_redirection() || status.is_informational() {
        // Followed, it would send the token wherever the answer says.
        return Err(RegistryError::Answer { what, class: "redirect", source: None });
    }
    let text = excerpt(&body);
    // Old agents say both with 500, when it was the leader who found out.
    if ["ACL not found", "token does not exist"].iter().any(|word| text.contains(word)) {
        return Err(RegistryError::UnknownToken { what });
    }
    if matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED)
        || text.contains("Permission denied")
    {
        return Err(RegistryError::Denied { what, rule: ask.rule.as_str().into() });
    }
    Err(RegistryError::Status { what, status: status.as_u16(), text: text.into() })
}

/// The beginning of a foreign text, fit for a log line.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(512)]);
    text.trim().chars().filter(|c| !c.is_control()).take(160).collect()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.target.address).finish_non_exhaustive()
    }
}

/// Counts one watch while it lives.
#[derive(Debug)]
pub(crate) struct Following(Arc<Client>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.following.send_modify(|count| *count -= 1);
    }
}
