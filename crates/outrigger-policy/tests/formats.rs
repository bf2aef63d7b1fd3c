//! The same model from YAML, JSON and TOML; and what two policies differ in, held against their plans.

use std::fs;
use std::path::Path;

use outrigger_policy::{Difference, Format, Parsed, Plan, Policy};
use serde_json::Value;

fn read(name: &str, text: &str, format: Format) -> Parsed {
    match Policy::parse(name, text, format) {
        Ok(parsed) => parsed,
        Err(report) => panic!("{report}\n{text}"),
    }
}

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    fs::read_to_string(folder.join(name)).expect(name)
}

/// Whether two policies mean the same; the version is of the text.
fn same(a: &Parsed, b: &Parsed) -> bool {
    let (mut a, b) = (Plan::compile(&a.policy), Plan::compile(&b.policy));
    a.version = b.version;
    a == b
}

const JSON: &str = r#"{
  "version": 1,
  "service": "inventory",
  "timeout": "3s",
  "retry": { "attempts": 2, "when": ["reset", 503], "backoff": { "base": "50ms" }, "body_limit": 4096 },
  "balance": { "panic_below": 0.25, "aperture": 12 },
  "breaker": { "window": 100, "fallback": { "status": 200, "body": "é \"quoted\"\n" } },
  "subsets": { "rust": { "language": "rust", "meta": { "tier": "1" } } },
  "routes": [
    { "name": "v2", "match": { "path_prefix": "/v2", "headers": { "x-canary": { "present": true } } },
      "split": [ { "subset": "rust", "weight": 100 } ], "hedge": "none" }
  ],
  "inbound": { "rate_limits": [ { "rate": "5/10s", "per": { "query": "tenant" } } ] }
}"#;

const TOML: &str = r#"
version = 1
service = "inventory"
timeout = "3s"

[retry]
attempts = 2
when = ["reset", 503]
backoff.base = "50ms"
body_limit = 4_096

[balance]
panic_below = 0.25
aperture = 12

[breaker]
window = 100
fallback = { status = 200, body = "é \"quoted\"\n" }

[subsets.rust]
language = "rust"
meta = { tier = "1" }

[[routes]]
name = "v2"
hedge = "none"
match = { path_prefix = "/v2", headers = { x-canary = { present = true } } }
split = [{ subset = "rust", weight = 100 }]

[[inbound.rate_limits]]
rate = "5/10s"
per.query = "tenant"
"#;

#[test]
fn the_three_formats_say_the_same() {
    let json = read("x.json", JSON, Format::Json);
    let toml = read("x.toml", TOML, Format::Toml);
    assert!(same(&json, &toml), "{:#?}\n{:#?}", json.policy, toml.policy);
    // JSON is YAML.
    assert!(same(&json, &read("x.yaml", JSON, Format::Yaml)));
    assert!(json.policy.rules.breaker.is_some());
    for name in ["tour.yaml", "inventory.yaml", "pricing.yaml", "orders.yaml", "storefront.yaml"] {
        let yaml = read(name, &example(name), Format::Yaml);
        let value: Value = to_json(&example(name));
        let json = read("x.json", &value.to_string(), Format::Json);
        assert!(same(&yaml, &json), "{name}");
        let toml: toml::Table = serde_json::from_value(value).expect("a table");
        let toml = read("x.toml", &toml.to_string(), Format::Toml);
        assert!(same(&yaml, &toml), "{name}");
    }
}

/// YAML as JSON, by a second reader: the parser's events alone.
fn to_json(text: &str) -> Value {
    use granit_parser::{Event, Parser, ScalarStyle};
    fn scalar(text: &str, style: ScalarStyle) -> Value {
        if style != ScalarStyle::Plain {
            return text.into();
        }
        let number =
            text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<f64>().map(Value::from));
        match text {
            "true" => true.into(),
            "false" => false.into(),
            _ => number.unwrap_or_else(|_| text.into()),
        }
    }
    fn next(events: &mut dyn Iterator<Item = Event<'_>>, event: Event<'_>) -> Option<Value> {
        Some(match event {
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                while let Some(event) = events.next() {
                    let Some(item) = next(events, event) else { break };
                    items.push(item);
                }
                items.into()
            }
            Event::MappingStart(..) => {
                let mut map = serde_json::Map::new();
                while let Some(Event::Scalar(key, ..)) = events.next() {
                    let event = events.next()?;
                    map.insert(key.into_owned(), next(events, event)?);
                }
                map.into()
            }
            _ => return None,
        })
    }
    let events = Parser::new_from_str(text).map(|event| event.expect("YAML").0);
    let mut events = events.filter(|event| !matches!(event, Event::Comment(..)));
    while let Some(event) = events.next() {
        if let Event::MappingStart(..) = event {
            return next(&mut events, event).expect("a value");
        }
    }
    Value::Null
}

/// A difference tells of every change of a plan, and of nothing else.
#[test]
fn a_difference_is_empty_exactly_when_the_plans_are_equal() {
    let tour = example("tour.yaml");
    let before = read("tour.yaml", &tour, Format::Yaml);
    let lines: Vec<&str> = tour.lines().collect();
    let changes = [
        ("1", "2"),
        ("5", "6"),
        ("s", "ms"),
        ("0.", "0.0"),
        ("enforce", "observe"),
        ("java", "rust"),
        ("rust", "gold"),
        ("header", "query"),
        ("GET", "PUT"),
        ("server", "gateway"),
        ("zone", "zone "),
        ("maglev", "ring_hash"),
        ("/v2", "/v3"),
        ("none", "none  # same"),
        ("inventory", "stock"),
        ("share", "refuse"),
        ("caller", "path"),
        ("errors", "all"),
        ("deny", "allow"),
        ("dc2", "dc4"),
        ("canary", "carany"),
        ("gradient2", "none"),
        ("true", "false"),
        ("reset", "503"),
    ];
    let (mut equal, mut different) = (0, 0);
    for at in 0..lines.len() {
        let mut texts: Vec<String> = changes
            .iter()
            .filter(|(from, _)| lines[at].contains(from))
            .map(|(from, to)| lines[at].replacen(from, to, 1))
            .collect();
        texts.push(String::new());
        for text in texts {
            let mut changed = lines.clone();
            changed[at] = &text;
            let changed = changed.join("\n") + "\n";
            let Ok(after) = Policy::parse("b.yaml", &changed, Format::Yaml) else { continue };
            let difference = Difference::between(&before, &after);
            let is_same = same(&before, &after);
            assert_eq!(difference.is_empty(), is_same, "{}\n=> {text}\n{difference}", lines[at]);
            let back = Difference::between(&after, &before);
            assert_eq!(back.is_empty(), is_same, "{}\n=> {text}\n{back}", lines[at]);
            if is_same { equal += 1 } else { different += 1 }
        }
    }
    assert!(equal > 20 && different > 100, "{equal} equal, {different} different");
}
