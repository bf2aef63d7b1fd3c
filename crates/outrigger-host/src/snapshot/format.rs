//! The bytes of a snapshot file: one line of head, then JSON.
//!
//! ```text
//! outrigger-snapshot 1 <sha256 of the rest, in hex>\n
//! {"service":"stock","confirmed_ms":1800000000000,"saved_ms":…,"instances":[…]}
//! ```
//!
//! A policy beside it has `outrigger-policy` as its first word.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outrigger_core::{Address, Freshness, Instance, ServiceName, Snapshot};
use sha2::{Digest, Sha256};

use super::SnapshotError;
use crate::SavedPolicy;

const MAGIC: &str = "outrigger-snapshot";
const POLICY_MAGIC: &str = "outrigger-policy";
const FORMAT: u32 = 1;
/// Longest head that is looked at.
const MAX_HEAD: usize = 128;

#[derive(serde::Serialize, serde::Deserialize)]
struct Content<'a> {
    service: ServiceName,
    /// Units: milliseconds since 1970.
    confirmed_ms: u64,
    /// Units: the same; for people who look into the file.
    saved_ms: u64,
    instances: Cow<'a, [Arc<Instance>]>,
}

pub(super) fn encode(snapshot: &Snapshot, now: SystemTime) -> Result<Vec<u8>, serde_json::Error> {
    let content = Content {
        service: snapshot.service.clone(),
        confirmed_ms: to_ms(snapshot.confirmed),
        saved_ms: to_ms(now),
        instances: Cow::Borrowed(&snapshot.instances),
    };
    Ok(with_head(MAGIC, &serde_json::to_vec(&content)?))
}

#[derive(serde::Serialize, serde::Deserialize)]
struct PolicyContent<'a> {
    service: ServiceName,
    /// Units: milliseconds since 1970.
    confirmed_ms: u64,
    name: Cow<'a, str>,
    origin: Cow<'a, str>,
    text: Cow<'a, str>,
}

pub(crate) fn encode_policy(
    service: &ServiceName,
    policy: &SavedPolicy,
) -> Result<Vec<u8>, serde_json::Error> {
    let content = PolicyContent {
        service: service.clone(),
        confirmed_ms: to_ms(policy.confirmed),
        name: Cow::Borrowed(&policy.name),
        origin: Cow::Borrowed(&policy.origin),
        text: Cow::Borrowed(&policy.text),
    };
    Ok(with_head(POLICY_MAGIC, &serde_json::to_vec(&content)?))
}

pub(crate) fn decode_policy(
    bytes: &[u8],
    wanted: &ServiceName,
) -> Result<SavedPolicy, SnapshotError> {
    let content = without_head(POLICY_MAGIC, bytes)?;
    let content: PolicyContent<'_> =
        serde_json::from_slice(content).map_err(SnapshotError::BadContent)?;
    if content.service != *wanted {
        let (wanted, found) = (wanted.clone(), content.service);
        return Err(SnapshotError::OtherService { wanted, found });
    }
    let confirmed = SystemTime::UNIX_EPOCH + Duration::from_millis(content.confirmed_ms.min(LAST));
    Ok(SavedPolicy::new(&content.name, &content.origin, &content.text, confirmed))
}

fn with_head(magic: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{magic} {FORMAT} {}\n", checksum(content)).into_bytes();
    bytes.extend_from_slice(content);
    bytes
}

/// What stands below a head that fits.
fn without_head<'a>(magic: &str, bytes: &'a [u8]) -> Result<&'a [u8], SnapshotError> {
    let end = bytes.iter().take(MAX_HEAD).position(|&byte| byte == b'\n');
    let (head, content) =
        end.map(|end| (&bytes[..end], &bytes[end + 1..])).ok_or(SnapshotError::BadHead)?;
    let head = std::str::from_utf8(head).map_err(|_| SnapshotError::BadHead)?;
    let mut words = head.split(' ');
    if words.next() != Some(magic) {
        return Err(SnapshotError::BadHead);
    }
    let format = words.next().and_then(|word| word.parse().ok()).ok_or(SnapshotError::BadHead)?;
    if format != FORMAT {
        return Err(SnapshotError::OtherFormat { found: format, reads: FORMAT });
    }
    let claimed = words.next().ok_or(SnapshotError::BadHead)?;
    if words.next().is_some() {
        return Err(SnapshotError::BadHead);
    }
    if claimed != checksum(content) {
        return Err(SnapshotError::BadChecksum);
    }
    Ok(content)
}

pub(super) fn decode(bytes: &[u8], wanted: &ServiceName) -> Result<Snapshot, SnapshotError> {
    let content = without_head(MAGIC, bytes)?;
    let content: Content<'_> =
        serde_json::from_slice(content).map_err(SnapshotError::BadContent)?;
    let strangers = content.instances.iter().map(|instance| &instance.service);
    let found = std::iter::once(&content.service).chain(strangers).find(|&found| found != wanted);
    if let Some(found) = found {
        return Err(SnapshotError::OtherService { wanted: wanted.clone(), found: found.clone() });
    }
    // A checksum is no signature: what comes from a file is looked at as what comes from a
    // registry.
    if !content.instances.iter().all(|instance| is_usable(&instance.address)) {
        return Err(SnapshotError::BadAddress);
    }
    let confirmed = SystemTime::UNIX_EPOCH + Duration::from_millis(content.confirmed_ms.min(LAST));
    let instances = content.instances.into_owned();
    Ok(Snapshot::new(content.service, 1, instances, confirmed).with_freshness(Freshness::File))
}

/// Units: milliseconds since 1970; the year 5138, so that no sum of times overflows.
const LAST: u64 = 100_000_000_000_000;

fn is_usable(address: &Address) -> bool {
    match address {
        Address::Socket(SocketAddr::V4(v4)) => v4.port() != 0 && !v4.ip().is_unspecified(),
        Address::Socket(SocketAddr::V6(v6)) => v6.port() != 0 && !v6.ip().is_unspecified(),
        Address::Name(name, port) => {
            *port != 0
                && !name.is_empty()
                && name.len() <= 253
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
        _ => false,
    }
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn to_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
