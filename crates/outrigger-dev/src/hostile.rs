//! Foreign bytes: nothing that parses them may panic.

use proptest::prelude::*;
use serde_json::Value;

use crate::acl::Rules;
use crate::decode;
use crate::duration;
use crate::filter::{Filter, HEALTH};
use crate::registration::{CheckDefinition, Registration, validate};
use crate::request::Query;

/// JSON made of the keys that registrations know, with any value under them.
fn body() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "-?[0-9]{0,20}(ns|ms|s|m|h)?".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "Name",
        "ID",
        "Port",
        "Tags",
        "Meta",
        "Weights",
        "Passing",
        "Check",
        "Checks",
        "TTL",
        "Interval",
        "HTTP",
        "Header",
        "Status",
        "TaggedAddresses",
        "lan",
        "Address",
    ]);
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|pairs| {
                Value::Object(
                    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
                )
            }),
        ]
    })
}

/// Pieces of expressions in any order.
const EXPRESSION: &str = r#"(Service\.(ID|Tags|Meta|Port)|==|!=|in|not|is|empty|and|or|\(|\)|"[a-zé\\]*"?|matches|contains| |\[|\]|\.){0,12}"#;

proptest! {
    #[test]
    fn any_registration_is_taken_or_refused(body in body()) {
        if let Ok(registration) = Registration::decode(&body) {
            let _verdict = validate(&registration);
        }
        if let Ok(check) = CheckDefinition::decode(&body) {
            let _verdict = check.validate();
        }
    }

    #[test]
    fn any_expression_is_taken_or_refused(text in EXPRESSION, shown in body()) {
        if let Ok(filter) = Filter::new(&text, HEALTH) {
            let _verdict = filter.accepts(&shown);
        }
    }

    #[test]
    fn any_text_is_taken_or_refused(text in ".{0,40}") {
        let _expression = Filter::new(&text, HEALTH);
        let _rules = Rules::parse(&text);
        let _query = Query::parse(&text);
        let _body = decode::json(text.as_bytes());
        let _span = duration::parse(&text);
    }

    #[test]
    fn a_duration_that_is_written_is_read_back(nanos in 0..1_u64 << 44) {
        let span = std::time::Duration::from_nanos(nanos);
        prop_assert_eq!(duration::parse(&duration::format(span)), Some(span));
    }
}
