//! What makes a try worth repeating.

use std::fmt;
use std::str::FromStr;

use crate::GrpcCode;

/// One entry of `when`: what makes a try worth repeating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Condition {
    /// No connection, so no byte was sent. Safe for every method.
    ConnectFailure,
    /// The endpoint refused the HTTP/2 stream unseen. Safe for every method.
    RefusedStream,
    /// The wire broke, at any moment; with it also a per-try timeout.
    Reset,
    /// The per-try timeout.
    Timeout,
    /// Any status from 500 to 599, and whatever the wire did: Envoy's `5xx`.
    ServerError,
    /// 502, 503, 504, and whatever the wire did: Envoy's `gateway-error`.
    GatewayError,
    /// One status, 400 to 599. A listed 504 does not make our own per-try timeout retryable.
    Status(u16),
    /// One gRPC code of the five that may be listed.
    Grpc(GrpcCode),
}

/// Why a text is not a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a retry condition; allowed are connect_failure, refused_stream, reset, \
     timeout, 5xx, gateway_error, a status from 400 to 599, and for grpc unavailable, cancelled, \
     deadline_exceeded, resource_exhausted, internal"
)]
pub struct ConditionError {
    /// The text that was given, at most 64 characters of it.
    pub text: String,
}

impl Condition {
    const GRPC: [GrpcCode; 5] = [
        GrpcCode::UNAVAILABLE,
        GrpcCode::CANCELLED,
        GrpcCode::DEADLINE_EXCEEDED,
        GrpcCode::RESOURCE_EXHAUSTED,
        GrpcCode::INTERNAL,
    ];

    const PLAIN: [Self; 6] = [
        Self::ConnectFailure,
        Self::RefusedStream,
        Self::Reset,
        Self::Timeout,
        Self::ServerError,
        Self::GatewayError,
    ];

    const fn word(self) -> Option<&'static str> {
        match self {
            Self::ConnectFailure => Some("connect_failure"),
            Self::RefusedStream => Some("refused_stream"),
            Self::Reset => Some("reset"),
            Self::Timeout => Some("timeout"),
            Self::ServerError => Some("5xx"),
            Self::GatewayError => Some("gateway_error"),
            Self::Grpc(code) => code.word(),
            Self::Status(_) => None,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.word(), self) {
            (Some(word), _) => f.write_str(word),
            (None, Self::Status(status)) => write!(f, "{status}"),
            (None, other) => write!(f, "{other:?}"),
        }
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let wrong = || ConditionError { text: text.chars().take(64).collect() };
        let word = text.trim();
        let named = Self::PLAIN.into_iter().chain(Self::GRPC.map(Self::Grpc));
        if let Some(known) = named.into_iter().find(|c| c.word() == Some(word)) {
            return Ok(known);
        }
        if word.len() != 3 || !word.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let status = word.parse().map_err(|_| wrong())?;
        if (400..=599).contains(&status) { Ok(Self::Status(status)) } else { Err(wrong()) }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Condition {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Status(status) => to.serialize_u16(*status),
            _ => to.collect_str(self),
        }
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Condition {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Condition;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a retry condition such as connect_failure, 5xx or 503")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Condition, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, status: u64) -> Result<Condition, E> {
                self.visit_str(&status.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, status: i64) -> Result<Condition, E> {
                self.visit_str(&status.to_string())
            }
        }

        from.deserialize_any(Visitor)
    }
}

/// The conditions of a rule, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    plain: u8,
    grpc: u32,
    statuses: Vec<u16>,
}

impl Conditions {
    pub(crate) fn has(&self, condition: Condition) -> bool {
        match condition {
            Condition::Grpc(code) => self.grpc & code.bit() != 0,
            Condition::Status(status) => self.statuses.contains(&status),
            plain => self.plain & Self::bit(plain) != 0,
        }
    }

    fn bit(condition: Condition) -> u8 {
        let place = Condition::PLAIN.into_iter().position(|c| c == condition);
        place.map_or(0, |place| 1 << place)
    }
}

impl<'a> FromIterator<&'a Condition> for Conditions {
    fn from_iter<I: IntoIterator<Item = &'a Condition>>(conditions: I) -> Self {
        let mut all = Self::default();
        for &condition in conditions {
            match condition {
                Condition::Grpc(code) => all.grpc |= code.bit(),
                Condition::Status(status) => all.statuses.push(status),
                plain => all.plain |= Self::bit(plain),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for text in ["connect_failure", "5xx", "gateway_error", "503", "unavailable", "internal"] {
            let condition: Condition = text.parse().expect(text);
            assert_eq!(condition.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_list_of_those_that_are() {
        for text in ["", "on", "200", "399", "600", "5XX", "-503", "+503", "not_found", "50"] {
            let error = text.parse::<Condition>().expect_err(text).to_string();
            assert!(error.contains("connect_failure"), "{error}");
        }
    }

    #[test]
    fn a_compiled_set_has_what_was_put_in_and_nothing_else() {
        let listed =
            [Condition::Reset, Condition::Status(503), Condition::Grpc(GrpcCode::UNAVAILABLE)];
        let set: Conditions = listed.iter().collect();
        for condition in listed {
            assert!(set.has(condition), "{condition}");
        }
        for other in
            [Condition::Timeout, Condition::Status(502), Condition::Grpc(GrpcCode::INTERNAL)]
        {
            assert!(!set.has(other), "{other}");
        }
    }
}
