//! What a kind allows, in words.

use super::Kind;
use crate::scalar::{write_bytes, write_millis};

impl Kind {
    /// What is allowed, for messages and the reference: `a time from 1ms to 24h`.
    pub(crate) fn allowed(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Int { min, max } if min == max => format!("{min}"),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Float { min, max } => format!("a number from {min} to {max}"),
            Self::Ratio { above_zero: false } => "a share from 0 to 1".to_owned(),
            Self::Ratio { above_zero: true } => "a share above 0, up to 1".to_owned(),
            Self::Duration { min, max } => {
                format!("a time from {} to {}", write_millis(*min), write_millis(*max))
            }
            Self::Rate => "a rate such as 100/s, 5/10s or 1000/m".to_owned(),
            Self::Bytes { max } => format!("a size from 0 to {}", write_bytes(*max)),
            Self::Word(words) => or(words.iter().map(|(word, _)| format!("`{word}`"))),
            Self::Text { max } => format!("a text of at most {max} bytes"),
            Self::Service => "a service's name: letters, digits, `-`, `_`, `.`".to_owned(),
            Self::RouteName => {
                "a name of at most 64 letters, digits, `-`, `_`, `.`".to_owned()
            }
            Self::Subset => "a subset's name: at most 64 letters, digits, `-`, `_`, `.`".to_owned(),
            Self::HeaderName => "a header's name".to_owned(),
            Self::HeaderValue => "a header's value: one line of printable ASCII".to_owned(),
            Self::Method => "an HTTP method in upper case".to_owned(),
            Self::RetryMethod => {
                "an HTTP method in upper case, or a full gRPC method name such as stock.Stock/Get"
                    .to_owned()
            }
            Self::Condition => "connect_failure, refused_stream, reset, timeout, 5xx, gateway_error, a \
                                status from 400 to 599; for grpc unavailable, cancelled, \
                                deadline_exceeded, resource_exhausted, internal"
                .to_owned(),
            Self::Status { min, max } => format!("a status from {min} to {max}"),
            Self::VersionRange => "a version range such as \">=2\", \"1.4\" or \">=1.2, <2\"".to_owned(),
            Self::Language => "a language such as rust, go, java, python, node".to_owned(),
            Self::Path => "a path in its normal form, such as /v2 or /stock/list".to_owned(),
            Self::PathPattern => {
                "a path in its normal form, or one with `*` as its last segment, such as \"/stock/*\""
                    .to_owned()
            }
            Self::Regex => "a regular expression".to_owned(),
            Self::Caller => "a service's name, or \"*\" for every service".to_owned(),
            Self::Any => "a value".to_owned(),
            Self::Datacenter => "a datacenter's name".to_owned(),
            Self::List { of, max } => {
                format!("a list of at most {max}, each {}", of.allowed())
            }
            Self::Table(section) => format!("a section `{}`", section.name),
            Self::OneOf(section) => {
                let keys = section.fields.iter().map(|field| format!("`{}`", field.key));
                format!("a section with one of {}", or(keys))
            }
            Self::Map { key, of, max } => {
                format!("at most {max} pairs: {}, and {}", key.allowed(), of.allowed())
            }
            Self::Either(kinds) => or(kinds.iter().map(Self::allowed)),
        }
    }
}

pub(crate) fn or(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    match words.pop() {
        None => String::new(),
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} or {last}", words.join(", ")),
    }
}
