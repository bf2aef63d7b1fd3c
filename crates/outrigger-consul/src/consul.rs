//! The adapter's face.

use std::fmt;
use std::sync::Arc;

use outrigger_core::{ServiceName, Snapshot};
use outrigger_discovery::{
    BoxFuture, Catalogue, CatalogueStream, KeyStream, KeyWatcher, Query, Registered, Registrar,
    Registration, RegistryError, RegistryHealth, Resolver, SnapshotStream,
};

use crate::announce::{Announced, boot_nonce};
use crate::client::Client;
use crate::watch::{KeyStates, KvState, Shared, follow_catalogue, follow_service};
use crate::{ConfigError, ConsulConfig, Kv, Session, SessionConfig};

/// A registry over the HTTP API of one Consul agent.
///
/// Cheap to clone; clones share connections and watches. Watches and heartbeats run on the tokio
/// runtime that it was made on, and end with their streams and handles.
#[derive(Clone)]
pub struct Consul {
    client: Arc<Client>,
    services: Arc<Shared<ServiceName, Snapshot>>,
    catalogues: Arc<Shared<(), Catalogue>>,
    keys: Arc<Shared<Arc<str>, KvState>>,
    boot: Arc<str>,
}

impl Consul {
    /// Connects as the environment says; see [`ConsulConfig::from_env`].
    ///
    /// # Errors
    /// [`ConfigError`] naming the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::new(ConsulConfig::from_env()?)
    }

    /// Makes the adapter; nothing is sent before something is asked.
    ///
    /// # Errors
    /// [`ConfigError`]: a value out of range, a file that cannot be read, or no tokio runtime.
    pub fn new(config: ConsulConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            client: Client::new(config)?,
            services: Arc::new(Shared::new()),
            catalogues: Arc::new(Shared::new()),
            keys: Arc::new(Shared::new()),
            boot: boot_nonce(),
        })
    }

    /// Keys and values.
    #[must_use]
    pub fn kv(&self) -> Kv {
        Kv::new(&self.client, &self.keys)
    }

    /// Makes a session and renews it while the handle lives.
    ///
    /// # Errors
    /// [`RegistryError`].
    ///
    /// # Cancel safety
    /// Dropped half-way, a session may be left that nobody renews: it ends after its time to live.
    pub async fn session(&self, config: &SessionConfig) -> Result<Session, RegistryError> {
        Session::create(&self.client, config).await
    }

    /// Whether the agent answered when it was last asked.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.client.gate.is_up()
    }

    /// The newest snapshot of everything that is watched now.
    #[must_use]
    pub fn watched(&self) -> Vec<Arc<Snapshot>> {
        self.services.all().into_iter().filter_map(|(_, snapshot)| snapshot).collect()
    }
}

impl Resolver for Consul {
    fn watch(&self, query: &Query) -> SnapshotStream {
        let (datacenter, service) = (query.datacenter.clone(), query.service.clone());
        let place = (datacenter.clone(), service.clone());
        let client = Arc::clone(&self.client);
        let joined = self.services.join(place, |feed| {
            let runtime = client.runtime.clone();
            runtime.spawn(follow_service(client, datacenter, service, feed)).abort_handle()
        });
        SnapshotStream::new(joined).filtered(query.filter.clone())
    }

    fn catalogue(&self, datacenter: Option<&str>) -> CatalogueStream {
        let datacenter: Option<Arc<str>> = datacenter.map(Into::into);
        let client = Arc::clone(&self.client);
        CatalogueStream::new(self.catalogues.join((datacenter.clone(), ()), |feed| {
            let runtime = client.runtime.clone();
            runtime.spawn(follow_catalogue(client, datacenter, feed)).abort_handle()
        }))
    }

    fn health(&self) -> RegistryHealth {
        let (client, gate) = (&self.client, &self.client.gate);
        RegistryHealth::new(gate.is_up(), gate.age(client.now()), client.connections())
    }
}

impl KeyWatcher for Consul {
    fn watch_key(&self, key: &str) -> Result<KeyStream, RegistryError> {
        self.kv().join(key).map(|joined| KeyStream::new(KeyStates(joined)))
    }
}

impl Registrar for Consul {
    fn register(
        &self,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, RegistryError>> {
        Box::pin(async move {
            registration.validate()?;
            let boot = Arc::clone(&self.boot);
            let announced = Announced::start(&self.client, registration, boot);
            Ok(Registered::new(Arc::new(announced)))
        })
    }
}

impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consul").field("client", &self.client).finish_non_exhaustive()
    }
}
