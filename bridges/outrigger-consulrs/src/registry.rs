//! The bridge's face.

use std::fmt;
use std::sync::Arc;

use consulrs::client::ConsulClient;
use outrigger_core::{ServiceName, Snapshot};
use outrigger_discovery::{
    BoxFuture, Catalogue, CatalogueStream, Query, Registered, Registrar, Registration,
    RegistryError, Resolver, SnapshotStream,
};

use crate::announce::{Announced, boot_nonce};
use crate::client::Client;
use crate::watch::{Shared, follow_catalogue, follow_service};
use crate::{ConfigError, ConsulrsConfig, check};

/// A registry over a [`ConsulClient`] of your own.
///
/// Cheap to clone; clones share watches. Calls run on the tokio runtime that it was made on, each
/// in a task of its own. The token never shows in `Debug`.
#[derive(Clone)]
pub struct Consulrs {
    client: Arc<Client>,
    services: Arc<Shared<ServiceName, Snapshot>>,
    catalogues: Arc<Shared<(), Catalogue>>,
    boot: Arc<str>,
}

impl Consulrs {
    /// Takes a client over, or shares one in an `Arc`, with the default configuration; nothing is
    /// sent before something is asked.
    ///
    /// # Errors
    /// [`ConfigError`]: an address or a token that makes consulrs panic, or no tokio runtime.
    pub fn new(client: impl Into<Arc<ConsulClient>>) -> Result<Self, ConfigError> {
        Self::with_config(client, ConsulrsConfig::default())
    }

    /// The same with another configuration.
    ///
    /// # Errors
    /// As [`Consulrs::new`], and a value that is out of range.
    pub fn with_config(
        client: impl Into<Arc<ConsulClient>>,
        config: ConsulrsConfig,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            client: Client::new(client.into(), config)?,
            services: Arc::new(Shared::new()),
            catalogues: Arc::new(Shared::new()),
            boot: boot_nonce(),
        })
    }
}

impl Resolver for Consulrs {
    fn watch(&self, query: &Query) -> SnapshotStream {
        let (datacenter, service) = (query.datacenter.clone(), query.service.clone());
        let client = Arc::clone(&self.client);
        let joined = self.services.join((datacenter.clone(), service.clone()), |feed| {
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
}

impl Registrar for Consulrs {
    fn register(
        &self,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, RegistryError>> {
        Box::pin(async move {
            registration.validate()?;
            if let Some(id) = &registration.id {
                check::id(id)?;
            }
            let boot = Arc::clone(&self.boot);
            let announced = Announced::start(&self.client, registration, boot);
            Ok(Registered::new(Arc::new(announced)))
        })
    }
}

impl fmt::Debug for Consulrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consulrs").field("client", &self.client).finish_non_exhaustive()
    }
}
