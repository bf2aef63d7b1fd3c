use http::{HeaderName, Request, header};
use outrigger_balance::hash_key;

use crate::ClientAddress;

/// What the hashing algorithms, and a sticky split, go by; `hash_on` of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashOn {
    /// A header's first value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// The value of a key in the query, as written.
    Query(String),
    /// The address that the request came from, as [`ClientAddress`] in its extensions tells it.
    ClientAddress,
}

impl HashOn {
    /// The hash of a request; `None` when it lacks what is gone by, upon which the choice is made
    /// by lot, as in Envoy.
    #[must_use]
    pub fn hash<B>(&self, request: &Request<B>) -> Option<u64> {
        let value = match self {
            Self::Header(name) => request.headers().get(name)?.as_bytes(),
            Self::Cookie(name) => {
                let lists = request.headers().get_all(header::COOKIE).iter();
                let pairs = lists.filter_map(|list| list.to_str().ok()).flat_map(|l| l.split(';'));
                find(pairs.map(str::trim), name)?.as_bytes()
            }
            Self::Query(name) => find(request.uri().query()?.split('&'), name)?.as_bytes(),
            Self::ClientAddress => {
                // Whole, unlike in a rate limit: a client that moves within its /64 gains nothing.
                return Some(match request.extensions().get::<ClientAddress>()?.0.to_canonical() {
                    std::net::IpAddr::V4(address) => hash_key(&address.octets()),
                    std::net::IpAddr::V6(address) => hash_key(&address.octets()),
                });
            }
        };
        Some(hash_key(value))
    }
}

fn find<'a>(mut pairs: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    pairs.find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|(_, v)| v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_is_found_in_header_cookie_and_query() {
        let request = Request::get("/stock?a=1&user=ann")
            .header("x-user", "ann")
            .header(header::COOKIE, "theme=dark; user=ann")
            .body(())
            .expect("valid");
        let wanted = Some(hash_key("ann".as_bytes()));
        let header = HashOn::Header(HeaderName::from_static("x-user"));
        for on in [header, HashOn::Cookie("user".into()), HashOn::Query("user".into())] {
            assert_eq!(on.hash(&request), wanted, "{on:?}");
        }
        assert_eq!(HashOn::Query("absent".into()).hash(&request), None);
    }

    #[test]
    fn a_client_is_the_same_however_its_address_is_written() {
        let from = |address: &str| {
            let mut request = Request::get("/").body(()).expect("valid");
            let address = address.parse().expect("an address");
            request.extensions_mut().insert(ClientAddress(address));
            HashOn::ClientAddress.hash(&request)
        };
        assert!(from("192.0.2.7").is_some());
        assert_eq!(from("192.0.2.7"), from("::ffff:192.0.2.7"));
        assert_ne!(from("192.0.2.7"), from("192.0.2.8"));
        assert_ne!(from("2001:db8::1"), from("2001:db8::2"));
        let nowhere = Request::get("/").body(()).expect("valid");
        assert_eq!(HashOn::ClientAddress.hash(&nowhere), None);
    }
}
