//! Ids that cannot clash, and the mark of one start of a process.

use std::fs;
use std::sync::Arc;

use outrigger_core::InstanceId;
use outrigger_discovery::Registration;

/// `<service>-<host>-<port>-<suffix>`: the same after a restart on the same machine and port.
///
/// The suffix tells apart machines, or containers, that share a host name.
pub(super) fn instance_id(registration: &Registration) -> InstanceId {
    let host = host_name();
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let address = registration.address.map(|address| address.to_string()).unwrap_or_default();
    build(registration, &host, &format!("{host}\0{}\0{address}", machine.trim()))
}

fn build(registration: &Registration, host: &str, machine: &str) -> InstanceId {
    let suffix = fnv(machine.as_bytes()) & 0xff_ffff;
    let (service, port) = (&registration.service, registration.port);
    let id = format!("{service}-{}-{port}-{suffix:06x}", plain(host));
    InstanceId::new(&id).expect("plain characters, 128 + 63 + 14 bytes at most")
}

/// A mark that differs from start to start.
pub(crate) fn boot_nonce() -> Arc<str> {
    format!("{:016x}", fastrand::u64(..)).into()
}

fn host_name() -> String {
    let file = |path: &str| fs::read_to_string(path).ok();
    let name = file("/proc/sys/kernel/hostname").or_else(|| std::env::var("HOSTNAME").ok());
    name.or_else(|| file("/etc/hostname")).unwrap_or_default()
}

fn plain(host: &str) -> String {
    let first = host.trim().split('.').next().unwrap_or_default();
    let kept = first.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(63);
    let kept: String = kept.map(|c| c.to_ascii_lowercase()).collect();
    if kept.is_empty() { "host".into() } else { kept }
}

/// FNV-1a, 64 bits: stable over releases, which the standard library's hasher is not.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(port: u16) -> Registration {
        Registration::new("stock".parse().expect("valid"), port)
    }

    #[test]
    fn the_id_is_stable_and_tells_ports_and_machines_apart() {
        let id = build(&stock(80), "Web-1.example.org\n", "m1");
        assert!(id.as_str().starts_with("stock-web-1-80-"), "{id}");
        assert_eq!(id, build(&stock(80), "web-1", "m1"));
        assert_ne!(id, build(&stock(81), "web-1", "m1"));
        assert_ne!(id, build(&stock(80), "web-1", "m2"));
        assert_eq!(instance_id(&stock(80)), instance_id(&stock(80)));
    }

    #[test]
    fn a_host_without_a_usable_name_still_has_an_id() {
        assert!(build(&stock(80), "\u{0}é", "m").as_str().starts_with("stock-host-80-"));
    }

    #[test]
    fn two_starts_have_two_marks() {
        assert_ne!(boot_nonce(), boot_nonce());
    }
}
