//! What an API server does with a resource and the schema of its kind: structure, unknown fields,
//! keys of lists, and the rules in CEL. Told in the words of Kubernetes.

use std::collections::HashMap;
use std::sync::Arc;

use cel::extractors::This;
use cel::{Context, ExecutionError, Program};
use regex::Regex;
use serde_json::{Map, Value};

/// What an API server would say of a value; empty for what it takes.
pub(super) fn check(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    structure(schema, value, path, &mut found);
    rules(schema, value, path, &mut found);
    found
}

fn structure(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut invalid = |what: String| {
        found.push(format!("{path}: Invalid value: {value}: {path} in body {what}"));
    };
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if schema["type"].as_str().is_some_and(|wanted| !is_of(wanted, value)) {
        let wanted = schema["type"].as_str().unwrap_or_default();
        invalid(format!("must be of type {wanted}: \"{value}\""));
        return;
    }
    if let Some(number) = value.as_f64() {
        if schema["minimum"].as_f64().is_some_and(|least| number < least) {
            invalid(format!("should be greater than or equal to {}", schema["minimum"]));
        }
        if schema["maximum"].as_f64().is_some_and(|most| number > most) {
            invalid(format!("should be less than or equal to {}", schema["maximum"]));
        }
    }
    let (unit, size) = match value {
        Value::String(text) => ("Length", text.chars().count()),
        Value::Array(items) => ("Items", items.len()),
        Value::Object(map) => ("Properties", map.len()),
        _ => ("", 0),
    };
    let words = match unit {
        "Length" => "chars long",
        "Items" => "items",
        _ => "properties",
    };
    let verb = if unit == "Length" { "be" } else { "have" };
    let bound = |name: &str| schema[format!("{name}{unit}")].as_u64().map(|bound| bound as usize);
    if let Some(least) = bound("min").filter(|least| size < *least) {
        invalid(format!("should {verb} at least {least} {words}"));
    }
    if let Some(most) = bound("max").filter(|most| size > *most) {
        invalid(format!("should {verb} at most {most} {words}"));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).expect("a pattern of a schema").is_match(text)
    {
        invalid(format!("should match '{pattern}'"));
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        found.push(format!("{path}: Unsupported value: {value}"));
    }
    if let Some(map) = value.as_object() {
        fields(schema, map, path, found);
    }
    if let Some(items) = value.as_array() {
        twice(schema, items, path, found);
        for (at, item) in items.iter().enumerate() {
            structure(&schema["items"], item, &format!("{path}[{at}]"), found);
        }
    }
    let fits = |one: &&Value| {
        let mut errors = Vec::new();
        structure(one, value, path, &mut errors);
        errors.is_empty()
    };
    let all = |word: &str| schema[word].as_array().cloned().unwrap_or_default();
    let (one_of, any_of) = (all("oneOf"), all("anyOf"));
    if !one_of.is_empty() && one_of.iter().filter(fits).count() != 1 {
        found.push(format!("{path}: must validate one and only one schema (oneOf)"));
    }
    if !any_of.is_empty() && !any_of.iter().any(|one| fits(&one)) {
        found.push(format!("{path}: must validate at least one schema (anyOf)"));
    }
    all("allOf").iter().for_each(|one| structure(one, value, path, found));
    if schema.get("not").is_some_and(|not| fits(&not)) {
        found.push(format!("{path}: must not validate the schema (not)"));
    }
}

/// Fields that are wanted, known and unknown.
fn fields(schema: &Value, map: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(name) {
            found.push(format!("{path}.{name}: Required value"));
        }
    }
    // Inside of `oneOf` and its like nothing is said of a type, and no field is unknown.
    let is_open = schema["type"] != "object"
        || schema["x-kubernetes-preserve-unknown-fields"] == true
        || schema["additionalProperties"] == true;
    for (name, value) in map {
        let path = format!("{path}.{name}");
        if let Some(known) = schema["properties"].get(name) {
            structure(known, value, &path, found);
        } else if schema["additionalProperties"].is_object() {
            structure(&schema["additionalProperties"], value, &path, found);
        } else if !is_open {
            found.push(format!("{path}: unknown field"));
        }
    }
}

/// Items that must differ and do not.
fn twice(schema: &Value, items: &[Value], path: &str, found: &mut Vec<String>) {
    let keys = |item: &Value| -> Vec<Value> {
        let names = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(|name| item[name].clone()).collect()
    };
    for (at, item) in items.iter().enumerate() {
        let is_twice = match schema["x-kubernetes-list-type"].as_str() {
            Some("map") => items[..at].iter().any(|other| keys(other) == keys(item)),
            Some("set") => items[..at].contains(item),
            _ => false,
        };
        if is_twice {
            found.push(format!("{path}[{at}]: Duplicate value: {item}"));
        }
    }
}

fn is_of(wanted: &str, value: &Value) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("a schema says the type {other}"),
    }
}

/// The rules in CEL, from the outside to the inside.
fn rules(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        _ => "integer",
    };
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let text = rule["rule"].as_str().expect("a rule");
        let message = rule["message"].as_str().unwrap_or(text);
        match evaluated(text, value) {
            Ok(true) => {}
            Ok(false) => found.push(format!("{path}: Invalid value: \"{kind}\": {message}")),
            Err(error) => {
                let error = format!("{message}: no such value: {error}");
                found.push(format!("{path}: Invalid value: \"{kind}\": {error}"));
            }
        }
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let known = &schema["properties"][name];
                let known = if known.is_null() { &schema["additionalProperties"] } else { known };
                rules(known, value, &format!("{path}.{name}"), found);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                rules(&schema["items"], item, &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

fn evaluated(rule: &str, value: &Value) -> Result<bool, ExecutionError> {
    let program = Program::compile(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
    let mut context = context().expect("functions");
    context.add_variable_from_value("self", to_cel(value));
    match program.execute(&context)? {
        cel::Value::Bool(holds) => Ok(holds),
        other => panic!("{rule}: {other:?}"),
    }
}

/// The functions of Kubernetes beside those of CEL; durations are compared in nanoseconds.
fn context() -> Result<Context<'static, 'static>, cel::DeclarationError> {
    let mut context = Context::default();
    context.add_function("duration", |text: Arc<String>| {
        nanoseconds(&text)
            .ok_or_else(|| ExecutionError::function_error("duration", format!("{text:?} is none")))
    })?;
    context.add_function("matches", |This(text): This<Arc<String>>, pattern: Arc<String>| {
        Regex::new(&pattern).expect("a pattern of a rule").is_match(&text)
    })?;
    context.add_function("substring", |This(text): This<Arc<String>>, from: i64, to: i64| {
        let (from, to) = (from as usize, to as usize);
        text.chars().skip(from).take(to.saturating_sub(from)).collect::<String>()
    })?;
    context.add_function("isURL", |text: Arc<String>| scheme(&text).is_some())?;
    context.add_function("url", |text: Arc<String>| {
        scheme(&text)
            .map(|_| Arc::clone(&text))
            .ok_or_else(|| ExecutionError::function_error("url", format!("{text:?} is none")))
    })?;
    context.add_function("getScheme", |This(text): This<Arc<String>>| {
        scheme(&text).unwrap_or_default().to_owned()
    })?;
    Ok(context)
}

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(yes) => (*yes).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(to_cel).collect::<Vec<_>>().into(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), to_cel(value)))
            .collect::<HashMap<String, cel::Value>>()
            .into(),
    }
}

/// A duration as Go writes it: `1h30m`, `0.5s`.
fn nanoseconds(text: &str) -> Option<i64> {
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let of = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * of;
        rest = tail;
    }
    Some((sign * total) as i64)
}

/// The scheme of what Go takes as a URL of a request, empty for a path alone.
fn scheme(text: &str) -> Option<&str> {
    let begin = r"^(?:([A-Za-z][A-Za-z0-9+.-]*):(?://[^/?\s%]*)?|/)";
    let whole = Regex::new(&format!("{begin}(?:[^%\\s]|%[0-9A-Fa-f]{{2}})*$"));
    let found = whole.expect("a pattern").captures(text)?;
    Some(found.get(1).map_or("", |scheme| scheme.as_str()))
}
