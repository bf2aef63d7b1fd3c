//! Single values against what their key allows.

use outrigger_core::{Language, NormalPath, Rate, RouteName, ServiceName};
use outrigger_retry::Condition;

use super::{Findings, Of, found};
use crate::fields::Kind;
use crate::finding::Rule;
use crate::model::{PathPattern, Pattern};
use crate::scalar::{self, NotSpan, is_trap, nearest, write_millis};
use crate::tree::{Key, Node, Value, shown};

/// What is wrong with a value, beyond that it is not allowed.
struct Wrong {
    rule: Rule,
    /// Said after the value: `a number without a unit`.
    why: String,
    fix: String,
}

impl Wrong {
    fn value(fix: impl Into<String>) -> Self {
        Self { rule: Rule::Value, why: String::new(), fix: fix.into() }
    }

    fn because(why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { rule: Rule::Value, why: why.into(), fix: fix.into() }
    }

    fn of_type(fix: impl Into<String>) -> Self {
        Self { rule: Rule::Type, why: String::new(), fix: fix.into() }
    }
}

pub(super) fn wrong_type(node: &Node, of: &Of<'_>, path: &str, out: &mut Findings<'_>) {
    let example = |of: &Of<'_>| {
        of.field.map_or_else(String::new, |field| {
            format!("for instance `{}: {}`", field.key, field.example)
        })
    };
    if let Value::Null = node.value {
        let message = format!("`{path}` has no value; allowed is {}", of.key.allowed());
        let fix = match example(of) {
            text if text.is_empty() => String::new(),
            text => format!("remove the key, or give it a value, {text}"),
        };
        out.add(Rule::Type, node.span, path, message, fix);
        return;
    }
    if trap(node, path, out) {
        return;
    }
    let fix = match (node.scalar(), of.key) {
        (Some(text), Kind::List { .. }) => format!("write it as a list: `[{}]`", shown(text)),
        _ => example(of),
    };
    report(node, of, path, &Wrong::of_type(fix), out);
}

fn report(node: &Node, of: &Of<'_>, path: &str, wrong: &Wrong, out: &mut Findings<'_>) {
    let why = if wrong.why.is_empty() { String::new() } else { format!(", {}", wrong.why) };
    let message = format!("`{path}` is {}{why}; allowed is {}", found(node), of.key.allowed());
    let template = node.scalar().is_some_and(|text| text.contains("${") || text.contains("{{"));
    let fix = if template {
        "a policy has no variables: fill the template in before it is read"
    } else {
        &wrong.fix
    };
    out.add(wrong.rule, node.span, path, message, fix);
}

/// A word that other readers take for a truth value or a number.
fn trap(node: &Node, path: &str, out: &mut Findings<'_>) -> bool {
    let Value::Text { text, plain: true } = &node.value else { return false };
    if !is_trap(text) {
        return false;
    }
    let (takes, fix) = if text.starts_with(|c: char| c.is_ascii_digit()) {
        let fix = format!(
            "write \"{text}\" in quotes where the text is meant, decimal digits where a number is"
        );
        ("a number in another base", fix)
    } else {
        let is_true = matches!(text.to_ascii_lowercase().as_str(), "on" | "yes" | "y");
        let fix = format!(
            "write \"{text}\" in quotes where the word is meant, `true` or `false` where a truth value \
             is, `none` where something is switched off"
        );
        (if is_true { "true" } else { "false" }, fix)
    };
    let message = format!(
        "`{path}` is `{}` without quotes, which readers of YAML 1.1 take for {takes}",
        shown(text)
    );
    out.add(Rule::YamlTrap, node.span, path, message, fix);
    true
}

pub(super) fn check(node: &Node, wanted: &Kind, of: &Of<'_>, path: &str, out: &mut Findings<'_>) {
    if matches!(node.value, Value::Null | Value::List(_) | Value::Map(_)) {
        wrong_type(node, of, path, out);
        return;
    }
    if trap(node, path, out) {
        return;
    }
    let result = match wanted {
        Kind::Bool => match node.value {
            Value::Bool(_) => Ok(()),
            _ => Err(Wrong::of_type("write true or false, without quotes")),
        },
        Kind::Int { min, max } => whole(node, *min, *max),
        Kind::Float { min, max } => match scalar::float(node) {
            Some(number) if (*min..=*max).contains(&number) => Ok(()),
            Some(_) => Err(Wrong::value("")),
            None => Err(not_a_number(node)),
        },
        Kind::Ratio { above_zero } => ratio(node, *above_zero),
        Kind::Duration { min, max } => duration(node, *min, *max),
        Kind::Bytes { max } => size(node, *max),
        Kind::Status { min, max } => whole(node, u64::from(*min), u64::from(*max)),
        Kind::Condition => condition(node),
        _ => match &node.value {
            Value::Text { text, .. } => word(text, wanted),
            Value::Number(number) if matches!(wanted, Kind::Rate) => Err(Wrong {
                rule: Rule::Type,
                why: "a number without a time".to_owned(),
                fix: format!("give a time: {}/s", shown(number)),
            }),
            other => Err(not_a_text(node, other)),
        },
    };
    if let Err(wrong) = result {
        report(node, of, path, &wrong, out);
    }
}

/// A key that the writer chose.
pub(super) fn key(key: &Key, wanted: &Kind, path: &str, out: &mut Findings<'_>) {
    if let Err(wrong) = word(&key.name, wanted) {
        let why = if wrong.why.is_empty() { String::new() } else { format!(", {}", wrong.why) };
        let message = format!(
            "`{}` is not allowed as a key here{why}; allowed is {}",
            shown(&key.name),
            wanted.allowed()
        );
        out.add(Rule::Value, key.span, path, message, wrong.fix);
    }
}

fn not_a_text(node: &Node, value: &Value) -> Wrong {
    let text = node.scalar().unwrap_or_default();
    match value {
        Value::Number(_) => Wrong {
            rule: Rule::Type,
            why: "a number".to_owned(),
            fix: format!("write it in quotes: \"{}\"", shown(text)),
        },
        _ => Wrong {
            rule: Rule::Type,
            why: "a truth value".to_owned(),
            fix: format!("write it in quotes: \"{}\"", shown(text)),
        },
    }
}

fn not_a_number(node: &Node) -> Wrong {
    match &node.value {
        Value::Number(_) => Wrong::because("not finite", "write a number such as 0.5"),
        Value::Text { text, plain: false } if text.parse::<f64>().is_ok() => Wrong {
            rule: Rule::Type,
            why: "a text".to_owned(),
            fix: format!("write it without quotes: {text}"),
        },
        _ => Wrong::of_type("write a number such as 1 or 0.5"),
    }
}

fn whole(node: &Node, min: u64, max: u64) -> Result<(), Wrong> {
    match (&node.value, scalar::whole(node)) {
        (_, Some(number)) if (min..=max).contains(&number) => Ok(()),
        (_, Some(number)) => {
            Err(Wrong::value(format!("the nearest that is allowed is {}", number.clamp(min, max))))
        }
        (Value::Number(text), None)
            if text.len() > 1 && text.starts_with('0') && !text.contains('.') =>
        {
            let why = "which readers of YAML 1.1 take for an octal number";
            Err(Wrong::because(
                why,
                format!("write it without the leading zero: {}", text.trim_start_matches('0')),
            ))
        }
        (Value::Number(text), None)
            if text.contains(['.', 'e', 'E']) && scalar::float(node).is_some() =>
        {
            Err(Wrong::because("not written as a whole number", "write digits only"))
        }
        (Value::Number(text), None) if text.starts_with('-') => {
            Err(Wrong::value(format!("the nearest that is allowed is {min}")))
        }
        (Value::Number(_), None) if scalar::float(node).is_some() => {
            Err(Wrong::value(format!("the nearest that is allowed is {max}")))
        }
        _ => Err(not_a_number(node)),
    }
}

fn ratio(node: &Node, above_zero: bool) -> Result<(), Wrong> {
    if let Value::Text { text, .. } = &node.value
        && let Some(percent) = text.strip_suffix('%')
        && let Ok(percent) = percent.trim().parse::<f64>()
        && (0.0..=100.0).contains(&percent)
    {
        return Err(Wrong::because(
            "a percentage",
            format!("write it as a share: {}", percent / 100.0),
        ));
    }
    match scalar::float(node) {
        Some(share) if (0.0..=1.0).contains(&share) && !(above_zero && share == 0.0) => Ok(()),
        Some(share) if share > 1.0 && share <= 100.0 => Err(Wrong::value(format!(
            "percent are written as shares: {share} % is {}",
            share / 100.0
        ))),
        Some(_) => Err(Wrong::value("")),
        None => Err(not_a_number(node)),
    }
}

fn duration(node: &Node, min: u64, max: u64) -> Result<(), Wrong> {
    let text = node.scalar().unwrap_or_default();
    match (&node.value, scalar::millis(text)) {
        (Value::Text { .. }, Ok(millis)) if (min..=max).contains(&millis) => Ok(()),
        (Value::Text { .. }, Ok(millis)) => {
            let near = write_millis(millis.clamp(min, max));
            Err(Wrong::value(format!("the nearest that is allowed is {near}")))
        }
        (Value::Number(number), _) if !number.starts_with(['-', '.', '+']) => {
            let fix = format!("write `{}s` or `{}ms`", shown(number), shown(number));
            Err(Wrong { rule: Rule::Type, why: "a number without a unit".to_owned(), fix })
        }
        (_, Err(NotSpan::NoUnit)) => Err(Wrong::because(
            "without a unit",
            format!("write `{}s` or `{}ms`", shown(text), shown(text)),
        )),
        (_, Err(NotSpan::Unit)) => Err(Wrong::because(
            "a unit that does not exist",
            "the units are ms, s, m, h and d, such as `1m30s`",
        )),
        _ if text.starts_with('-') => Err(Wrong::because("below zero", "")),
        _ => Err(Wrong::value(
            "a time is written like `800ms`, `15s`, `1m30s` or `0.5s`, to the millisecond",
        )),
    }
}

fn size(node: &Node, max: u64) -> Result<(), Wrong> {
    let text = node.scalar().unwrap_or_default();
    match scalar::bytes(text) {
        Some(bytes) if bytes <= max && !matches!(node.value, Value::Bool(_)) => Ok(()),
        Some(_) => Err(Wrong::value(format!(
            "the nearest that is allowed is {}",
            scalar::write_bytes(max)
        ))),
        None if text.starts_with('-') => Err(Wrong::because("below zero", "")),
        None => {
            Err(Wrong::value("a size is written like `64KiB`, `10MiB`, `1MB` or a number of bytes"))
        }
    }
}

fn condition(node: &Node) -> Result<(), Wrong> {
    let text = node.scalar().unwrap_or_default();
    let known: Result<Condition, _> = text.parse();
    match known {
        Ok(_) if !matches!(node.value, Value::Bool(_)) => Ok(()),
        _ => {
            let words = [
                "connect_failure",
                "refused_stream",
                "reset",
                "timeout",
                "5xx",
                "gateway_error",
                "unavailable",
                "cancelled",
                "deadline_exceeded",
                "resource_exhausted",
                "internal",
            ];
            let bare = text.replace('-', "_");
            Err(Wrong::value(nearest(&bare, words).map_or_else(String::new, did_you_mean)))
        }
    }
}

fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

fn word(text: &str, wanted: &Kind) -> Result<(), Wrong> {
    let plain = |holds: bool| if holds { Ok(()) } else { Err(Wrong::value("")) };
    let named = |error: String| Err(Wrong::because(String::new(), error));
    match wanted {
        Kind::Word(words) => {
            if words.iter().any(|(word, _)| *word == text) {
                return Ok(());
            }
            let near = nearest(text, words.iter().map(|(word, _)| *word));
            Err(Wrong::value(near.map_or_else(String::new, did_you_mean)))
        }
        Kind::Text { max } => {
            if text.is_empty() && *max < 1_024 {
                return Err(Wrong::because("empty", ""));
            }
            if text.len() <= *max {
                Ok(())
            } else {
                Err(Wrong::because(format!("{} bytes", text.len()), ""))
            }
        }
        Kind::Service => match ServiceName::new(text) {
            Ok(_) => Ok(()),
            Err(error) => named(error.to_string()),
        },
        Kind::RouteName | Kind::Subset => match RouteName::new(text) {
            Ok(_) => Ok(()),
            Err(error) => named(error.to_string().replace("a route name", "a name")),
        },
        Kind::Caller if text == "*" => Ok(()),
        Kind::Caller => match ServiceName::new(text) {
            Ok(_) => Ok(()),
            Err(error) => named(error.to_string()),
        },
        Kind::Datacenter => {
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            plain((1..=64).contains(&text.len()) && text.bytes().all(fits))
        }
        Kind::HeaderName => {
            if text.starts_with(':') {
                return Err(Wrong::because(
                    "a pseudo-header",
                    "match paths and methods by their own keys",
                ));
            }
            plain(text.len() <= 256 && http::HeaderName::from_bytes(text.as_bytes()).is_ok())
        }
        Kind::HeaderValue => plain(
            text.len() <= 4_096 && text.is_ascii() && http::HeaderValue::from_str(text).is_ok(),
        ),
        Kind::Method | Kind::RetryMethod => method(text, matches!(wanted, Kind::RetryMethod)),
        Kind::VersionRange => match semver::VersionReq::parse(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(Wrong::because(error.to_string(), "")),
        },
        Kind::Language => {
            let known = [
                "rust", "go", "java", "kotlin", "scala", "python", "node", "dotnet", "ruby", "php",
            ];
            match Language::named(text) {
                // An unknown language is legal, a typing error of a known one is not meant.
                Some(Language::Other(_)) if text.len() > 3 && nearest(text, known).is_some() => {
                    Err(Wrong::value(nearest(text, known).map_or_else(String::new, did_you_mean)))
                }
                Some(_) => Ok(()),
                None => Err(Wrong::value("")),
            }
        }
        Kind::Path => path(text),
        Kind::PathPattern => match PathPattern::new(text) {
            Some(_) => Ok(()),
            None if text.trim_end_matches('*').contains('*')
                || !text.ends_with("/*") && text.contains('*') =>
            {
                Err(Wrong::because("with `*` elsewhere than as its last segment", ""))
            }
            None => path(text),
        },
        Kind::Regex => match Pattern::new(text) {
            Ok(_) => Ok(()),
            Err(error) => {
                let fix = if error.why.contains("of memory") {
                    "repeat less: a repetition of a repetition multiplies"
                } else if text.contains("(?=") || text.contains("(?!") || text.contains("(?<") {
                    "look-around does not exist here, so that every match takes linear time"
                } else {
                    "it is matched against the whole text; escape special characters with `\\`"
                };
                Err(Wrong::because(error.to_string(), fix))
            }
        },
        Kind::Rate => match text.parse::<Rate>() {
            Ok(rate) if rate.per().as_nanos() >= u128::from(rate.count().get()) => Ok(()),
            Ok(_) => Err(Wrong::because("more than 1000000000/s", "")),
            Err(_) if text.contains('/') => {
                Err(Wrong::value("the units are ms, s, m and h; neither side is zero"))
            }
            Err(_) => Err(Wrong::value(format!("give a time: {}/s", shown(text)))),
        },
        _ => Ok(()),
    }
}

fn path(text: &str) -> Result<(), Wrong> {
    if text.len() > 2_048 {
        return Err(Wrong::because("too long", "at most 2048 bytes"));
    }
    if text.contains('?') {
        return Err(Wrong::because("with a query", "match the query by `query`"));
    }
    if text.contains('*') {
        return Err(Wrong::because(
            "with a `*`",
            "a prefix means everything below it: `/v2` is `/v2` and `/v2/…`",
        ));
    }
    match NormalPath::new(text) {
        Ok(normal) if normal.as_str() == text => Ok(()),
        Ok(normal) => Err(Wrong::because("not in its normal form", format!("write `{normal}`"))),
        Err(error) => Err(Wrong::because(error.to_string(), "")),
    }
}

fn method(text: &str, or_grpc: bool) -> Result<(), Wrong> {
    if or_grpc && text.contains('/') {
        let parts = text.strip_prefix('/').unwrap_or(text).split_once('/');
        return match parts {
            Some((service, method))
                if !service.is_empty() && !method.is_empty() && !method.contains('/') =>
            {
                Ok(())
            }
            _ => Err(Wrong::value("")),
        };
    }
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    if known.contains(&text) {
        return Ok(());
    }
    let upper = text.to_ascii_uppercase();
    if known.contains(&&*upper) {
        return Err(Wrong::because(
            "in lower case",
            format!("methods are case-sensitive: write {upper}"),
        ));
    }
    if let Some(near) = nearest(&upper, known) {
        return Err(Wrong::value(did_you_mean(near)));
    }
    let legal =
        http::Method::from_bytes(text.as_bytes()).is_ok() && text == upper && text.len() <= 32;
    if legal { Ok(()) } else { Err(Wrong::value("")) }
}
