//! What is written into the registry, and whether it still stands there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outrigger_core::{InstanceId, Status, Weights};
use outrigger_discovery::{Check, Registration};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Service<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    tags: Vec<&'a str>,
    meta: BTreeMap<&'a str, &'a str>,
    port: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    address: String,
    weights: GivenWeights,
    checks: Vec<GivenCheck<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GivenWeights {
    passing: i64,
    warning: i64,
}

impl From<Weights> for GivenWeights {
    fn from(weights: Weights) -> Self {
        // The registry refuses a passing weight of 0; 1 is the least it knows.
        Self { passing: i64::from(weights.passing.max(1)), warning: i64::from(weights.warning) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GivenCheck<'a> {
    #[serde(rename = "CheckID")]
    check_id: String,
    name: String,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    #[serde(rename = "HTTP", skip_serializing_if = "Option::is_none")]
    http: Option<&'a str>,
    #[serde(rename = "GRPC", skip_serializing_if = "Option::is_none")]
    grpc: Option<&'a str>,
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "std::ops::Not::not")]
    grpc_use_tls: bool,
    #[serde(rename = "TCP", skip_serializing_if = "Option::is_none")]
    tcp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deregister_critical_service_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
}

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

/// The body of a registration. `status` is what TTL checks start with: without it they are critical
/// until the first heartbeat. `replaced` counts the tokens before the present one.
pub(super) fn body(
    registration: &Registration,
    id: &InstanceId,
    boot: &str,
    status: Status,
    replaced: u32,
) -> Vec<u8> {
    // An agent tells the catalogue what differs from what it told before, or gave up telling for
    // want of rights: the same words under a new token would not be told until it compares all it
    // has, a minute later or more.
    let notes = (replaced > 0).then(|| format!("under token {}", u64::from(replaced) + 1));
    let checks = registration.checks.iter().enumerate().map(|(n, check)| {
        let blank = GivenCheck {
            check_id: check_id(id, n),
            name: format!("{} {}", registration.service, kind(check)),
            ttl: None,
            http: None,
            grpc: None,
            grpc_use_tls: false,
            tcp: None,
            interval: None,
            timeout: None,
            status: None,
            deregister_critical_service_after: registration.deregister_critical_after.map(go),
            notes: notes.clone(),
        };
        let asked = |interval: &Duration, timeout: &Duration, blank| GivenCheck {
            interval: Some(go(*interval)),
            timeout: Some(go(*timeout)),
            ..blank
        };
        match check {
            Check::Ttl { ttl } => {
                GivenCheck { ttl: Some(go(*ttl)), status: Some(status.as_str()), ..blank }
            }
            Check::Http { url, interval, timeout } => {
                GivenCheck { http: Some(url), ..asked(interval, timeout, blank) }
            }
            Check::Grpc { target, tls, interval, timeout } => GivenCheck {
                grpc: Some(target),
                grpc_use_tls: *tls,
                ..asked(interval, timeout, blank)
            },
            Check::Tcp { target, interval, timeout } => {
                GivenCheck { tcp: Some(target), ..asked(interval, timeout, blank) }
            }
            _ => blank,
        }
    });
    let service = Service {
        id: id.as_str(),
        name: registration.service.as_str(),
        tags: tags(registration),
        meta: meta(registration, boot),
        port: registration.port,
        address: registration.address.map(|address| address.to_string()).unwrap_or_default(),
        weights: registration.weights.into(),
        checks: checks.collect(),
    };
    serde_json::to_vec(&service).expect("text, numbers and lists of them are always JSON")
}

const fn kind(check: &Check) -> &'static str {
    match check {
        Check::Ttl { .. } => "heartbeat",
        Check::Http { .. } => "HTTP",
        Check::Grpc { .. } => "gRPC",
        Check::Tcp { .. } => "TCP",
        _ => "check",
    }
}

/// What stands in the registry, as far as it is compared.
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
    weights: Option<GivenWeights>,
}

/// How what stands compares with what was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// As written.
    Same,
    /// Ours, with something changed.
    Changed,
    /// Another process stands under the same id, at our own address.
    Other,
    /// Another process registered the same id for another address.
    Clashes,
}

impl Standing {
    /// The start of the process that wrote it.
    pub(super) fn boot(&self) -> Option<&str> {
        self.meta.as_ref()?.get("outrigger-boot").map(String::as_str)
    }

    /// Compares what stands with what was written.
    pub(super) fn compare(&self, registration: &Registration, boot: &str) -> Comparison {
        let nothing = BTreeMap::new();
        let meta_now = self.meta.as_ref().unwrap_or(&nothing);
        let address = registration.address.map(|address| address.to_string()).unwrap_or_default();
        let same_place = self.port == i64::from(registration.port) && self.address == address;
        if self.boot().is_some_and(|theirs| theirs != boot) {
            return if same_place { Comparison::Other } else { Comparison::Clashes };
        }
        let wanted = meta(registration, boot);
        let same_meta = wanted.len() == meta_now.len()
            && meta_now.iter().all(|(key, value)| wanted.get(&**key) == Some(&&**value));
        let tags_now = self.tags.as_deref().unwrap_or_default();
        let tags_now: BTreeSet<&str> = tags_now.iter().map(String::as_str).collect();
        let tags_wanted: BTreeSet<&str> = tags(registration).into_iter().collect();
        let same_weights = self.weights.is_none_or(|w| w == registration.weights.into());
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

    fn written() -> serde_json::Value {
        let id = "stock-1".parse().expect("valid");
        let body = body(&stock(), &id, "b00t", Status::Passing, 0);
        serde_json::from_slice(&body).expect("JSON")
    }

    fn standing(edit: impl FnOnce(&mut serde_json::Value)) -> Comparison {
        let mut now = written();
        now["Service"] = now["Name"].clone();
        edit(&mut now);
        let standing: Standing = serde_json::from_value(now).expect("what an agent answers");
        standing.compare(&stock(), "b00t")
    }

    #[test]
    fn a_registration_is_written_as_consul_wants_it() {
        let now = written();
        assert_eq!(now["ID"], "stock-1");
        assert_eq!(now["Tags"], serde_json::json!(["rust", "blue"]));
        let meta = serde_json::json!({
            "language": "rust", "outrigger-boot": "b00t", "protocol": "http", "rack": "7",
            "version": "1.2.0", "zone": "eu-1"
        });
        assert_eq!(now["Meta"], meta);
        let check = serde_json::json!({
            "CheckID": "service:stock-1:1", "Name": "stock heartbeat", "TTL": "15000ms",
            "Status": "passing", "DeregisterCriticalServiceAfter": "600000ms"
        });
        assert_eq!(now["Checks"], serde_json::json!([check]));
    }

    #[test]
    fn each_token_is_told_to_the_agent_in_other_words() {
        let id = "stock-1".parse().expect("valid");
        let told = |replaced| {
            let body = body(&stock(), &id, "b00t", Status::Passing, replaced);
            let now: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            now["Checks"][0]["Notes"].as_str().map(str::to_owned)
        };
        assert_eq!(told(0), None);
        assert_eq!(told(1).as_deref(), Some("under token 2"));
        assert_ne!(told(1), told(2));
    }

    #[test]
    fn what_stands_is_compared_in_everything_we_wrote() {
        assert_eq!(standing(|_| {}), Comparison::Same);
        assert_eq!(
            standing(|now| now["Tags"] = serde_json::json!(["blue", "rust"])),
            Comparison::Same
        );
        assert_eq!(standing(|now| now["Tags"] = serde_json::json!(["blue"])), Comparison::Changed);
        assert_eq!(standing(|now| now["Meta"]["zone"] = "eu-2".into()), Comparison::Changed);
        assert_eq!(standing(|now| now["Meta"]["new"] = "1".into()), Comparison::Changed);
        assert_eq!(standing(|now| now["Port"] = 81.into()), Comparison::Changed);
        assert_eq!(standing(|now| now["Weights"]["Passing"] = 9.into()), Comparison::Changed);
        assert_eq!(standing(|now| now["Meta"] = serde_json::Value::Null), Comparison::Changed);
    }

    #[test]
    fn another_process_under_our_id_is_told_from_a_change() {
        let other = |now: &mut serde_json::Value| now["Meta"]["outrigger-boot"] = "0ther".into();
        assert_eq!(standing(other), Comparison::Other);
        let elsewhere = |now: &mut serde_json::Value| {
            other(now);
            now["Port"] = 81.into();
        };
        assert_eq!(standing(elsewhere), Comparison::Clashes);
    }
}
