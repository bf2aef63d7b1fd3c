//! What is checked before consulrs sees it.

use outrigger_core::InstanceId;
use outrigger_discovery::{RegistrationError, RegistryError};

use crate::ConfigError;

/// Checks a token: consulrs unwraps it into a header.
pub(crate) fn token(text: &str) -> Result<(), ConfigError> {
    let fits = text.len() <= 512 && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(()) } else { Err(ConfigError::Token) }
}

/// Checks the address that a client asks: rustify unwraps its path, and consulrs writes the version
/// before a path instead of behind it.
///
/// A user in the address is refused because rustify writes addresses into spans and errors.
pub(crate) fn address(text: &str) -> Result<(), ConfigError> {
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://"));
    let rest = rest.ok_or(ConfigError::Address)?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~[]:".contains(&b);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if name.is_empty() || !host.bytes().all(plain) || !port_fits {
        return Err(ConfigError::Address);
    }
    Ok(())
}

/// Whether a text goes into a path as it is: consulrs splits at `/`, follows `..` and encodes all
/// else that is special twice.
pub(crate) fn is_plain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:@".contains(&b);
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(plain)
}

/// Checks the id of an instance, which stands in paths.
pub(crate) fn id(id: &InstanceId) -> Result<(), RegistryError> {
    if is_plain(id.as_str()) {
        return Ok(());
    }
    let allowed = "letters, digits, `-`, `_`, `.`, `~`, `:`, `@`: consulrs breaks all others";
    Err(RegistrationError::wrong("id", id, allowed).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_would_panic_is_refused_without_being_shown() {
        assert_eq!(token("b1gs33cr3t-1111-2222"), Ok(()));
        assert_eq!(token(""), Ok(()), "no token at all");
        for bad in ["canary\n", "a canary", "canary\r\nx-evil: 1", "cänary", &"c".repeat(513)] {
            let error = token(bad).expect_err("refused");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }

    #[test]
    fn an_address_that_would_panic_or_ask_elsewhere_is_refused_without_being_shown() {
        for good in [
            "http://127.0.0.1:8500",
            "HTTP://Consul.internal",
            "https://consul:8501/",
            "http://[::1]:8500",
            "http://[::1]",
        ] {
            assert_eq!(address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:8500",
            "localhost:8500",
            "unix:///run/consul.sock",
            "http://",
            "http://:8500",
            "http://host:0",
            "http://host:99999",
            "http://host/prefix",
            "http://host?dc=a",
            "http://host#x",
            "http://user:canary@host",
            "http://ho st",
            "http://host\n",
        ] {
            let error = address(bad).expect_err(bad);
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }

    #[test]
    fn an_id_that_changes_a_path_is_refused() {
        for good in ["stock-web-80-00ab12", "a:1@n.x~_", "..."] {
            assert!(id(&good.parse().expect("an id")).is_ok(), "{good}");
        }
        for bad in ["..", ".", "a/b", "a b", "a%2fb", "a?b", "a#b", "é", "a\\b", "a+b"] {
            // Some are refused by the type already.
            let Ok(bad) = bad.parse::<InstanceId>() else { continue };
            let error = id(&bad).expect_err("refused");
            assert!(matches!(error, RegistryError::Invalid(_)), "{error}");
        }
        assert!(!is_plain("") && !is_plain("a/../b"));
    }
}
