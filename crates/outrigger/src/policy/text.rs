//! From a text to a plan that can be put into force, or to what is wrong with it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outrigger_core::{PolicyVersion, ServiceName};
use outrigger_http::{ClientTls, TlsError};
use outrigger_policy::{AuthorizeMode, Format, Plan, Policy, Tls, is_tombstone};
use rustls_pki_types::ServerName;

/// Longest text that is read, in bytes; as much as the registry takes.
pub(crate) const MAX_TEXT: usize = 512 << 10;

/// A policy that can be put into force.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What it was called: a file's path, or a key.
    pub(crate) name: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) plan: Plan,
    /// How endpoints are verified, where the policy says so.
    pub(crate) tls: Option<ClientTls>,
    /// Where the roots stand that they are verified by, if they stand in a file.
    pub(crate) roots: Option<PathBuf>,
}

impl Loaded {
    pub(crate) const fn version(&self) -> PolicyVersion {
        self.plan.version
    }

    /// How endpoints are verified by roots that have changed.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub(crate) fn tls_by(&self, roots: &[u8]) -> Result<ClientTls, String> {
        match &self.plan.tls {
            Some(tls) => client_tls(tls, Some(roots)),
            None => Err("the policy has no `tls`".to_owned()),
        }
    }

    /// What keeps the service's own side from obeying it.
    pub(crate) fn refused_inbound(&self) -> Option<Trouble> {
        let authorize = self.plan.inbound.as_ref()?.authorize.as_ref()?;
        (authorize.mode == AuthorizeMode::Enforce).then(|| {
            Trouble::new(
                "authorize",
                format!(
                    "{}: `inbound.authorize` needs callers with identities, which this version \
                     does not have; leave it out, or set `mode: observe`",
                    self.name
                ),
            )
        })
    }
}

/// The same text, read anew, is the same policy.
impl PartialEq for Loaded {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.name == other.name
    }
}

/// What a text is.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    Policy(Arc<Loaded>),
    /// The text that really removes a policy.
    Tombstone,
}

/// Why a policy is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// One of a fixed set of words, for metrics and events.
    pub(crate) class: &'static str,
    /// For people: where, what, and what is allowed.
    pub(crate) message: Arc<str>,
}

impl Trouble {
    pub(crate) fn new(class: &'static str, message: impl Into<Arc<str>>) -> Self {
        Self { class, message: message.into() }
    }

    pub(crate) fn vanished() -> Self {
        Self::new(
            "vanished",
            "it is not there any more, and the last good one stays; `outrigger policy push \
             --remove` really removes one",
        )
    }

    pub(crate) fn unheard(class: &'static str) -> Self {
        Self::new(class, format!("the registry cannot be asked for it ({class})"))
    }

    pub(crate) fn silent() -> Self {
        Self::new("silent", "the registry has not answered yet")
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Reads a policy's text. `folder` is what paths in it start from.
///
/// # Errors
/// [`Trouble`]: `empty`, `too_large`, `not_text`, `invalid`, or `tls` for certificates that cannot
/// be used.
pub(crate) fn read(name: &str, bytes: &[u8], folder: &Path) -> Result<Reading, Trouble> {
    let at = |what: &str| format!("{name}: {what}");
    if bytes.len() > MAX_TEXT {
        let what = format!("it has {} bytes; at most {MAX_TEXT} are read", bytes.len());
        return Err(Trouble::new("too_large", at(&what)));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Trouble::new("not_text", at(&format!("byte {} is no UTF-8", error.valid_up_to() + 1)))
    })?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(Trouble::new("empty", at("it is empty; a policy begins with `version: 1`")));
    }
    if is_tombstone(text) {
        return Ok(Reading::Tombstone);
    }
    let parsed = Policy::parse(name, text, Format::of(name, text))
        .map_err(|report| Trouble::new("invalid", report.first_line()))?;
    let ca = parsed.policy.tls.as_ref().and_then(|tls| tls.ca.as_ref());
    let roots = ca.map(|ca| folder.join(&**ca));
    let tls = match &parsed.policy.tls {
        Some(tls) => Some(
            read_roots(roots.as_deref())
                .and_then(|pem| client_tls(tls, pem.as_deref()))
                .map_err(|why| Trouble::new("tls", at(&why)))?,
        ),
        None => None,
    };
    let plan = Plan::compile(&parsed.policy);
    crate::stack::check(&plan).map_err(|error| Trouble::new("invalid", at(&error.to_string())))?;
    Ok(Reading::Policy(Arc::new(Loaded { name: name.into(), text: text.into(), plan, tls, roots })))
}

/// Whose policy a text most likely is, though it cannot be read.
pub(crate) fn service_in(text: &[u8]) -> Option<ServiceName> {
    let text = String::from_utf8_lossy(text.get(..text.len().min(64 << 10))?);
    text.lines().find_map(|line| {
        let line = line.trim_start_matches(['"', ' ', '\u{feff}']);
        let rest = line.strip_prefix("service")?.trim_start_matches(['"', ' ']);
        let value = rest.strip_prefix([':', '='])?.split(['#', ',']).next()?;
        ServiceName::new(value.trim_matches(['"', '\'', ' ', '\r', '\t'])).ok()
    })
}

fn read_roots(path: Option<&Path>) -> Result<Option<Vec<u8>>, String> {
    let Some(path) = path else { return Ok(None) };
    let read = std::fs::read(path);
    read.map(Some).map_err(|error| format!("`tls.ca` {} cannot be read: {error}", path.display()))
}

/// How endpoints are verified: by these roots, or by the system's.
fn client_tls(tls: &Tls, roots: Option<&[u8]>) -> Result<ClientTls, String> {
    let client = ClientTls::with_sans(roots, &*tls.san).map_err(|error| match error {
        TlsError::San { .. } => format!("`tls.san`: {error}"),
        _ if roots.is_none() => format!("the system's roots cannot be used: {error}"),
        _ => {
            let ca = tls.ca.as_deref().unwrap_or_default();
            format!("`tls.ca` {ca} cannot be used: {error}")
        }
    })?;
    let Some(sni) = &tls.sni else { return Ok(client) };
    let name = ServerName::try_from(sni.to_string())
        .map_err(|_| format!("`tls.sni` is {sni:?}; a DNS name is wanted"))?;
    Ok(client.with_server_name(name))
}

#[cfg(test)]
impl Loaded {
    pub(crate) fn for_tests(rest: &str) -> Arc<Self> {
        let text = format!("version: 1\nservice: stock\n{rest}\n");
        match read("stock.yaml", text.as_bytes(), Path::new(".")) {
            Ok(Reading::Policy(loaded)) => loaded,
            other => panic!("{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, text: &[u8]) -> &'static str {
        read(name, text, Path::new(".")).expect_err("refused").class
    }

    #[test]
    fn what_cannot_be_a_policy_is_told_apart() {
        assert_eq!(class("a.yaml", b""), "empty");
        assert_eq!(class("a.yaml", b"\xef\xbb\xbf \n"), "empty");
        assert_eq!(class("a.yaml", b"version: 1 # \xff"), "not_text");
        assert_eq!(class("a.yaml", &vec![b' '; MAX_TEXT + 1]), "too_large");
        assert_eq!(class("a.yaml", b"version: 1\ntiemout: 1s\n"), "invalid");
        let header = b"version: 1\nservice: a\nroutes: [ { name: r, match: { path_prefix: / }, \
                       headers: { request: { set: { host: x } } } } ]\n";
        assert_eq!(class("a.yaml", header), "invalid");
        let tls = b"version: 1\nservice: a\ntls: { ca: nowhere.pem }\n";
        assert_eq!(class("a.yaml", tls), "tls");
    }

    #[test]
    fn the_message_names_file_line_and_key() {
        let error = read("p/a.yaml", b"version: 1\nservice: a\ntiemout: 1s\n", Path::new("."));
        let message = error.expect_err("refused").message;
        assert!(message.starts_with("p/a.yaml:3:1: "), "{message}");
        assert!(message.contains("tiemout"), "{message}");
    }

    #[test]
    fn a_key_s_text_tells_its_own_format() {
        for (text, format) in [
            ("# why\nversion: 1\n", Format::Yaml),
            ("\n{\"version\": 1}", Format::Json),
            ("version = 1\n", Format::Toml),
            ("[retry]\n", Format::Toml),
            ("timeout: \"a=b\"", Format::Yaml),
        ] {
            assert_eq!(Format::of("outrigger/policy/stock", text), format, "{text}");
            assert_eq!(Format::of("stock.yml", text), Format::Yaml);
        }
    }

    #[test]
    fn whose_a_broken_text_is_can_be_told() {
        for text in [
            "version: 1\nservice: stock # ours\n  bad",
            "service = \"stock\"",
            "{\n \"service\": \"stock\",\n",
        ] {
            assert_eq!(service_in(text.as_bytes()).as_deref_str(), Some("stock"), "{text}");
        }
        assert_eq!(service_in(b"services: stock"), None);
    }

    trait AsText {
        fn as_deref_str(&self) -> Option<&str>;
    }

    impl AsText for Option<ServiceName> {
        fn as_deref_str(&self) -> Option<&str> {
            self.as_ref().map(ServiceName::as_str)
        }
    }
}
