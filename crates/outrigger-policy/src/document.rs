//! The reference page and the JSON Schema, from the table of fields.

mod reference;
mod schema;

use serde_json::Value as Json;

/// The JSON Schema of a policy (draft 2020-12), for editors: `docs/policy.schema.json`.
///
/// It tells keys, kinds, ranges, words and what each key does. What values must hold against each
/// other, only [`Policy::parse`](crate::Policy::parse) knows.
#[must_use]
pub fn schema() -> Json {
    schema::of_policy()
}

/// The reference of every field, of every rule that findings come from, and of test files, in
/// Markdown: the generated part of `docs/policy.md`.
#[must_use]
pub fn reference() -> String {
    reference::page()
}
