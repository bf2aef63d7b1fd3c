//! The JSON Schema.

use serde_json::{Map, Value as Json, json};

use crate::fields::{Absent, Field, Kind, POLICY, Section};
use crate::source::{Format, Source};
use crate::tree::{self, Node, Value};

pub(super) fn of_policy() -> Json {
    let mut definitions = Map::new();
    let mut root = section(&POLICY, &mut definitions);
    if let Some(root) = root.as_object_mut() {
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("$id".to_owned(), json!("https://outrigger.rs/policy.schema.json"));
        root.insert("title".to_owned(), json!("An Outrigger policy"));
        root.insert("$defs".to_owned(), Json::Object(definitions));
    }
    root
}

fn section(table: &Section, definitions: &mut Map<String, Json>) -> Json {
    let mut properties = Map::new();
    for field in table.fields {
        properties.insert(field.key.to_owned(), property(field, definitions));
    }
    let required: Vec<_> =
        table.fields.iter().filter(|f| f.default == Absent::Refused).map(|f| f.key).collect();
    let mut schema = json!({
        "type": "object",
        "description": table.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(field: &Field, definitions: &mut Map<String, Json>) -> Json {
    let mut schema = kind(&field.kind, definitions);
    let text = match field.default {
        Absent::Is(value) => format!("{} Default: {value}.", field.doc),
        Absent::Means(words) | Absent::Inside(words) => format!("{} Default: {words}.", field.doc),
        Absent::Refused => field.doc.to_owned(),
    };
    // Beside a reference, other words count since draft 2019-09.
    schema["description"] = json!(text);
    if let Absent::Is(value) = field.default
        && let Some(value) = self::value(value)
    {
        schema["default"] = value;
    }
    schema["examples"] = value(field.example).into_iter().collect();
    schema
}

/// What a piece of YAML says, as JSON: an editor completes with the value, and would write a text
/// in quotes. `None` for one that is no YAML, such as a default told in words.
fn value(yaml: &str) -> Option<Json> {
    let (tree, findings) = tree::read(&Source::new("value", yaml), Format::Yaml);
    findings.is_empty().then_some(tree).flatten().map(|node| json_of(&node))
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(is) => json!(is),
        Value::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        Value::Text { text, .. } => json!(text),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(key, node)| (key.name.to_string(), json_of(node))).collect()
        }
    }
}

/// A section is a definition of its own, so that editors show it once.
fn reference(table: &'static Section, definitions: &mut Map<String, Json>) -> Json {
    let name = table.name.replace([' ', '.'], "_");
    if !definitions.contains_key(&name) {
        // Holds the place while its own fields are written, in case one leads back here.
        definitions.insert(name.clone(), Json::Null);
        let schema = section(table, definitions);
        definitions.insert(name.clone(), schema);
    }
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn kind(wanted: &Kind, definitions: &mut Map<String, Json>) -> Json {
    const DURATION: &str = r"^([0-9]+(\.[0-9]{1,6})?\s*(ms|s|m|h|d)\s*)+$";
    const PATH: &str = "^/[!-~]*$";
    const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
    const NAME: &str = "^[A-Za-z0-9._-]+$";
    match wanted {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Float { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Ratio { above_zero: false } => {
            json!({ "type": "number", "minimum": 0, "maximum": 1 })
        }
        Kind::Ratio { above_zero: true } => {
            json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 })
        }
        Kind::Duration { .. } => json!({ "type": "string", "pattern": DURATION }),
        Kind::Rate => json!({ "type": "string", "pattern": "^[0-9]+\\s*/\\s*[0-9]*\\s*[a-z]+$" }),
        Kind::Bytes { max } => json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+\\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?$" },
            { "type": "integer", "minimum": 0, "maximum": max },
        ] }),
        Kind::Word(words) => match words {
            [(word, _)] => json!({ "const": word }),
            words => json!({ "oneOf": words.iter().map(|(word, doc)| {
                json!({ "const": word, "description": doc })
            }).collect::<Vec<_>>() }),
        },
        Kind::Text { max } => json!({ "type": "string", "maxLength": max }),
        Kind::Service => json!({ "type": "string", "pattern": NAME, "maxLength": 128 }),
        Kind::RouteName | Kind::Subset => {
            json!({ "type": "string", "pattern": NAME, "maxLength": 64 })
        }
        Kind::HeaderName => json!({ "type": "string", "pattern": TOKEN, "maxLength": 256 }),
        Kind::HeaderValue => json!({ "type": "string", "maxLength": 4_096 }),
        Kind::Method => json!({ "type": "string", "pattern": "^[!-~]+$", "maxLength": 32 }),
        Kind::RetryMethod => json!({ "type": "string", "minLength": 1 }),
        Kind::Condition => json!({ "anyOf": [
            { "enum": [
                "connect_failure", "refused_stream", "reset", "timeout", "5xx", "gateway_error",
                "unavailable", "cancelled", "deadline_exceeded", "resource_exhausted", "internal",
            ] },
            { "type": "integer", "minimum": 400, "maximum": 599 },
            { "type": "string", "pattern": "^[45][0-9]{2}$" },
        ] }),
        Kind::Status { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Path | Kind::PathPattern => json!({ "type": "string", "pattern": PATH }),
        Kind::Regex => json!({ "type": "string", "maxLength": crate::model::Pattern::MAX_LEN }),
        Kind::VersionRange | Kind::Language | Kind::Caller | Kind::Datacenter => {
            json!({ "type": "string", "minLength": 1 })
        }
        Kind::Any => json!({}),
        Kind::List { of, max } => {
            json!({ "type": "array", "maxItems": max, "items": kind(of, definitions) })
        }
        Kind::Table(table) => reference(table, definitions),
        Kind::OneOf(table) => {
            let mut schema = reference(table, definitions);
            schema["minProperties"] = json!(1);
            schema["maxProperties"] = json!(1);
            schema
        }
        Kind::Map { key, of, max } => {
            let names = kind(key, definitions);
            let values = kind(of, definitions);
            json!({
                "type": "object",
                "maxProperties": max,
                "propertyNames": names,
                "additionalProperties": values,
            })
        }
        Kind::Either(kinds) => {
            let kinds: Vec<_> = kinds.iter().map(|one| kind(one, definitions)).collect();
            json!({ "anyOf": kinds })
        }
    }
}
