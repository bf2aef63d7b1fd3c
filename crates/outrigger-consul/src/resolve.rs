//! From an instance's address to addresses that one can connect to.

use std::io;
use std::net::SocketAddr;

use outrigger_core::Address;

use crate::answer::refused_ip;

/// The addresses that an instance's address stands for now: itself, or what its name resolves to.
///
/// Shape: sorted, without duplicates; link-local, unspecified and multicast ones are left out, as
/// in what a registry says. To be asked again every 30 s for a name.
///
/// # Errors
/// When the name does not resolve, or to nothing that is left.
///
/// # Cancel safety
/// Safe: a look-up that nobody waits for ends by itself.
pub async fn addresses(address: &Address) -> io::Result<Vec<SocketAddr>> {
    let mut found = match address {
        Address::Socket(address) => vec![*address],
        Address::Name(name, port) => tokio::net::lookup_host((&**name, *port)).await?.collect(),
        _ => Vec::new(),
    };
    found.retain(|address| refused_ip(address.ip().to_canonical()).is_none());
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address that may be used"));
    }
    Ok(found)
}
