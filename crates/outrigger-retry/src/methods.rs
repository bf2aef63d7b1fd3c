//! Which requests may be sent twice.

use std::fmt;

use http::Method;

/// Which requests may be sent again although an endpoint may have seen them.
///
/// What no endpoint saw (connect failure, refused stream) needs no leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Methods {
    /// GET, HEAD, OPTIONS, TRACE, PUT and DELETE. No gRPC call, for each of them is a POST.
    ///
    /// Source: RFC 9110, section 9.2.2.
    #[default]
    Idempotent,
    /// Every one: the service's owner says that a request delivered twice does no harm.
    All,
    /// These HTTP methods, and these full gRPC method names such as `stock.Stock/Get`.
    Listed(Vec<Box<str>>),
}

impl Methods {
    /// Whether a request with this method and path may be sent again.
    #[must_use]
    pub fn allow(&self, method: &Method, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Idempotent => method.is_idempotent(),
            Self::Listed(names) => {
                let called = path.strip_prefix('/').unwrap_or(path);
                names.iter().any(|name| {
                    if name.contains('/') {
                        *method == Method::POST && name.strip_prefix('/').unwrap_or(name) == called
                    } else {
                        &**name == method.as_str()
                    }
                })
            }
        }
    }

    /// What is wrong with a list, if anything.
    pub(crate) fn fault(&self) -> Option<&str> {
        let Self::Listed(names) = self else { return None };
        if names.is_empty() {
            return Some("[]");
        }
        names.iter().map(|name| &**name).find(|name| {
            let is_method = Method::from_bytes(name.as_bytes()).is_ok()
                && name.bytes().all(|b| !b.is_ascii_lowercase());
            let is_grpc = matches!(
                name.strip_prefix('/').unwrap_or(name).split_once('/'),
                Some((service, method))
                    if !service.is_empty() && !method.is_empty() && !method.contains('/')
            );
            !is_method && !is_grpc
        })
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idempotent => f.write_str("idempotent"),
            Self::All => f.write_str("all"),
            Self::Listed(names) => write!(f, "[{}]", names.join(", ")),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Methods {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Listed(names) => to.collect_seq(names),
            word => to.collect_str(word),
        }
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Methods {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Methods;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("idempotent, all, or a list of methods")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Methods, E> {
                match text {
                    "idempotent" => Ok(Methods::Idempotent),
                    "all" => Ok(Methods::All),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut names: A,
            ) -> Result<Methods, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = names.next_element::<Box<str>>()? {
                    all.push(name);
                }
                Ok(Methods::Listed(all))
            }
        }

        from.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotent_is_what_the_standard_says() {
        let allowed = |method: &Method| Methods::Idempotent.allow(method, "/");
        assert!([Method::GET, Method::HEAD, Method::PUT, Method::DELETE].iter().all(allowed));
        assert!(![Method::POST, Method::PATCH, Method::CONNECT].iter().any(allowed));
    }

    #[test]
    fn a_list_names_http_methods_and_grpc_calls() {
        let listed = Methods::Listed(vec!["PATCH".into(), "stock.Stock/Get".into()]);
        assert_eq!(listed.fault(), None);
        assert!(listed.allow(&Method::PATCH, "/x"));
        assert!(listed.allow(&Method::POST, "/stock.Stock/Get"));
        assert!(!listed.allow(&Method::POST, "/stock.Stock/Put"));
        assert!(!listed.allow(&Method::GET, "/x"), "what is not listed has no leave");
    }

    #[test]
    fn a_list_that_can_never_match_is_a_fault() {
        for bad in ["get", "G ET", "", "a/b/c", "/x", "stock.Stock/"] {
            assert!(Methods::Listed(vec![bad.into()]).fault().is_some(), "{bad:?}");
        }
        assert!(Methods::Listed(Vec::new()).fault().is_some());
    }
}
