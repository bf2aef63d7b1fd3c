//! Bodies as Go's JSON decoder takes them: keys in any case, with or without underscores, null for
//! "not given", unknown keys refused where Consul refuses them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::duration;

/// Why a body is refused, in Consul's words as far as they do not name Go types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecodeError(pub(crate) String);

type Result<T> = std::result::Result<T, DecodeError>;

/// Parses a body as JSON.
pub(crate) fn json(body: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(body)
        .map_err(|_| DecodeError("invalid UTF-8 in request body".to_owned()))?;
    // Go decodes the first value of a stream and does not look at what follows.
    match serde_json::Deserializer::from_str(text).into_iter().next() {
        Some(Ok(value)) => Ok(value),
        None => Err(DecodeError("EOF".to_owned())),
        Some(Err(e)) if e.is_eof() => Err(DecodeError("unexpected EOF".to_owned())),
        Some(Err(e)) => Err(DecodeError(format!("invalid character at offset {}", e.column()))),
    }
}

/// A JSON object seen through Go's rules for key names.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    entries: BTreeMap<String, (&'a str, &'a Value)>,
}

impl<'a> Fields<'a> {
    /// Null counts as an object without keys.
    pub(crate) fn of(value: &'a Value) -> Result<Self> {
        let entries = match value {
            Value::Null => BTreeMap::new(),
            Value::Object(map) => map
                .iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k.to_ascii_lowercase().replace('_', ""), (k.as_str(), v)))
                .collect(),
            other => return Err(mismatch("", other, "struct")),
        };
        Ok(Self { entries })
    }

    /// Refuses keys other than these (lower case, without underscores).
    pub(crate) fn only(&self, known: &[&str]) -> Result<()> {
        match self.entries.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((_, (name, _))) => Err(DecodeError(format!("json: unknown field {name:?}"))),
            None => Ok(()),
        }
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.entries.get(key).map(|(_, v)| *v)
    }

    fn take<T>(
        &self,
        key: &str,
        kind: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some((name, value)) = self.entries.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| mismatch(name, value, kind))
    }

    pub(crate) fn string(&self, key: &str) -> Result<String> {
        Ok(self.take(key, "string", |v| v.as_str().map(str::to_owned))?.unwrap_or_default())
    }

    pub(crate) fn integer(&self, key: &str) -> Result<i64> {
        Ok(self.take(key, "int", Value::as_i64)?.unwrap_or_default())
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<bool> {
        Ok(self.take(key, "bool", Value::as_bool)?.unwrap_or_default())
    }

    pub(crate) fn strings(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.take(key, "[]string", |v| {
            v.as_array()?.iter().map(|s| s.as_str().map(str::to_owned)).collect()
        })
    }

    pub(crate) fn pairs(&self, key: &str) -> Result<Option<BTreeMap<String, String>>> {
        self.take(key, "map[string]string", |v| {
            v.as_object()?
                .iter()
                .map(|(k, s)| s.as_str().map(|s| (k.clone(), s.to_owned())))
                .collect()
        })
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Self>> {
        self.value(key).map(Fields::of).transpose()
    }

    pub(crate) fn list(&self, key: &str) -> Result<&'a [Value]> {
        Ok(self.take(key, "slice", |v| v.as_array().map(Vec::as_slice))?.unwrap_or_default())
    }

    /// A Go duration, or a number of nanoseconds.
    pub(crate) fn duration(&self, key: &str) -> Result<Duration> {
        match self.value(key) {
            None => Ok(Duration::ZERO),
            Some(Value::String(text)) if text.is_empty() => Ok(Duration::ZERO),
            Some(Value::String(text)) => duration::parse(text)
                .ok_or_else(|| DecodeError(format!("time: invalid duration {text:?}"))),
            Some(value) => match value.as_f64() {
                Some(nanos) if nanos >= 0.0 && nanos < i64::MAX as f64 => {
                    Ok(Duration::from_nanos(nanos as u64))
                }
                _ => Err(mismatch(key, value, "time.Duration")),
            },
        }
    }
}

fn mismatch(name: &str, value: &Value, wanted: &str) -> DecodeError {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    DecodeError(format!(
        "json: cannot unmarshal {kind} into Go struct field .{name} of type {wanted}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_read_in_any_case_and_with_underscores() {
        let body = json!({"enable_tag_override": true, "NAME": "web", "Port": null});
        let fields = Fields::of(&body).unwrap();
        assert!(fields.boolean("enabletagoverride").unwrap());
        assert_eq!(fields.string("name").unwrap(), "web");
        assert_eq!(fields.integer("port").unwrap(), 0, "null means not given");
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named() {
        let body = json!({"Nmae": "web", "Port": "80"});
        let fields = Fields::of(&body).unwrap();
        assert_eq!(fields.only(&["name", "port"]).unwrap_err().0, "json: unknown field \"Nmae\"");
        assert!(fields.integer("port").unwrap_err().0.contains("cannot unmarshal string"));
    }

    #[test]
    fn cut_off_bodies_are_told_from_empty_ones() {
        assert_eq!(super::json(b"").unwrap_err().0, "EOF");
        assert_eq!(super::json(b"{\"a\":").unwrap_err().0, "unexpected EOF");
    }
}
