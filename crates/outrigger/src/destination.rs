//! Which service a URL means.

use http::Uri;
use http::uri::Scheme;
use outrigger_core::{NameError, PathError, ServiceName};

/// Why a URL names no service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// The URL has no host; a service is called as `http://NAME/path`.
    #[error("the url has no host; a service is called as `http://NAME/path`")]
    NoHost,
    /// The scheme is neither `http` nor `https`.
    #[error(
        "the scheme of a service's url is `http`, not `{scheme}`; whether a connection is \
             encrypted follows from the instance's `protocol`"
    )]
    Scheme {
        /// What was written.
        scheme: String,
    },
    /// The host is an IP address, which no registry knows by name.
    #[error(
        "`{host}` is an address, not the name of a service; list it with \
             `OUTRIGGER_ENDPOINTS=NAME={host}:PORT` and call the name"
    )]
    Address {
        /// What was written.
        host: String,
    },
    /// The path has no normal form, so that two readers could understand it differently; only
    /// looked at where a policy's routes decide by it.
    #[error("the path names no resource")]
    Path(#[from] PathError),
    /// The host cannot be a service's name.
    #[error("the host names no service")]
    Name(#[from] NameError),
}

/// The service name in the host of a URL, borrowed.
///
/// Shape: `inventory`, `inventory.service.consul`, `inventory.service.DC.consul` and
/// `inventory.outrigger` all mean `inventory`; a port is ignored.
pub(crate) fn name_in_host(host: &str) -> (&str, Option<&str>) {
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Some(name) = strip_suffix_ignoring_case(host, ".outrigger") {
        return (name, None);
    }
    if let Some(rest) = strip_suffix_ignoring_case(host, ".consul") {
        if let Some(name) = strip_suffix_ignoring_case(rest, ".service") {
            return (name, None);
        }
        if let Some((rest, datacenter)) = rest.rsplit_once('.')
            && let Some(name) = strip_suffix_ignoring_case(rest, ".service")
        {
            return (name, Some(datacenter));
        }
    }
    (host, None)
}

fn strip_suffix_ignoring_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(suffix.len())?;
    let tail = text.get(at..)?;
    (at > 0 && tail.eq_ignore_ascii_case(suffix)).then(|| &text[..at])
}

/// The service that a host means; see [`named_service`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedService {
    /// Which, in lower case.
    pub service: ServiceName,
    /// In which datacenter, where the host says so.
    pub datacenter: Option<String>,
    /// Whether the host can mean nothing else: it ends in `.service.consul` (also with a
    /// datacenter) or in `.outrigger`.
    pub is_qualified: bool,
}

/// The service that a host means, for a proxy that tells services and other hosts apart.
///
/// Shape: the host without its port.
///
/// # Errors
/// [`DestinationError`], for what can be no service's name.
pub fn named_service(host: &str) -> Result<NamedService, DestinationError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Err(DestinationError::Address { host: host.to_owned() });
    }
    let (name, datacenter) = name_in_host(host);
    let is_qualified = name.len() < host.strip_suffix('.').unwrap_or(host).len();
    let datacenter = datacenter.map(str::to_ascii_lowercase);
    Ok(NamedService { service: folded(name)?, datacenter, is_qualified })
}

/// Whether a service can be called by this URL's scheme.
pub(crate) fn has_scheme(uri: &Uri) -> bool {
    uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)
}

/// The host that names the service; errors for what can name none.
pub(crate) fn host_of(uri: &Uri) -> Result<&str, DestinationError> {
    if !has_scheme(uri) {
        let scheme = uri.scheme_str().unwrap_or_default().to_owned();
        return Err(DestinationError::Scheme { scheme });
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(DestinationError::NoHost)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Err(DestinationError::Address { host: host.to_owned() });
    }
    Ok(host)
}

/// The service that a URL means, and the datacenter if the host names one.
///
/// Shape: in lower case, whatever was written: a host has no case (RFC 3986, 3.2.2), and neither
/// has a service in Consul's catalogue.
pub(crate) fn service_of(host: &str) -> Result<(ServiceName, Option<String>), DestinationError> {
    let (name, datacenter) = name_in_host(host);
    Ok((folded(name)?, datacenter.map(str::to_ascii_lowercase)))
}

/// The name of a service as calls mean it: in lower case.
pub(crate) fn folded(name: &str) -> Result<ServiceName, NameError> {
    ServiceName::new(&name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(uri: &'static str) -> Result<String, DestinationError> {
        let uri = Uri::from_static(uri);
        service_of(host_of(&uri)?).map(|(name, dc)| match dc {
            Some(dc) => format!("{name}@{dc}"),
            None => name.to_string(),
        })
    }

    #[test]
    fn all_spellings_of_a_service_mean_the_service() {
        for (uri, wanted) in [
            ("http://inventory/stock/1", "inventory"),
            ("http://inventory:8080/", "inventory"),
            ("https://inventory/", "inventory"),
            ("http://inventory.service.consul/", "inventory"),
            ("http://inventory.service.dc2.consul/", "inventory@dc2"),
            ("http://inventory.outrigger/", "inventory"),
            ("http://inventory.SERVICE.Consul/", "inventory"),
            ("http://Inventory/", "inventory"),
            ("http://INVENTORY.service.DC2.consul/", "inventory@dc2"),
            ("http://team.inventory/", "team.inventory"),
        ] {
            assert_eq!(service(uri).as_deref(), Ok(wanted), "{uri}");
        }
    }

    #[test]
    fn a_proxy_is_told_whether_a_host_can_mean_anything_else() {
        for (host, qualified) in [
            ("inventory", false),
            ("inventory.", false),
            ("team.inventory", false),
            ("inventory.outrigger", true),
            ("inventory.service.consul.", true),
            ("inventory.service.dc2.consul", true),
        ] {
            let named = named_service(host).expect(host);
            assert_eq!(named.is_qualified, qualified, "{host}");
        }
        assert!(named_service("10.0.0.1").is_err() && named_service("[::1]").is_err());
    }

    #[test]
    fn what_names_no_service_is_refused_with_the_way_out() {
        assert!(matches!(service("/stock/1"), Err(DestinationError::NoHost)));
        assert!(matches!(service("ftp://inventory/"), Err(DestinationError::Scheme { .. })));
        for address in ["http://127.0.0.1:80/", "http://[::1]:80/"] {
            assert!(matches!(service(address), Err(DestinationError::Address { .. })), "{address}");
        }
    }
}
