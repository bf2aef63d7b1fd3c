//! The variables of the official clients.

use crate::{AgentAddress, BasicAuth, ConfigError, ConsulConfig, Token, TokenSource};

pub(super) fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Result<ConsulConfig, ConfigError> {
    let variable = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
    let named = |name: &'static str| {
        move |error: ConfigError| match error {
            ConfigError::Value { value, allowed, .. } => {
                ConfigError::Value { key: name.into(), value, allowed }
            }
            other => other,
        }
    };
    let mut config = ConsulConfig::default();
    if let Some(text) = variable("CONSUL_HTTP_ADDR") {
        config.address = text.parse().map_err(named("CONSUL_HTTP_ADDR"))?;
    }
    if let Some(text) = variable("CONSUL_HTTP_SSL") {
        let wanted = boolean("CONSUL_HTTP_SSL", &text)?;
        if let AgentAddress::Tcp { tls, .. } = &mut config.address {
            // As in the official clients: it switches on, and an https address stays https.
            *tls |= wanted;
        }
    }
    // As in the official clients, a file goes before a token.
    if let Some(path) = variable("CONSUL_HTTP_TOKEN_FILE") {
        config.token = TokenSource::File(path.into());
    } else if let Some(text) = variable("CONSUL_HTTP_TOKEN") {
        config.token = TokenSource::Fixed(Token::new(&text)?);
    }
    if let Some(text) = variable("CONSUL_HTTP_AUTH") {
        config.basic_auth = Some(BasicAuth::new(&text).map_err(named("CONSUL_HTTP_AUTH"))?);
    }
    config.tls.ca = variable("CONSUL_CACERT").map(Into::into);
    config.tls.cert = variable("CONSUL_CLIENT_CERT").map(Into::into);
    config.tls.key = variable("CONSUL_CLIENT_KEY").map(Into::into);
    config.tls.server_name = variable("CONSUL_TLS_SERVER_NAME");
    if let Some(text) = variable("CONSUL_HTTP_SSL_VERIFY") {
        config.tls.verify = boolean("CONSUL_HTTP_SSL_VERIFY", &text)?;
    }
    config.namespace = variable("CONSUL_NAMESPACE");
    config.validate()?;
    Ok(config)
}

fn boolean(name: &str, text: &str) -> Result<bool, ConfigError> {
    // Go's strconv.ParseBool, which the official clients use.
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(ConfigError::value(name, other, "true, false, 1, 0, t, f")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(pairs: &[(&str, &str)]) -> Result<ConsulConfig, ConfigError> {
        read(&|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn every_variable_is_read() {
        let config = read_all(&[
            ("CONSUL_HTTP_ADDR", "consul.example:8501"),
            ("CONSUL_HTTP_SSL", "true"),
            ("CONSUL_HTTP_TOKEN", "ignored-for-the-file"),
            ("CONSUL_HTTP_TOKEN_FILE", "/run/token"),
            ("CONSUL_HTTP_AUTH", "user:pass"),
            ("CONSUL_CACERT", "/ca.pem"),
            ("CONSUL_CLIENT_CERT", "/cert.pem"),
            ("CONSUL_CLIENT_KEY", "/key.pem"),
            ("CONSUL_TLS_SERVER_NAME", "server.dc1.consul"),
            ("CONSUL_HTTP_SSL_VERIFY", "false"),
            ("CONSUL_NAMESPACE", "team"),
        ])
        .expect("valid");
        assert_eq!(config.address.to_string(), "https://consul.example:8501");
        assert!(matches!(&config.token, TokenSource::File(path) if path.ends_with("token")));
        assert_eq!(config.tls.ca.expect("set").to_str(), Some("/ca.pem"));
        assert_eq!(config.tls.server_name.as_deref(), Some("server.dc1.consul"));
        assert!(!config.tls.verify);
        assert_eq!(config.namespace.as_deref(), Some("team"));
        assert_eq!(config.basic_auth.expect("set").header, "Basic dXNlcjpwYXNz");
    }

    #[test]
    fn an_empty_variable_is_as_none() {
        let config = read_all(&[("CONSUL_HTTP_ADDR", ""), ("CONSUL_HTTP_TOKEN", " ")]);
        let config = config.expect("valid");
        assert_eq!(config.address, AgentAddress::default());
        assert!(matches!(config.token, TokenSource::None));
    }

    #[test]
    fn a_wrong_variable_is_named_with_its_value_and_what_is_allowed() {
        for (name, value) in [
            ("CONSUL_HTTP_ADDR", "ftp://a"),
            ("CONSUL_HTTP_SSL", "yes"),
            ("CONSUL_HTTP_SSL_VERIFY", "2"),
        ] {
            let error = read_all(&[(name, value)]).expect_err(name).to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
            assert!(error.contains("allowed"), "{error}");
        }
        let error = read_all(&[("CONSUL_HTTP_TOKEN", "canary\nx")]).expect_err("no header");
        assert!(!error.to_string().contains("canary"), "{error}");
        let error = read_all(&[("CONSUL_HTTP_AUTH", "canary")]).expect_err("no colon");
        assert!(!error.to_string().contains("canary"), "{error}");
        let error = read_all(&[("CONSUL_CLIENT_CERT", "/cert.pem")]).expect_err("no key");
        assert!(error.to_string().contains("tls.cert"), "{error}");
    }

    #[test]
    fn every_range_is_checked() {
        use std::time::Duration;
        let secs = Duration::from_secs;
        type Edit = fn(&mut ConsulConfig);
        let edits: [(&str, Edit); 9] = [
            ("wait", |c| c.wait = Duration::from_secs(601)),
            ("timeout", |c| c.timeout = Duration::ZERO),
            ("connect_timeout", |c| c.connect_timeout = Duration::ZERO),
            ("max_stale", |c| c.max_stale = Duration::from_secs(601)),
            ("verify_every", |c| c.verify_every = Duration::ZERO),
            ("max_watches", |c| c.max_watches = 0),
            ("max_answer", |c| c.max_answer = 1),
            ("max_instances", |c| c.max_instances = 0),
            ("guard.hold", |c| c.guard.hold = Duration::ZERO),
        ];
        for (key, edit) in edits {
            let mut config = ConsulConfig::default();
            edit(&mut config);
            let error = config.validate().expect_err(key).to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
        let config = ConsulConfig::default();
        assert_eq!(
            (config.wait, config.timeout, config.max_stale),
            (secs(300), secs(10), secs(10))
        );
        assert_eq!((config.max_watches, config.max_answer), (32, 32 << 20));
    }
}
