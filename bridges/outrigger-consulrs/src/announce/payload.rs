//! What is written into the registry, and whether it still stands there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use consulrs::api::check::common::AgentServiceCheck;
use consulrs::api::service::common::AgentWeights;
use consulrs::api::service::requests::RegisterServiceRequest;
use outrigger_core::{InstanceId, Status};
use outrigger_discovery::{Check, Registration};
use serde::Deserialize;

/// The id of the n-th check of an instance, counted from 0.
pub(super) fn check_id(id: &InstanceId, n: usize) -> String {
    format!("service:{id}:{}", n + 1)
}

fn go(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

/// The tags: the language first, then what the caller gave, each once.
fn tags(registration: &Registration) -> Vec<&str> {
    let mut tags = vec![registration.language.as_str()];
    for tag in &registration.tags {
        if !tags.contains(&&**tag) {
            tags.push(tag);
        }
    }
    tags
}

fn meta<'a>(registration: &'a Registration, boot: &'a str) -> BTreeMap<&'a str, &'a str> {
    let given = registration.meta.iter().map(|(key, value)| (&**key, &**value));
    let mut meta: BTreeMap<_, _> = given.collect();
    meta.insert("language", registration.language.as_str());
    meta.insert("protocol", registration.protocol.as_str());
    meta.insert("outrigger-boot", boot);
    if let Some(version) = &registration.version {
        meta.insert("version", version);
    }
    if let Some(zone) = &registration.zone {
        meta.insert("zone", zone);
    }
    meta
}

/// The weights as they are written. The registry refuses a passing weight of 0; 1 is the least it
/// knows.
fn weights(registration: &Registration) -> (u64, u64) {
    let weights = registration.weights;
    (u64::from(weights.passing.max(1)), u64::from(weights.warning))
}

fn address(registration: &Registration) -> Option<String> {
    registration.address.map(|address| address.to_string())
}

/// The registration as consulrs sends it. `status` is what TTL checks start with: without it they
/// are critical until the first heartbeat.
pub(super) fn request(
    registration: &Registration,
    id: &InstanceId,
    boot: &str,
    status: Status,
) -> RegisterServiceRequest {
    let checks = registration.checks.iter().enumerate();
    let checks = checks.map(|(n, check)| one_check(registration, check, check_id(id, n), status));
    let meta: HashMap<String, String> = meta(registration, boot)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let (passing, warning) = weights(registration);
    RegisterServiceRequest {
        id: Some(id.to_string()),
        name: Some(registration.service.to_string()),
        tags: Some(tags(registration).into_iter().map(str::to_owned).collect()),
        meta: Some(meta),
        port: Some(u64::from(registration.port)),
        address: address(registration),
        weights: Some(AgentWeights { passing: Some(passing), warning: Some(warning) }),
        checks: Some(checks.collect()),
        ..RegisterServiceRequest::default()
    }
}

fn one_check(
    registration: &Registration,
    check: &Check,
    check_id: String,
    status: Status,
) -> AgentServiceCheck {
    let name = |kind: &str| Some(format!("{} {kind}", registration.service));
    let blank = AgentServiceCheck {
        check_id: Some(check_id),
        deregister_critical_service_after: registration.deregister_critical_after.map(go),
        ..AgentServiceCheck::default()
    };
    let asked = |kind: &str, interval: &Duration, timeout: &Duration| AgentServiceCheck {
        name: name(kind),
        interval: Some(go(*interval)),
        timeout: Some(go(*timeout)),
        ..blank.clone()
    };
    match check {
        Check::Ttl { ttl } => AgentServiceCheck {
            name: name("heartbeat"),
            ttl: Some(go(*ttl)),
            status: Some(status.as_str().to_owned()),
            ..blank
        },
        Check::Http { url, interval, timeout } => {
            AgentServiceCheck { http: Some(url.clone()), ..asked("HTTP", interval, timeout) }
        }
        Check::Grpc { target, tls, interval, timeout } => AgentServiceCheck {
            grpc: Some(target.clone()),
            grpc_use_tls: Some(*tls),
            ..asked("gRPC", interval, timeout)
        },
        Check::Tcp { target, interval, timeout } => {
            AgentServiceCheck { tcp: Some(target.clone()), ..asked("TCP", interval, timeout) }
        }
        _ => AgentServiceCheck { name: name("check"), ..blank },
    }
}

/// What stands in the registry, as far as it is compared.
///
/// Not consulrs's own type: that one refuses every answer with `TaggedAddresses`, which is to say
/// every answer of an agent since 1.5.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Standing {
    service: String,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    port: i64,
    #[serde(default)]
    address: String,
    #[serde(default)]
    weights: Option<StandingWeights>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StandingWeights {
    passing: i64,
    warning: i64,
}

/// How what stands compares with what was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// As written.
    Same,
    /// Ours, with something changed.
    Changed,
    /// Another process registered the same id, at our own address: it has taken our place.
    Replaced,
    /// Another process registered the same id for another address.
    Clashes,
}

impl Standing {
    /// Compares what stands with what was written.
    pub(super) fn compare(&self, registration: &Registration, boot: &str) -> Comparison {
        let nothing = BTreeMap::new();
        let meta_now = self.meta.as_ref().unwrap_or(&nothing);
        let same_place = self.port == i64::from(registration.port)
            && self.address == address(registration).unwrap_or_default();
        if meta_now.get("outrigger-boot").is_some_and(|theirs| theirs != boot) {
            return if same_place { Comparison::Replaced } else { Comparison::Clashes };
        }
        let wanted = meta(registration, boot);
        let same_meta = wanted.len() == meta_now.len()
            && meta_now.iter().all(|(key, value)| wanted.get(&**key) == Some(&&**value));
        let tags_now = self.tags.as_deref().unwrap_or_default();
        let tags_now: BTreeSet<&str> = tags_now.iter().map(String::as_str).collect();
        let tags_wanted: BTreeSet<&str> = tags(registration).into_iter().collect();
        let (passing, warning) = weights(registration);
        let same_weights = self.weights.as_ref().is_none_or(|now| {
            u64::try_from(now.passing) == Ok(passing) && u64::try_from(now.warning) == Ok(warning)
        });
        let same = same_place
            && self.service == registration.service.as_str()
            && same_meta
            && tags_now == tags_wanted
            && same_weights;
        if same { Comparison::Same } else { Comparison::Changed }
    }
}

#[cfg(test)]
mod tests {
    use rustify::Endpoint;
    use serde_json::{Value, json};

    use super::*;

    fn stock() -> Registration {
        Registration::new("stock".parse().expect("valid"), 8080)
            .with_address([10, 0, 0, 1].into())
            .with_version("1.2.0")
            .with_zone("eu-1")
            .with_tag("blue")
            .with_tag("rust")
            .with_meta("rack", "7")
    }

    fn written(registration: &Registration) -> Value {
        let id = "stock-1".parse().expect("valid");
        let request = request(registration, &id, "b00t", Status::Passing);
        let body = request.body().expect("serialized").expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    #[test]
    fn consulrs_writes_the_tag_the_meta_and_the_check_and_no_nulls() {
        assert_eq!(
            written(&stock()),
            json!({
                "ID": "stock-1", "Name": "stock", "Port": 8080, "Address": "10.0.0.1",
                "Tags": ["rust", "blue"],
                "Meta": {"language": "rust", "protocol": "http", "version": "1.2.0",
                    "zone": "eu-1", "outrigger-boot": "b00t", "rack": "7"},
                "Weights": {"Passing": 1, "Warning": 1},
                "Checks": [{"CheckID": "service:stock-1:1", "Name": "stock heartbeat",
                    "TTL": "15000ms", "Status": "passing",
                    "DeregisterCriticalServiceAfter": "600000ms"}],
            })
        );
    }

    #[test]
    fn all_kinds_of_checks_are_written() {
        let checks = [Check::http("http://a/"), Check::grpc("a:1"), Check::tcp("a:2")];
        let written = written(&stock().with_checks(checks));
        assert_eq!(written["Checks"][0]["HTTP"], "http://a/");
        assert_eq!(written["Checks"][1]["GRPC"], "a:1");
        assert_eq!(written["Checks"][2]["TCP"], "a:2");
        assert_eq!(written["Checks"][2]["Interval"], "10000ms");
    }

    #[test]
    fn what_stands_is_compared_with_what_was_written() {
        let standing = |change: &dyn Fn(&mut Value)| {
            let mut now = json!({
                "Service": "stock", "ID": "stock-1", "Port": 8080, "Address": "10.0.0.1",
                "Tags": ["blue", "rust"], "Weights": {"Passing": 1, "Warning": 1},
                "Meta": {"language": "rust", "protocol": "http", "version": "1.2.0",
                    "zone": "eu-1", "outrigger-boot": "b00t", "rack": "7"},
                "TaggedAddresses": {"lan_ipv4": {"Address": "10.0.0.1", "Port": 8080}},
            });
            change(&mut now);
            let standing: Standing = serde_json::from_value(now).expect("readable");
            standing.compare(&stock(), "b00t")
        };
        assert_eq!(standing(&|_| {}), Comparison::Same);
        assert_eq!(standing(&|now| now["Tags"] = json!(["rust"])), Comparison::Changed);
        assert_eq!(standing(&|now| now["Weights"]["Passing"] = 9.into()), Comparison::Changed);
        let other = |now: &mut Value| now["Meta"]["outrigger-boot"] = "0ther".into();
        assert_eq!(standing(&other), Comparison::Replaced);
        let elsewhere = |now: &mut Value| {
            other(now);
            now["Port"] = 81.into();
        };
        assert_eq!(standing(&elsewhere), Comparison::Clashes);
    }
}
