//! Times that may be switched off.

/// A duration such as `250ms`, or `none`.
pub(super) mod none_or_duration {
    use std::borrow::Cow;
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` passes a reference")]
    pub(crate) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => humantime_serde::serialize(span, to),
            None => to.serialize_str("none"),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = <Cow<'de, str>>::deserialize(from)?;
        if text == "none" {
            return Ok(None);
        }
        let text = serde::de::value::CowStrDeserializer::<D::Error>::new(text);
        humantime_serde::deserialize(text)
            .map(Some)
            .map_err(|e| D::Error::custom(format_args!("{e}; write a time such as 250ms, or none")))
    }
}
