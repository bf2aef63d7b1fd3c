//! One line of what has happened, as people and programs read it.

use outrigger_core::{Event, RegistrationState};
use serde::Serialize;

/// One thing that happened.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Entry {
    /// Rises by one with every entry of a ring.
    pub(crate) seq: u64,
    /// Units: milliseconds since 1970, by the wall clock.
    at_ms: u64,
    /// One of a fixed set of words.
    kind: &'static str,
    /// In whose process.
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    /// About which service.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// About which endpoint of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// The whole, for people.
    text: String,
}

impl Entry {
    pub(super) fn noted(at_ms: u64, kind: &'static str, text: String) -> Self {
        Self { at_ms, kind, text, ..Self::default() }
    }

    /// What `event` is in words; `None` for what happens once per request, and for what is no news.
    pub(super) fn of(who: &str, event: &Event<'_>, at_ms: impl FnOnce() -> u64) -> Option<Self> {
        let mut endpoint = None;
        let (kind, service, text) = match event {
            Event::Ejected { service, endpoint: ejected, cause, span } => {
                let id = &ejected.instance().id;
                endpoint = Some(ejected.address().to_string());
                let (span, cause) = (span.as_secs_f64(), spoken(cause.as_str()));
                let text = format!("{who} ejects {id} of {service} for {span:.1} s: {cause}");
                ("ejected", Some(service), text)
            }
            Event::Returned { service, endpoint: returned } => {
                endpoint = Some(returned.address().to_string());
                let id = &returned.instance().id;
                ("returned", Some(service), format!("{who} takes {id} of {service} back"))
            }
            Event::CircuitChanged { service, route, from, to } => {
                let (from, to) = (from.as_str().replace('_', "-"), to.as_str().replace('_', "-"));
                let route = match route.as_str() {
                    "default" => String::new(),
                    route => format!(", route {route},"),
                };
                let text = format!("circuit {who} → {service}{route} goes from {from} to {to}");
                ("circuit", Some(service), text)
            }
            Event::Panicking { service, begins } => {
                let text = if *begins {
                    format!("{who} has so few usable endpoints of {service} that it uses all")
                } else {
                    format!("{who} has enough usable endpoints of {service} again")
                };
                ("panic", Some(service), text)
            }
            Event::Shedding { service, admits, begins } => {
                let percent = admits.get() * 100.0;
                let text = if *begins {
                    format!("{who} sheds load: {percent:.0} % of requests are admitted")
                } else {
                    format!("{who} no longer sheds load")
                };
                ("shedding", Some(service), text)
            }
            Event::SetChanged { service, instances, usable, freshness, .. } => {
                let freshness = freshness.as_str();
                let noun = if *instances == 1 { "instance" } else { "instances" };
                let text = format!(
                    "{who} sees {instances} {noun} of {service}, {usable} usable ({freshness})"
                );
                ("set", Some(service), text)
            }
            Event::HoldingEmpty { service, begins } => {
                let text = if *begins {
                    format!("{who} keeps its set of {service}: the registry answers with none")
                } else {
                    format!("{who} no longer holds its set of {service}")
                };
                ("holding", Some(service), text)
            }
            Event::PolicyChanged { service, version, source } => {
                let text = format!("{who} obeys policy {version} of {service} ({source})");
                ("policy", Some(service), text)
            }
            Event::PolicyTrouble { service, class, begins } => {
                let class = spoken(class);
                let text = if *begins {
                    format!("{who} keeps its policy of {service}: {class}")
                } else {
                    format!("{who} hears of the policy of {service} again")
                };
                ("policy_trouble", Some(service), text)
            }
            Event::Registry { connected, class } => {
                let class = spoken(class);
                let text = if *connected {
                    format!("{who} reaches the registry again")
                } else {
                    format!("{who} cannot reach the registry: {class}")
                };
                ("registry", None, text)
            }
            // One missed beat is what beats are many for.
            Event::Registration { state: RegistrationState::HeartbeatMissed, .. } => return None,
            Event::Registration { service, state } => {
                let state = spoken(state.as_str());
                ("registration", Some(service), format!("{who}: {service} is {state}"))
            }
            _ => return None,
        };
        Some(Self {
            seq: 0,
            at_ms: at_ms(),
            kind,
            who: Some(who.to_owned()),
            service: service.map(ToString::to_string),
            endpoint,
            text,
        })
    }
}

/// A word of metrics as people say it.
fn spoken(word: &str) -> String {
    word.replace('_', " ")
}
