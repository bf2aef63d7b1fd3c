//! What the tags and metadata of a mixed fleet say.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_core::{Dialect, Language, Protocol};

/// What was understood of one registration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Understood {
    pub(crate) dialect: Dialect,
    pub(crate) language: Option<Language>,
    pub(crate) version: Option<Arc<str>>,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) protocol: Protocol,
    pub(crate) boot: Option<Arc<str>>,
}

/// Reads tags and metadata, in the order that consul.md of every dialect agrees on: Meta first,
/// then `key=value` tags, then plain ones.
pub(crate) fn understand(
    tags: &[Arc<str>],
    meta: &BTreeMap<Arc<str>, Arc<str>>,
    tagged_schemes: &[&str],
) -> Understood {
    let in_meta = |key: &str| meta.get(key).filter(|value| !value.trim().is_empty());
    let in_tags = |key: &str| tags.iter().find_map(|tag| pair(tag, key));
    let text = |key: &str| in_meta(key).cloned().or_else(|| in_tags(key).map(Arc::from));

    let language = in_meta("language")
        .and_then(|text| Language::named(text))
        .or_else(|| {
            let named = |key| in_tags(key).and_then(Language::named);
            named("lang").or_else(|| named("language"))
        })
        .or_else(|| tags.iter().find_map(|tag| Language::parse(tag)));
    let secure = text("secure").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    let guessed = match tagged_schemes {
        _ if secure => Protocol::Https,
        // kratos names the schemes it serves; only where there is but one is it sure.
        ["grpc"] => Protocol::Grpc,
        ["grpcs"] => Protocol::Grpcs,
        ["https"] => Protocol::Https,
        _ => Protocol::Http,
    };
    let protocol = text("protocol").and_then(|text| Protocol::parse(&text)).unwrap_or(guessed);
    Understood {
        dialect: dialect(tags, meta, tagged_schemes),
        language,
        version: text("version"),
        zone: text("zone"),
        protocol,
        boot: in_meta("outrigger-boot").cloned(),
    }
}

fn dialect(
    tags: &[Arc<str>],
    meta: &BTreeMap<Arc<str>, Arc<str>>,
    tagged_schemes: &[&str],
) -> Dialect {
    let tag = |fits: fn(&str) -> bool| tags.iter().any(|tag| fits(tag));
    if meta.contains_key("outrigger-boot") {
        Dialect::Outrigger
    } else if meta.contains_key("DAPR_PORT") {
        Dialect::Dapr
    } else if tag(is_go_micro) {
        Dialect::GoMicro
    } else if !tagged_schemes.is_empty() {
        Dialect::Kratos
    } else if meta.contains_key("secure") || tag(|tag| pair(tag, "secure").is_some()) {
        Dialect::Spring
    } else if tag(|tag| tag.starts_with("traefik.")) {
        Dialect::Traefik
    } else if tag(|tag| tag.starts_with("urlprefix-")) {
        Dialect::Fabio
    } else {
        Dialect::Plain
    }
}

/// The value of a `key=value` or `key:value` tag.
fn pair<'a>(tag: &'a str, key: &str) -> Option<&'a str> {
    // Most tags are no pair: told by the bytes before anything is split.
    let at = tag.bytes().position(|byte| matches!(byte, b'=' | b':'))?;
    let (found, value) = (&tag[..at], tag[at + 1..].trim());
    (found.trim().eq_ignore_ascii_case(key) && !value.is_empty()).then_some(value)
}

/// go-micro writes JSON, compressed by zlib, as hex digits behind `v-`, `t-` or `e-`.
fn is_go_micro(tag: &str) -> bool {
    let Some((kind, hex)) = tag.split_once('-') else { return false };
    matches!(kind, "v" | "t" | "e")
        && hex.len() >= 12
        && hex.starts_with("789c")
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tags: &[&str], meta: &[(&str, &str)]) -> Understood {
        let tags: Vec<Arc<str>> = tags.iter().map(|&tag| tag.into()).collect();
        let meta = meta.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        understand(&tags, &meta, &[])
    }

    #[test]
    fn the_language_is_looked_for_in_meta_then_pairs_then_plain_tags() {
        for (tags, meta, wanted) in [
            (&["go", "lang=java"][..], &[("language", "rust")][..], Some(Language::Rust)),
            (&["go", "lang=java"], &[], Some(Language::Java)),
            (&["go", "lang:py"], &[], Some(Language::Python)),
            (&["language=nodejs"], &[], Some(Language::Node)),
            (&["urlprefix-/inventory", "go"], &[], Some(Language::Go)),
            (&["primary", "golang"], &[], Some(Language::Go)),
            (&["jvm"], &[("language", "")], Some(Language::Java)),
            (&["lang=zig"], &[], Some(Language::Other("zig".into()))),
            (&["primary", "v2"], &[], None),
        ] {
            assert_eq!(read(tags, meta).language, wanted, "{tags:?} {meta:?}");
        }
    }

    #[test]
    fn spring_is_read_in_both_its_ways() {
        let new = read(&["urlprefix-/orders"], &[("secure", "true"), ("zone", "eu-1")]);
        assert_eq!((new.dialect, new.protocol), (Dialect::Spring, Protocol::Https));
        assert_eq!(new.zone.as_deref(), Some("eu-1"));
        let old = read(&["secure=false", "zone=eu-1", "version=1.0"], &[]);
        assert_eq!((old.dialect, old.protocol), (Dialect::Spring, Protocol::Http));
        assert_eq!((old.zone.as_deref(), old.version.as_deref()), (Some("eu-1"), Some("1.0")));
    }

    #[test]
    fn the_protocol_of_meta_goes_before_secure() {
        assert_eq!(read(&[], &[("protocol", "gRPC"), ("secure", "true")]).protocol, Protocol::Grpc);
        assert_eq!(read(&[], &[("protocol", "carrier pigeon")]).protocol, Protocol::Http);
    }

    #[test]
    fn the_other_dialects_are_recognised() {
        for (tags, meta, wanted) in [
            (&["t-789caa56ca2d4e2d52b2524a4a2c"][..], &[][..], Dialect::GoMicro),
            (&["v-789cca2b4bad28294a"], &[], Dialect::GoMicro),
            (&["t-shirt", "e-mail"], &[], Dialect::Plain),
            (&[], &[("DAPR_PORT", "3500")], Dialect::Dapr),
            (&["urlprefix-/cart", "node"], &[], Dialect::Fabio),
            (&["traefik.enable=true"], &[], Dialect::Traefik),
            (&["rust"], &[("outrigger-boot", "x"), ("secure", "true")], Dialect::Outrigger),
        ] {
            assert_eq!(read(tags, meta).dialect, wanted, "{tags:?} {meta:?}");
        }
        let kratos = understand(&["version=v1".into()], &BTreeMap::new(), &["grpc"]);
        assert_eq!((kratos.dialect, kratos.protocol), (Dialect::Kratos, Protocol::Grpc));
        assert_eq!(kratos.version.as_deref(), Some("v1"));
    }
}
