//! The scenarios as they were observed.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// One scenario: a policy in Envoy's words, a load, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) policy: Value,
    pub(crate) load: String,
    pub(crate) expect: Value,
}

impl Case {
    /// What is expected under a key; null where nothing is.
    pub(crate) fn wanted(&self, key: &str) -> &Value {
        &self.expect[key]
    }

    /// Every key under which something is expected.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.expect.as_object().expect("an object").keys().cloned().collect()
    }

    /// A number of the policy, if it is there; of a text such as `50 (default)` the first word.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        match &self.policy[key] {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.split(' ').next()?.parse().ok(),
            _ => None,
        }
    }

    /// A time of the policy, such as `0.3s`.
    pub(crate) fn time(&self, key: &str) -> Option<Duration> {
        let text = self.policy[key].as_str()?;
        let secs = text.strip_suffix('s').expect("seconds").parse().expect("a number");
        Some(Duration::from_secs_f64(secs))
    }

    /// The numbers of the load, in order: `8 clients x 60` is 8 and 60.
    pub(crate) fn numbers_of_load(&self) -> Vec<f64> {
        let is_part = |c: char| !(c.is_ascii_digit() || c == '.');
        self.load.split(is_part).filter_map(|word| word.parse().ok()).collect()
    }
}

/// All numbers of a list.
pub(crate) fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|one| one.as_f64().expect("a number")).collect()
}

/// All scenarios, in the order of the file.
pub(crate) fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/envoy/envoy-1.40-observed.json");
    let text = std::fs::read_to_string(path).expect("the observations");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let scenarios = file["scenarios"].as_array().expect("scenarios");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    scenarios
        .iter()
        .map(|one| Case {
            id: text(&one["id"]),
            policy: one["policy"].clone(),
            load: text(&one["load"]),
            expect: one["expect"].clone(),
        })
        .collect()
}
