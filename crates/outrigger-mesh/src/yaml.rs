//! The document model: what YAML can say, in the order in which it is written, with comments.

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Yaml {
    Text(String),
    Int(u64),
    Float(f64),
    Bool(bool),
    List(Vec<Self>),
    Map(Map),
}

/// Keys and values in the order in which they were put in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Map(Vec<(String, Yaml, Option<String>)>);

impl Map {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// With one more key.
    pub(crate) fn with(self, key: impl Into<String>, value: impl Into<Yaml>) -> Self {
        self.said(key, value, None)
    }

    /// With one more key, and the words that say where it comes from.
    pub(crate) fn said(
        mut self,
        key: impl Into<String>,
        value: impl Into<Yaml>,
        comment: Option<String>,
    ) -> Self {
        self.0.push((key.into(), value.into(), comment));
        self
    }

    /// With one more key, where there is something to say.
    pub(crate) fn maybe(self, key: &str, value: Option<impl Into<Yaml>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The whole as a file, with comments at its head.
    pub(crate) fn file(&self, head: &[String]) -> String {
        let mut out = String::new();
        for line in head {
            out.push_str("# ");
            out.push_str(line);
            out.push('\n');
        }
        self.write(&mut out, 0, false);
        out
    }

    /// `begun` says that the first key stands behind the dash of a list.
    fn write(&self, out: &mut String, indent: usize, mut begun: bool) {
        for (key, value, comment) in &self.0 {
            if !std::mem::take(&mut begun) {
                pad(out, indent);
            }
            scalar(out, key);
            out.push(':');
            value.below(out, indent, comment.as_deref());
        }
    }
}

impl Yaml {
    /// What stands behind a key.
    fn below(&self, out: &mut String, indent: usize, comment: Option<&str>) {
        let is_block = match self {
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.is_empty(),
            _ => false,
        };
        if !is_block {
            out.push(' ');
            self.inline(out);
        }
        if let Some(comment) = comment {
            out.push_str(" # ");
            out.push_str(comment);
        }
        out.push('\n');
        match self {
            Self::Map(map) => map.write(out, indent + 2, false),
            Self::List(items) => items.iter().for_each(|item| item.item(out, indent + 2)),
            _ => {}
        }
    }

    fn item(&self, out: &mut String, indent: usize) {
        pad(out, indent);
        out.push('-');
        match self {
            Self::Map(map) if !map.is_empty() => {
                out.push(' ');
                map.write(out, indent + 2, true);
            }
            // A list in a list begins on a line of its own.
            other => other.below(out, indent, None),
        }
    }

    fn inline(&self, out: &mut String) {
        match self {
            Self::Text(text) => scalar(out, text),
            Self::Int(number) => out.push_str(&number.to_string()),
            Self::Float(number) => out.push_str(&number.to_string()),
            Self::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
            Self::List(_) => out.push_str("[]"),
            Self::Map(_) => out.push_str("{}"),
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A text: plain where no reader of YAML 1.1 or 1.2 could take it for anything else, else quoted as
/// in JSON.
fn scalar(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 11] =
        ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"];
    let first = text.bytes().next();
    let begins = match first {
        Some(b'a'..=b'z' | b'A'..=b'Z' | b'/') => true,
        // A time such as 0.75s is no number; 1e3 is.
        Some(b'0'..=b'9') => text
            .strip_suffix('s')
            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit() || b == b'.')),
        _ => false,
    };
    begins
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./,@=".contains(&b))
        && !WORDS.contains(&&*text.to_ascii_lowercase())
}

macro_rules! from {
    ($($kind:ty => |$value:ident| $made:expr),+ $(,)?) => {
        $(impl From<$kind> for Yaml {
            fn from($value: $kind) -> Self {
                $made
            }
        })+
    };
}

from! {
    &str => |text| Self::Text(text.to_owned()),
    String => |text| Self::Text(text),
    u64 => |number| Self::Int(number),
    u32 => |number| Self::Int(number.into()),
    u16 => |number| Self::Int(number.into()),
    f64 => |number| Self::Float(number),
    bool => |yes| Self::Bool(yes),
    Map => |map| Self::Map(map),
}

impl<T: Into<Self>> From<Vec<T>> for Yaml {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lists_and_comments_stand_where_they_belong() {
        let inner = Map::new().with("a", 1_u64).said("b", vec!["x"], Some("f.yaml:2 (b)".into()));
        let map = Map::new()
            .said("spec", inner.clone(), Some("f.yaml:1 (spec)".into()))
            .with("list", vec![Yaml::from(inner), vec![1_u64].into(), Map::new().into()]);
        let wanted = "# head\nspec: # f.yaml:1 (spec)\n  a: 1\n  b: # f.yaml:2 (b)\n    - x\n\
                      list:\n  - a: 1\n    b: # f.yaml:2 (b)\n      - x\n  -\n    - 1\n  - {}\n";
        assert_eq!(map.file(&["head".into()]), wanted);
    }

    #[test]
    fn texts_that_could_be_something_else_are_quoted() {
        for plain in ["istio", "0.75s", "/v2/", "connect-failure,reset", "type.googleapis.com/x.Y"]
        {
            assert!(is_plain(plain), "{plain}");
        }
        for other in ["", "1", "1e3", "1.0", "yes", "NO", "a: b", "*", "[]", "x #", "t-[0-9]+", "~"]
        {
            assert!(!is_plain(other), "{other}");
        }
    }
}
