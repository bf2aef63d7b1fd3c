use http::{HeaderName, Request, header};
use outrigger_balance::hash_key;

/// What the hashing algorithms go by; `hash_on` of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashOn {
    /// A header's first value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// The value of a key in the query, as written.
    Query(String),
}

impl HashOn {
    /// The hash of a request; `None` when it lacks what is gone by.
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
}
