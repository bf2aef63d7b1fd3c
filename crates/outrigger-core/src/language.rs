//! The language that an instance is written in.

use std::fmt;
use std::sync::Arc;

/// The programming language of an instance, as its registration tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Language {
    /// Rust.
    Rust,
    /// Go.
    Go,
    /// Java, and what runs on its machine unless it says otherwise.
    Java,
    /// Kotlin.
    Kotlin,
    /// Scala.
    Scala,
    /// Python.
    Python,
    /// JavaScript or TypeScript on Node.
    Node,
    /// C# and its relatives.
    DotNet,
    /// Ruby.
    Ruby,
    /// PHP.
    Php,
    /// Elixir.
    Elixir,
    /// Erlang.
    Erlang,
    /// C++.
    Cpp,
    /// C.
    C,
    /// Swift.
    Swift,
    /// A shell script.
    Shell,
    /// A language that somebody named explicitly and that is not in this list; lower case.
    Other(Arc<str>),
}

impl Language {
    /// Recognises a language's name or one of its usual aliases, in any case.
    ///
    /// `None` for anything else, so that a plain tag such as `primary` is not taken for a
    /// language; see [`Language::named`] for a value that is known to be meant as one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const KNOWN: &[(&str, Language)] = &[
            ("rust", Language::Rust),
            ("rs", Language::Rust),
            ("go", Language::Go),
            ("golang", Language::Go),
            ("java", Language::Java),
            ("jvm", Language::Java),
            ("kotlin", Language::Kotlin),
            ("scala", Language::Scala),
            ("python", Language::Python),
            ("py", Language::Python),
            ("python3", Language::Python),
            ("node", Language::Node),
            ("nodejs", Language::Node),
            ("node.js", Language::Node),
            ("js", Language::Node),
            ("javascript", Language::Node),
            ("typescript", Language::Node),
            ("dotnet", Language::DotNet),
            (".net", Language::DotNet),
            ("csharp", Language::DotNet),
            ("c#", Language::DotNet),
            ("ruby", Language::Ruby),
            ("rb", Language::Ruby),
            ("php", Language::Php),
            ("elixir", Language::Elixir),
            ("erlang", Language::Erlang),
            ("cpp", Language::Cpp),
            ("c++", Language::Cpp),
            ("c", Language::C),
            ("swift", Language::Swift),
            ("shell", Language::Shell),
            ("bash", Language::Shell),
        ];
        let text = text.trim();
        KNOWN
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, language)| language.clone())
    }

    /// Reads a value that was written as a language, such as Meta `language`.
    ///
    /// Shape: an unknown name of 1 to 32 ASCII letters, digits, `+`, `#`, `.`, `-` becomes
    /// [`Language::Other`] in lower case; anything else is `None`.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::parse(text).or_else(|| {
            let fits = (1..=32).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'#' | b'.' | b'-'));
            fits.then(|| Self::Other(Arc::from(text.to_ascii_lowercase())))
        })
    }

    /// The plain tag we register with: lower case, stable.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Rust => "rust",
            Self::Go => "go",
            Self::Java => "java",
            Self::Kotlin => "kotlin",
            Self::Scala => "scala",
            Self::Python => "python",
            Self::Node => "node",
            Self::DotNet => "dotnet",
            Self::Ruby => "ruby",
            Self::Php => "php",
            Self::Elixir => "elixir",
            Self::Erlang => "erlang",
            Self::Cpp => "cpp",
            Self::C => "c",
            Self::Swift => "swift",
            Self::Shell => "shell",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Language {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Language {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::named(&text)
            .ok_or_else(|| serde::de::Error::custom(format_args!("{text:?} is not a language")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_of_a_mixed_fleet_are_recognised() {
        for (alias, language) in [
            ("py", Language::Python),
            ("golang", Language::Go),
            ("js", Language::Node),
            ("NodeJS", Language::Node),
            ("jvm", Language::Java),
        ] {
            assert_eq!(Language::parse(alias), Some(language), "{alias}");
        }
    }

    #[test]
    fn a_plain_tag_is_not_taken_for_a_language() {
        for tag in ["primary", "v2", "urlprefix-/stock", "", "prod"] {
            assert_eq!(Language::parse(tag), None, "{tag}");
        }
        assert_eq!(Language::named("Zig"), Some(Language::Other("zig".into())));
        assert_eq!(Language::named("two words"), None);
    }

    #[test]
    fn what_we_write_we_read() {
        for language in [Language::Rust, Language::Cpp, Language::DotNet, Language::Shell] {
            assert_eq!(Language::parse(language.as_str()), Some(language));
        }
    }
}
