//! Every call to consulrs: in a task of its own, bounded in time, its errors put into our words.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use consulrs::client::{Client as _, ConsulClient};
use outrigger_core::ServiceName;
use outrigger_discovery::RegistryError;
use rustify::Endpoint;
use rustify::errors::ClientError;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::index::Told;
use crate::{ConfigError, ConsulrsConfig, check};

/// What a question is called, and the right that it needs.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) what: &'static str,
    rule: Box<str>,
    may_miss: bool,
}

impl Asked {
    pub(crate) fn new(what: &'static str, rule: impl Into<Box<str>>) -> Self {
        Self { what, rule: rule.into(), may_miss: false }
    }

    /// Takes a 404 for an answer.
    pub(crate) const fn may_miss(mut self) -> Self {
        self.may_miss = true;
        self
    }
}

/// An answer that may be read.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) told: Told,
    /// False only where [`Asked::may_miss`] allowed a 404.
    pub(crate) found: bool,
    pub(crate) body: Vec<u8>,
}

/// What all parts of the bridge share.
pub(crate) struct Client {
    consulrs: Arc<ConsulClient>,
    pub(crate) config: ConsulrsConfig,
    pub(crate) runtime: Handle,
    /// One permit per watch that waits: each holds a connection of the agent's 200.
    pub(crate) watches: Semaphore,
    following: watch::Sender<usize>,
    seen: Mutex<HashMap<Option<Arc<str>>, BTreeSet<ServiceName>>>,
}

impl Client {
    pub(crate) fn new(
        consulrs: Arc<ConsulClient>,
        config: ConsulrsConfig,
    ) -> Result<Arc<Self>, ConfigError> {
        config.validate()?;
        check::address(&consulrs.http.base)?;
        check::token(consulrs.settings.token.as_deref().unwrap_or_default())?;
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        Ok(Arc::new(Self {
            consulrs,
            watches: Semaphore::new(config.max_watches),
            config,
            runtime,
            following: watch::Sender::new(0),
            seen: Mutex::default(),
        }))
    }

    pub(crate) fn now(&self) -> Instant {
        self.config.clock.now()
    }

    /// Sends a request through the user's client, with its token, and judges the answer.
    ///
    /// consulrs has no time limit and unwraps much of what it is told, so the call runs in a task:
    /// a panic ends that task only, and whoever stops waiting ends it too.
    pub(crate) async fn ask(
        &self,
        asked: &Asked,
        endpoint: impl Endpoint + 'static,
        within: Duration,
    ) -> Result<Answered, RegistryError> {
        let what = asked.what;
        let consulrs = Arc::clone(&self.consulrs);
        let task = self.runtime.spawn(async move {
            let middleware = consulrs.middle(None);
            let mutated = endpoint.with_middleware(&middleware);
            mutated.exec(consulrs.http()).await.map(|result| result.response)
        });
        let _abort = AbortOnDrop(task.abort_handle());
        let response = match tokio::time::timeout(within, task).await {
            Err(_) => return Err(RegistryError::Timeout { what, after: within }),
            Ok(Err(joined)) if joined.is_panic() => {
                tracing::error!(what, "consulrs panicked");
                return Err(RegistryError::Answer { what, class: "panic", source: None });
            }
            // The runtime shuts down.
            Ok(Err(_)) => return Err(RegistryError::Ended),
            Ok(Ok(Err(error))) => return self.judge(asked, error),
            Ok(Ok(Ok(response))) => response,
        };
        let headers = response.headers();
        let told = Told::read(|name| headers.get(name).and_then(|value| value.to_str().ok()));
        let body = response.into_body();
        if body.len() > self.config.max_answer {
            return Err(RegistryError::Answer { what, class: "too_long", source: None });
        }
        Ok(Answered { told, found: true, body })
    }

    fn judge(&self, asked: &Asked, error: ClientError) -> Result<Answered, RegistryError> {
        let what = asked.what;
        match error {
            ClientError::ServerResponseError { code: 404, .. } if asked.may_miss => {
                let told = Told { index: None, known_leader: true, filtered: false };
                Ok(Answered { told, found: false, body: Vec::new() })
            }
            ClientError::ServerResponseError { code, content } => {
                Err(refusal(asked, code, &content.unwrap_or_default()))
            }
            ClientError::RequestError { source, .. } | ClientError::ResponseError { source } => {
                let registry = self.consulrs.http.base.as_str().into();
                Err(RegistryError::Unreachable { registry, source: source.into() })
            }
            other => {
                let source = Some(other.into());
                Err(RegistryError::Answer { what, class: "not_http", source })
            }
        }
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

    /// Remembers that the registry listed services.
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
        listed: impl Fn(&ServiceName) -> bool,
    ) -> Option<bool> {
        let seen = self.seen();
        let mut others = seen.get(&datacenter.cloned())?.iter().filter(|n| *n != but).peekable();
        others.peek()?;
        Some(others.any(listed))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // consulrs's own settings print the token.
        f.debug_struct("Client").field("address", &self.consulrs.http.base).finish_non_exhaustive()
    }
}

fn refusal(asked: &Asked, status: u16, content: &str) -> RegistryError {
    let what = asked.what;
    let text: String = content.trim().chars().filter(|c| !c.is_control()).take(160).collect();
    // Old agents say it with 500, when it was the leader who found out.
    let denied = ["Permission denied", "ACL not found", "token does not exist"];
    if matches!(status, 401 | 403) || denied.iter().any(|word| text.contains(word)) {
        return RegistryError::Denied { what, rule: asked.rule.clone() };
    }
    RegistryError::Status { what, status, text: text.into() }
}

/// Counts one watch while it lives.
#[derive(Debug)]
pub(crate) struct Following(Arc<Client>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.following.send_modify(|count| *count -= 1);
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use consulrs::client::ConsulClientSettingsBuilder;
    use rustify::enums::{RequestMethod, RequestType, ResponseType};
    use tokio::net::TcpListener;

    use super::*;
    use crate::ask::Read;

    struct Panics;

    impl Endpoint for Panics {
        type Response = ();
        const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
        const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

        fn path(&self) -> String {
            panic!("as consulrs does")
        }

        fn method(&self) -> RequestMethod {
            RequestMethod::GET
        }
    }

    fn client(url: &str) -> Arc<Client> {
        let settings = ConsulClientSettingsBuilder::default().address(url).token("canary").build();
        let consulrs = ConsulClient::new(settings.expect("settings")).expect("a client");
        Client::new(Arc::new(consulrs), ConsulrsConfig::default()).expect("valid")
    }

    fn asked() -> Asked {
        Asked::new("a thing", "service \"a\" read")
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_the_next_call_works() {
        let client = client("http://127.0.0.1:1");
        let within = Duration::from_secs(10);
        let error = client.ask(&asked(), Panics, within).await.expect_err("a panic");
        assert_eq!(error.class(), "panic");
        let error = client.ask(&asked(), Read::new("x".into()), within).await.expect_err("nobody");
        assert_eq!(error.class(), "unreachable");
        assert!(!format!("{client:?} {error:?}").contains("canary"), "{error:?}");
    }

    #[tokio::test]
    async fn a_call_that_nobody_answers_ends_in_time_and_closes_its_connection() {
        use tokio::io::AsyncReadExt as _;
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = client(&format!("http://{}", silent.local_addr().expect("an address")));
        let within = Duration::from_millis(200);
        let asking = tokio::spawn(async move {
            client.ask(&asked(), Read::new("x".into()), within).await.expect_err("silence").class()
        });
        let (mut stream, _) = silent.accept().await.expect("a connection");
        assert_eq!(asking.await.expect("no panic"), "timeout");
        let mut all = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await;
        end.expect("closed, not left behind").expect("read");
    }

    #[test]
    fn a_refusal_of_an_old_agent_is_recognised() {
        for (status, text) in [(403, ""), (500, "rpc error: ACL not found"), (401, "x")] {
            assert_eq!(refusal(&asked(), status, text).class(), "denied", "{status} {text}");
        }
        assert_eq!(refusal(&asked(), 500, "No cluster leader").class(), "server_error");
    }
}
