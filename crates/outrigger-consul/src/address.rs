//! Where the agent is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::ConfigError;

/// Where the agent is, as in `CONSUL_HTTP_ADDR`.
///
/// Shape: `host`, `host:port`, `http://host:port`, `https://host:port` or `unix:///path`; the port
/// is 8500 when none is written. A path, a query or user information is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentAddress {
    /// Over TCP.
    Tcp {
        /// A name or an IP address, an IPv6 one without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether with TLS.
        tls: bool,
    },
    /// Over a Unix socket.
    Unix(PathBuf),
}

impl Default for AgentAddress {
    fn default() -> Self {
        Self::Tcp { host: "127.0.0.1".into(), port: 8500, tls: false }
    }
}

impl FromStr for AgentAddress {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        const ALLOWED: &str = "host[:port], http://host[:port], https://host[:port], unix:///path";
        let wrong = || ConfigError::value("address", text, ALLOWED);
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix://") {
            let plain = path.starts_with('/') && !path.contains(char::is_control);
            return if plain { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        let (tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = if let Some(rest) = rest.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (host, port.strip_prefix(':').map_or_else(|| port.is_empty().then_some("8500"), Some))
        } else {
            rest.split_once(':').map_or((rest, Some("8500")), |(host, port)| (host, Some(port)))
        };
        let port: u16 = port.ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if port == 0 || host.is_empty() || !host.chars().all(plain) {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: host.into(), port, tls })
    }
}

impl fmt::Display for AgentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "https" } else { "http" };
                if host.contains(':') {
                    write!(f, "{scheme}://[{host}]:{port}")
                } else {
                    write!(f, "{scheme}://{host}:{port}")
                }
            }
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_official_clients_is_read() {
        for (text, shown) in [
            ("127.0.0.1:8500", "http://127.0.0.1:8500"),
            ("consul", "http://consul:8500"),
            ("http://consul:8501/", "http://consul:8501"),
            ("HTTPS://consul.example:8501", "https://consul.example:8501"),
            ("https://[::1]:8501", "https://[::1]:8501"),
            ("[::1]", "http://[::1]:8500"),
            ("unix:///run/consul.sock", "unix:///run/consul.sock"),
        ] {
            let address: AgentAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), shown);
        }
    }

    #[test]
    fn anything_else_is_refused_and_named() {
        for text in [
            "",
            "ftp://a",
            "http://",
            "a:0",
            "a:70000",
            "a:b",
            "http://a:1/path",
            "http://u@a:1",
            "a b",
            "a\r\nb:1",
            "unix://relative",
            "[::1]x",
            "[zz]:1",
            "http://a:1?x",
        ] {
            let error = text.parse::<AgentAddress>().expect_err(text);
            assert!(error.to_string().contains("address"), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
