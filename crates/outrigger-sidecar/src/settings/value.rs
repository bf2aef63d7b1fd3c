//! How single values are read and written.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use outrigger::core::{Address, Protocol, ServiceName};

use crate::{Trust, Unknown, Upstream, UpstreamKind, host_and_port};

pub(super) const fn unknown_word(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::Pass => "pass",
        Unknown::Refuse => "refuse",
    }
}

/// A word of `trust`, as it stands there.
pub(super) fn trusted(text: &str) -> Option<String> {
    Trust::nobody().add(text).is_ok().then(|| text.to_owned())
}

pub(super) fn service(text: &str) -> Option<ServiceName> {
    ServiceName::new(text).ok()
}

pub(super) fn port(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| plain && *port != 0)
}

/// Any short text that can stand in a tag, a header and a line.
pub(super) fn text(text: &str) -> Option<String> {
    let fits = (1..=128).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && text.trim() == text;
    fits.then(|| text.to_owned())
}

/// A tag of the registry: Traefik's rules are long ones.
pub(super) fn tag(text: &str) -> Option<String> {
    let fits = (1..=1_024).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && text.trim() == text;
    fits.then(|| text.to_owned())
}

pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| text.into())
}

/// A file that a unix socket can be bound to.
pub(super) fn socket_path(text: &str) -> Option<PathBuf> {
    let fits = text.starts_with('/') && text.len() < 108;
    path(text).filter(|_| fits)
}

/// A protocol in the clear: the application is on this machine.
pub(super) fn protocol(text: &str) -> Option<Protocol> {
    Protocol::parse(text).filter(|protocol| !protocol.is_tls())
}

pub(super) fn workers(text: &str) -> Option<NonZeroUsize> {
    text.parse().ok().filter(|workers: &NonZeroUsize| workers.get() <= 1_024)
}

pub(super) fn health(text: &str) -> Option<String> {
    let fits = text.starts_with('/')
        && !text.starts_with("//")
        && text.len() <= 1_024
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    fits.then(|| text.to_owned())
}

pub(super) fn drain(text: &str) -> Option<Duration> {
    let span = duration(text)?;
    (span <= Duration::from_secs(3_600)).then_some(span)
}

/// A time such as `20s`, `1m30s` or `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() || rest.len() > 32 {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, next) = after.split_at(letters);
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = next.trim_start();
    }
    Some(Duration::from_millis(total))
}

pub(super) fn socket(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
        None => text.parse().ok(),
    }
}

pub(super) fn loopback(text: &str) -> Option<SocketAddr> {
    socket(text).filter(|address| address.ip().is_loopback())
}

/// An address or `off`.
pub(super) fn probe(text: &str) -> Option<Option<SocketAddr>> {
    if text == "off" { Some(None) } else { socket(text).map(Some) }
}

pub(super) fn advertise(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0 && !address.ip().is_unspecified())
            .then(|| (address.ip(), Some(address.port())));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address: IpAddr = bare.parse().ok()?;
    (!address.is_unspecified()).then_some((address, None))
}

pub(super) fn host_port(text: &str) -> Option<Address> {
    host_and_port(text).ok()
}

pub(super) fn endpoints(text: &str) -> Option<(ServiceName, Vec<Address>)> {
    let (name, list) = text.split_once('=')?;
    let list = list.split(',').map(str::trim).map(host_port).collect::<Option<Vec<_>>>()?;
    Some((service(&name.trim().to_ascii_lowercase())?, list))
}

pub(super) fn write_upstream(upstream: &Upstream) -> String {
    let scheme = if upstream.kind == UpstreamKind::Tcp { "tcp://" } else { "" };
    format!("{}={scheme}{}", upstream.service, upstream.listen.address)
}

/// A word that may be upgraded to.
pub(super) fn upgrade(text: &str) -> Option<String> {
    (text.eq_ignore_ascii_case("websocket")).then(|| "websocket".to_owned())
}

/// A time as people write it.
pub(super) fn write_duration(span: Duration) -> String {
    let ms = span.as_millis();
    match ms {
        0 => "0s".to_owned(),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}
