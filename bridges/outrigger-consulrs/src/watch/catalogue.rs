//! The watch of the list of services.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_core::{Freshness, ServiceName};
use outrigger_discovery::{Catalogue, Feed, RegistryError};

use super::follow::Follow;
use crate::ask::Read;
use crate::client::{Asked, Client};

type Services = BTreeMap<ServiceName, Vec<Arc<str>>>;

const WHAT: &str = "the list of services";

fn question(datacenter: Option<&str>) -> (Asked, Read) {
    let asked = Asked::new(WHAT, "service_prefix \"\" read, node_prefix \"\" read");
    (asked, Read::new("catalog/services".into()).param_if("dc", datacenter))
}

fn read(body: &[u8]) -> Result<Services, RegistryError> {
    let read: BTreeMap<String, Option<Vec<String>>> =
        serde_json::from_slice(body).map_err(|error| RegistryError::Answer {
            what: WHAT,
            class: "wrong_type",
            source: Some(error.into()),
        })?;
    // A name that cannot stand in a URL is nobody's to call.
    let named = read.into_iter().filter_map(|(name, tags)| {
        let tags = tags.unwrap_or_default().into_iter().map(Arc::from).collect();
        Some((ServiceName::new(&name).ok()?, tags))
    });
    Ok(named.collect())
}

/// The services that are listed now, by any server.
pub(super) async fn services(
    client: &Client,
    datacenter: Option<&str>,
) -> Result<Services, RegistryError> {
    let (asked, ask) = question(datacenter);
    read(&client.ask(&asked, ask.param("stale", ""), client.config.timeout).await?.body)
}

/// Follows the list of services for as long as somebody reads.
pub(crate) async fn follow_catalogue(
    client: Arc<Client>,
    datacenter: Option<Arc<str>>,
    feed: Feed<Catalogue>,
) {
    let (asked, ask) = question(datacenter.as_deref());
    let mut follow = Follow::new(&client, asked, ask);
    let mut version = 0;
    loop {
        let judged = follow.next().await.and_then(|answered| {
            let services = read(&answered.body)?;
            Ok((answered.told, services))
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
