//! What no single value tells: what fits together.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use outrigger::core::ServiceName;

use super::key::{
    ADMIN, ADVERTISE, EDGE, ENDPOINTS, HEALTH, INBOUND, Key, OUTBOUND, PORT, PROBE, SERVICE,
    SOCKET, TLS_CERT, TLS_KEY, UPSTREAM,
};
use super::layers::Layers;
use super::origin::Origin;
use super::{Mode, Settings, is_local};
use crate::Place;

/// Adds a problem for everything that contradicts something else.
pub(super) fn across(settings: &Settings, layers: &mut Layers<'_>) {
    identity(settings, layers);
    tls(settings, layers);
    reach(settings, layers);
    names(settings, layers);
    listeners(settings, layers);
}

fn identity(settings: &Settings, layers: &mut Layers<'_>) {
    let has_problem = |layers: &Layers<'_>, key: &Key| {
        layers.problems.iter().any(|problem| problem.key == key.name)
    };
    if settings.service.value.is_none() && !has_problem(layers, SERVICE) {
        match settings.mode {
            Mode::Run => layers.problem(
                &Origin::Default(""),
                SERVICE,
                "`service` is not set, and the project does not tell its name".to_owned(),
                "name it: `outrigger run --service NAME -- COMMAND`".to_owned(),
            ),
            Mode::Sidecar if settings.port.origin.is_named() || settings.socket.value.is_some() => {
                let (key, origin) = match settings.port.origin.is_named() {
                    true => (PORT, &settings.port.origin),
                    false => (SOCKET, &settings.socket.origin),
                };
                let message = format!(
                    "`{}` is set, and `service` is not: nothing could be announced",
                    key.name
                );
                let fix = "add `--service NAME`, or leave both out to serve outbound traffic only";
                layers.problem(origin, key, message, fix.to_owned());
            }
            Mode::Sidecar => {}
        }
    }
    let socket = &settings.socket;
    if socket.value.is_some() && settings.port.origin.is_named() {
        let message = "`socket` and `port` are both set: an application listens at one of them";
        let fix = format!("leave one of them out; `port` is set by {}", settings.port.origin);
        layers.problem(&socket.origin, SOCKET, message.to_owned(), fix);
    } else if socket.value.is_some() && settings.mode == Mode::Run {
        let message = "`socket` is set, and `run` tells its program a port";
        let fix = "leave it out, or use `outrigger sidecar` beside the program";
        layers.problem(&socket.origin, SOCKET, message.to_owned(), fix.to_owned());
    }
    if settings.mode == Mode::Sidecar
        && settings.health.origin.is_named()
        && settings.port.value.is_none()
        && settings.socket.value.is_none()
    {
        let message = "`health` is set, and `port` is not: there is no application to ask";
        let fix = "add `--port N`, where the application listens";
        layers.problem(&settings.health.origin, HEALTH, message.to_owned(), fix.to_owned());
    }
}

fn tls(settings: &Settings, layers: &mut Layers<'_>) {
    let (cert, key) = (&settings.tls_cert, &settings.tls_key);
    let (there, absent, origin) = match (&cert.value, &key.value) {
        (Some(_), None) => (TLS_CERT, TLS_KEY, &cert.origin),
        (None, Some(_)) => (TLS_KEY, TLS_CERT, &key.origin),
        (Some(_), Some(_))
            if settings.mode == Mode::Sidecar
                && settings.port.value.is_none()
                && settings.socket.value.is_none() =>
        {
            let message = "`tls_cert` is set, and `port` is not: nobody comes in";
            let fix = "add `--port N`, where the application listens";
            return layers.problem(&cert.origin, TLS_CERT, message.to_owned(), fix.to_owned());
        }
        _ => return,
    };
    let message = format!("`{}` is set, and `{}` is not", there.name, absent.name);
    let fix = format!("add `--{} FILE`, or leave both out", absent.flag);
    layers.problem(origin, there, message, fix);
}

fn reach(settings: &Settings, layers: &mut Layers<'_>) {
    if settings.edge.value && settings.trust.origin.is_named() {
        let message = "`edge` trusts nobody, and `trust` names somebody";
        let fix = format!("leave one of them out; `trust` is set by {}", settings.trust.origin);
        layers.problem(&settings.edge.origin, EDGE, message.to_owned(), fix);
    }
    let (Some((address, _)), Some(registry)) = (&settings.advertise.value, &settings.consul.value)
    else {
        return;
    };
    if address.to_canonical().is_loopback() && !is_local(registry) {
        let message = format!(
            "`advertise` is `{address}`, and the registry, {registry}, is on another machine: \
             whoever finds it there would connect to itself"
        );
        let fix = "an address that others reach, or leave it out";
        layers.problem(&settings.advertise.origin, ADVERTISE, message, fix.to_owned());
    }
}

fn names(settings: &Settings, layers: &mut Layers<'_>) {
    let endpoints = settings.endpoints.value.iter().map(|(name, _)| name);
    let upstream = settings.upstream.value.iter().map(|upstream| &upstream.service);
    for (key, origin, name) in [
        (ENDPOINTS, &settings.endpoints.origin, twice(endpoints)),
        (UPSTREAM, &settings.upstream.origin, twice(upstream)),
    ] {
        if let Some(name) = name {
            let message = format!("`{}` names `{name}` twice", key.name);
            layers.problem(origin, key, message, "keep one of them".to_owned());
        }
    }
}

fn twice<'n>(mut names: impl Iterator<Item = &'n ServiceName>) -> Option<ServiceName> {
    let mut seen = BTreeSet::new();
    names.find(|name| !seen.insert(name.as_str().to_ascii_lowercase())).cloned()
}

/// Two listeners at one named address cannot both be.
fn listeners(settings: &Settings, layers: &mut Layers<'_>) {
    let mut all: Vec<(&'static Key, SocketAddr, Origin)> = Vec::new();
    let mut listen = |key: &'static Key, address: SocketAddr, origin: &Origin| {
        // A default that is taken moves; port 0 is any free one.
        if address.port() != 0 && origin.is_named() {
            all.push((key, address, origin.clone()));
        }
    };
    listen(INBOUND, settings.inbound.value, &settings.inbound.origin);
    if let Place::Tcp(address) = &settings.outbound.value {
        listen(OUTBOUND, *address, &settings.outbound.origin);
    }
    listen(ADMIN, settings.admin.value, &settings.admin.origin);
    if let Some(address) = settings.probe.value {
        listen(PROBE, address, &settings.probe.origin);
    }
    for upstream in &settings.upstream.value {
        listen(UPSTREAM, upstream.listen.address, &settings.upstream.origin);
    }
    if let Some(port) = settings.port.value {
        listen(PORT, SocketAddr::from(([127, 0, 0, 1], port)), &settings.port.origin);
    }
    for (at, (key, address, origin)) in all.iter().enumerate() {
        let other = all[..at].iter().find(|(_, other, _)| overlap(*address, *other));
        if let Some((first, other, _)) = other {
            let message = format!(
                "`{}` is at {address}, and `{}` at {other}: one port cannot be both",
                key.name, first.name
            );
            layers.problem(origin, key, message, "choose another port for one of them".to_owned());
        }
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}
