//! Sessions: locks that end with their holder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outrigger_discovery::RegistryError;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use crate::answer;
use crate::ask::Ask;
use crate::client::Client;

/// The registry's id of a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a session is like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// A name for people.
    pub name: String,
    /// How long it lives without being renewed, 10 s to 24 h; it is renewed at half of it.
    /// Default 15 s.
    pub ttl: Duration,
    /// How long a lock of an ended session stays locked, 0 s to 60 s. Default 15 s.
    pub lock_delay: Duration,
    /// Whether its keys are deleted when it ends, not only unlocked. Default false.
    pub delete_keys: bool,
}

impl Default for SessionConfig {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self { name: "outrigger".into(), ttl: secs(15), lock_delay: secs(15), delete_keys: false }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted<'a> {
    name: &'a str,
    #[serde(rename = "TTL")]
    ttl: String,
    lock_delay: String,
    behavior: &'static str,
}

#[derive(Deserialize)]
struct Made {
    #[serde(rename = "ID")]
    id: String,
}

/// A session that is renewed while this lives.
///
/// Dropping it stops the renewal and destroys the session in the background; where that does not
/// get through, the registry ends it after its time to live.
#[derive(Debug)]
pub struct Session {
    client: Arc<Client>,
    id: SessionId,
    renewal: AbortHandle,
    destroyed: bool,
}

impl Session {
    pub(crate) async fn create(
        client: &Arc<Client>,
        config: &SessionConfig,
    ) -> Result<Self, RegistryError> {
        let what = "a session";
        let seconds = |span: Duration| format!("{}s", span.as_secs());
        let wanted = Wanted {
            name: &config.name,
            ttl: seconds(config.ttl.clamp(Duration::from_secs(10), Duration::from_secs(86_400))),
            lock_delay: seconds(config.lock_delay.min(Duration::from_secs(60))),
            behavior: if config.delete_keys { "delete" } else { "release" },
        };
        let body = serde_json::to_vec(&wanted).map_err(|error| RegistryError::Answer {
            what,
            class: "unwritable",
            source: Some(error.into()),
        })?;
        let rule = "session_prefix \"\" write";
        let ask = Ask::put(what, "/v1/session/create").needs(rule).body(body);
        let answered = client.ask_plain(&ask).await?;
        let made: Made = answer::read(&answered.body).map_err(|wrong| RegistryError::Answer {
            what,
            class: wrong.class,
            source: wrong.source,
        })?;
        let id = SessionId(made.id.into());
        let every = config.ttl.max(Duration::from_secs(10)) / 2;
        let renewal = client.runtime.spawn(renew(Arc::clone(client), id.clone(), every));
        let renewal = renewal.abort_handle();
        Ok(Self { client: Arc::clone(client), id, renewal, destroyed: false })
    }

    /// The id, for [`Kv::acquire`](crate::Kv::acquire).
    #[must_use]
    pub const fn id(&self) -> &SessionId {
        &self.id
    }

    /// Whether the registry still has it, as far as the renewal knows.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.renewal.is_finished()
    }

    /// Ends the session and gives its locks back.
    ///
    /// # Errors
    /// [`RegistryError`]; the registry then ends it after its time to live.
    ///
    /// # Cancel safety
    /// Dropped half-way, it is destroyed in the background.
    pub async fn destroy(mut self) -> Result<(), RegistryError> {
        self.renewal.abort();
        let result = self.client.ask_plain(&destruction(&self.id)).await;
        self.destroyed = true;
        result.map(|_| ())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.renewal.abort();
        if !self.destroyed {
            let (client, ask) = (Arc::clone(&self.client), destruction(&self.id));
            self.client.runtime.spawn(async move {
                if let Err(error) = client.ask_plain(&ask).await {
                    tracing::debug!(%error, "session not destroyed");
                }
            });
        }
    }
}

fn destruction(id: &SessionId) -> Ask {
    let rule = "session_prefix \"\" write";
    Ask::put("a session's end", "/v1/session/destroy").segment(id.as_str()).needs(rule)
}

async fn renew(client: Arc<Client>, id: SessionId, every: Duration) {
    let rule = "session_prefix \"\" write";
    let ask = Ask::put("a session's renewal", "/v1/session/renew");
    let ask = ask.segment(id.as_str()).needs(rule).may_miss();
    loop {
        tokio::time::sleep(every).await;
        match client.ask_plain(&ask).await {
            Ok(answered) if answered.found => {}
            Ok(_) => {
                tracing::warn!(session = %id, "session ended by the registry");
                return;
            }
            Err(error) => tracing::debug!(%error, "session not renewed"),
        }
    }
}
