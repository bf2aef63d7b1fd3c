//! The watch of the list of services.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_core::{Freshness, ServiceName};
use outrigger_discovery::{Catalogue, Feed, RegistryError};

use crate::answer;
use crate::ask::Ask;
use crate::client::Client;
use crate::follow::Follow;

type Services = BTreeMap<ServiceName, Vec<Arc<str>>>;

fn question(datacenter: Option<&str>) -> Ask {
    Ask::get("the list of services", "/v1/catalog/services")
        .needs("service_prefix \"\" read, node_prefix \"\" read")
        .param_if("dc", datacenter)
}

fn read(body: &[u8]) -> Result<Services, RegistryError> {
    let what = "the list of services";
    let read: BTreeMap<String, Option<Vec<String>>> = answer::read(body).map_err(|wrong| {
        RegistryError::Answer { what, class: wrong.class, source: wrong.source }
    })?;
    // A name that cannot stand in a URL is nobody's to call.
    let named = read.into_iter().filter_map(|(name, tags)| {
        let tags = tags.unwrap_or_default().into_iter().map(Arc::from).collect();
        Some((ServiceName::new(&name).ok()?, tags))
    });
    Ok(named.collect())
}

impl Client {
    /// The services that are listed now.
    pub(crate) async fn services(
        self: &Arc<Self>,
        datacenter: Option<&str>,
        stale: bool,
    ) -> Result<Services, RegistryError> {
        let ask = question(datacenter).param_if("stale", stale.then_some(""));
        let answered = self.ask_plain(&ask).await?;
        read(&answered.body)
    }
}

/// Follows the list of services for as long as somebody reads.
pub(crate) async fn follow_catalogue(
    client: Arc<Client>,
    datacenter: Option<Arc<str>>,
    feed: Feed<Catalogue>,
) {
    let mut follow = Follow::new(&client, question(datacenter.as_deref()));
    let mut version = 0;
    loop {
        let judged = follow.next().await.and_then(|followed| {
            let services = read(&followed.answered.body)?;
            Ok((followed.answered.told, services))
        });
        let last = feed.latest();
        match judged {
            Ok((told, services)) => {
                client.saw(datacenter.as_ref(), services.keys());
                let same = last.is_some_and(|last| {
                    last.services == services && last.freshness == Freshness::Live
                });
                if !same {
                    version += 1;
                    feed.publish(Arc::new(Catalogue::new(version, services)));
                }
                follow.told(told.index, !same);
            }
            Err(error) => {
                tracing::debug!(class = error.class(), %error, "watch of the catalogue failed");
                follow.failed();
                if let Some(last) = last.filter(|last| last.freshness == Freshness::Live) {
                    version += 1;
                    let stale = Catalogue::new(version, last.services.clone());
                    feed.publish(Arc::new(stale.with_freshness(Freshness::Stale)));
                }
            }
        }
    }
}
