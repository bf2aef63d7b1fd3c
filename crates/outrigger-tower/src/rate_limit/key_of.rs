use std::net::IpAddr;

use http::{HeaderName, Request};
use outrigger_core::{Context, NormalPath};
use outrigger_limit::{Key, KeyBuilder};

/// In a request's extensions: the address that the request came from, for [`KeyOf::ClientAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

/// What has a bucket of its own; `per` of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyOf {
    /// Each calling service; without a trusted name, each client address.
    Caller,
    /// Each client address, as [`ClientAddress`] tells it.
    ClientAddress,
    /// Each value of a header.
    Header(HeaderName),
    /// Each value of a key in the query, as written.
    Query(String),
    /// Each path, in its normal form; as it came where it has none.
    Path,
}

impl KeyOf {
    /// The key of a request. What lacks the thing that is gone by shares one bucket.
    pub(crate) fn key<B>(&self, key: KeyBuilder, context: &Context, request: &Request<B>) -> Key {
        match self {
            Self::Caller => match &context.caller {
                Some(caller) => key.part(b"caller").part(caller.as_str().as_bytes()).finish(),
                None => address(key, request),
            },
            Self::ClientAddress => address(key, request),
            Self::Header(name) => match request.headers().get(name) {
                Some(value) => key.part(b"header").part(value.as_bytes()).finish(),
                None => key.part(b"none").finish(),
            },
            Self::Query(name) => {
                let mut pairs = request.uri().query().unwrap_or_default().split('&');
                let value = pairs.find_map(|pair| {
                    pair.split_once('=').filter(|(key, _)| key == name).map(|(_, value)| value)
                });
                match value {
                    Some(value) => key.part(b"query").part(value.as_bytes()).finish(),
                    None => key.part(b"none").finish(),
                }
            }
            Self::Path => {
                let path = request.uri().path();
                // Otherwise each spelling of a path would have a bucket of its own.
                let normal = NormalPath::new(path);
                let path = normal.as_ref().map_or(path, NormalPath::as_str);
                key.part(b"path").part(path.as_bytes()).finish()
            }
        }
    }
}

fn address<B>(key: KeyBuilder, request: &Request<B>) -> Key {
    match request.extensions().get::<ClientAddress>() {
        Some(ClientAddress(IpAddr::V4(address))) => {
            key.part(b"address").part(&address.octets()).finish()
        }
        Some(ClientAddress(IpAddr::V6(address))) => {
            // A client is handed a whole /64 and may choose within it.
            key.part(b"address").part(&address.octets()[..8]).finish()
        }
        None => key.part(b"none").finish(),
    }
}
