//! YAML as another reader than ours sees it: the parser's events, and plain words by the core schema.

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The one document of a text.
pub(super) fn read(text: &str) -> Value {
    let events = Parser::new_from_str(text).map(|event| event.expect("YAML").0);
    let mut events = events.filter(|event| !matches!(event, Event::Comment(..)));
    while let Some(event) = events.next() {
        if let Event::MappingStart(..) = event {
            return next(&mut events, event).expect("a value");
        }
    }
    Value::Null
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    let whole = || text.parse::<i64>().map(Value::from);
    match text {
        "true" => true.into(),
        "false" => false.into(),
        "null" | "~" | "" => Value::Null,
        _ => whole()
            .or_else(|_| text.parse::<f64>().map(Value::from))
            .unwrap_or_else(|_| text.into()),
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
            let mut map = Map::new();
            while let Some(Event::Scalar(key, ..)) = events.next() {
                let event = events.next()?;
                let before = map.insert(key.into_owned(), next(events, event)?);
                assert!(before.is_none(), "a key twice");
            }
            map.into()
        }
        _ => return None,
    })
}
