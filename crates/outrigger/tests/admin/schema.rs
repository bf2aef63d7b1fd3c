//! As much of JSON Schema as `openapi.json` uses.

use serde_json::Value;

/// What in `value` is not as `schema` says; empty where all is.
pub(crate) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "$", &mut found);
    found
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for key in schema.as_object().expect("a schema is an object").keys() {
        let known = [
            "$ref",
            "additionalProperties",
            "anyOf",
            "description",
            "enum",
            "items",
            "minimum",
            "properties",
            "required",
            "type",
        ];
        assert!(known.contains(&key.as_str()), "{key} is not checked here");
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let path = reference.strip_prefix('#').expect("a place in the same document");
        let target = document.pointer(path).unwrap_or_else(|| panic!("{reference} is nowhere"));
        return check(document, target, value, at, found);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = |choice: &Value| faults(document, choice, value).is_empty();
        if !choices.iter().any(fits) {
            found.push(format!("{at} is none of the choices: {value}"));
        }
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at} is {value}, not one of {words:?}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_a(value, name)) {
        found.push(format!("{at} is {value}, not {types:?}"));
    }
    if let (Some(least), Some(number)) = (schema["minimum"].as_f64(), value.as_f64())
        && number < least
    {
        found.push(format!("{at} is {number}, below {least}"));
    }
    if let (Some(items), Some(all)) = (schema.get("items"), value.as_array()) {
        for (number, item) in all.iter().enumerate() {
            check(document, items, item, &format!("{at}[{number}]"), found);
        }
    }
    let Some(fields) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            found.push(format!("{at}.{name} is missing"));
        }
    }
    for (name, field) in fields {
        let at = format!("{at}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(known), _) => check(document, known, field, &at, found),
            (None, Value::Bool(false)) => found.push(format!("{at} is not described")),
            (None, Value::Object(_)) => {
                check(document, &schema["additionalProperties"], field, &at, found);
            }
            (None, _) => {}
        }
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no such type: {other}"),
    }
}
