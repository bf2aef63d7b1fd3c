//! The one form of a path that rules see and endpoints get.

use std::borrow::Cow;
use std::fmt;

/// A request path in its normal form: what rules match, keys are made of, and what is forwarded.
///
/// Shape: starts with `/`; unreserved characters stand decoded, every other encoded byte stands in
/// upper-case hex; `.` and `..` segments are resolved and empty segments merged. Holds no query.
/// Normalising it again changes nothing. Source: RFC 3986, section 6.2.2, and Envoy's
/// `normalize_path` with `merge_slashes`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NormalPath<'a>(Cow<'a, str>);

/// Why a path has no normal form; each is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// It does not start with `/`.
    #[error("a path starts with `/`")]
    NotAbsolute,
    /// A `%` is not followed by two hex digits.
    #[error("`%` is followed by two hex digits")]
    BadEscape,
    /// An encoded `/` or `\`, a raw `\`, or a NUL: two readers would see two paths.
    #[error("a path holds no encoded slash, no backslash and no NUL")]
    Ambiguous,
    /// A control character, a `#`, or a byte beyond ASCII.
    #[error("a path holds only printable ASCII")]
    Unprintable,
    /// `..` leads above the root, or remains after decoding once.
    #[error("`..` leads out of the path")]
    Escapes,
}

impl<'a> NormalPath<'a> {
    /// Normalises a path as it came over the wire, without its query.
    ///
    /// Cost: one pass and no allocation for a path that is normal already.
    ///
    /// # Errors
    /// [`PathError`], for what two readers could understand differently. The request is refused.
    pub fn new(path: &'a str) -> Result<Self, PathError> {
        if !path.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if is_plainly_normal(path) {
            return Ok(Self(Cow::Borrowed(path)));
        }
        let decoded = decode_once(path)?;
        let resolved = resolve(&decoded)?;
        if resolved == path {
            Ok(Self(Cow::Borrowed(path)))
        } else {
            Ok(Self(Cow::Owned(resolved)))
        }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `prefix` is this path or a whole number of its leading segments: `/v2` matches
    /// `/v2` and `/v2/x`, not `/v2x`. A trailing slash of the prefix does not count; `/` matches
    /// everything.
    #[must_use]
    pub fn has_prefix(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        match self.0.strip_prefix(prefix) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// The same path, owned.
    #[must_use]
    pub fn into_owned(self) -> NormalPath<'static> {
        NormalPath(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for NormalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What a byte of a path asks for, as bits: [`LOOK`] a look at it; [`LOOK_AFTER`] one if it follows a
/// slash, since a dot may begin a dot segment, or a name like `.well-known`: the slow way finds
/// out; [`SLASH`] that it is one.
const BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = match at as u8 {
            b'%' | b'\\' | b'#' | 0..=b' ' | 127.. => LOOK,
            b'/' => LOOK_AFTER | SLASH,
            b'.' => LOOK_AFTER,
            _ => 0,
        };
        at += 1;
    }
    bytes
};
const LOOK: u8 = 1;
const LOOK_AFTER: u8 = 2;
const SLASH: u8 = LOOK_AFTER << 1;

/// Whether nothing in the path asks for a change: the common case, decided in one pass.
///
/// Cost: a look into a table for each byte, and no branch but the loop's.
fn is_plainly_normal(path: &str) -> bool {
    let (mut looks, mut previous) = (0, 0);
    for &byte in path.as_bytes() {
        let asks = BYTES[usize::from(byte)];
        // A slash before becomes the bit of what is to be looked at after one.
        looks |= (asks & LOOK) | (asks & (previous >> 1) & LOOK_AFTER);
        previous = asks;
    }
    looks == 0
}

fn decode_once(path: &str) -> Result<String, PathError> {
    let bytes = path.as_bytes();
    let mut decoded = String::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'%' => {
                let digit =
                    |offset: usize| bytes.get(at + offset).and_then(|&b| (b as char).to_digit(16));
                let (Some(high), Some(low)) = (digit(1), digit(2)) else {
                    return Err(PathError::BadEscape);
                };
                // Two hex digits always fit.
                let value = (high * 16 + low) as u8;
                match value {
                    b'/' | b'\\' | 0 => return Err(PathError::Ambiguous),
                    _ if is_unreserved(value) => decoded.push(value as char),
                    _ => {
                        decoded.push('%');
                        decoded.push(bytes[at + 1].to_ascii_uppercase() as char);
                        decoded.push(bytes[at + 2].to_ascii_uppercase() as char);
                    }
                }
                at += 3;
            }
            b'\\' => return Err(PathError::Ambiguous),
            0 => return Err(PathError::Ambiguous),
            b'#' | 1..=b' ' | 127.. => return Err(PathError::Unprintable),
            _ => {
                decoded.push(byte as char);
                at += 1;
            }
        }
    }
    Ok(decoded)
}

fn resolve(path: &str) -> Result<String, PathError> {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_slash = false;
    for segment in path.split('/').skip(1) {
        ends_in_slash = false;
        // A path parameter behind dots (`/..;x/`) is a dot segment to some servers and a name to
        // others: nobody sends it in good faith.
        let bare = segment.split(';').next().unwrap_or_default();
        if bare != segment && (bare == "." || bare == "..") {
            return Err(PathError::Escapes);
        }
        // Decoded once already: what still decodes to dots was encoded twice.
        if looks_like_encoded_dots(segment) {
            return Err(PathError::Escapes);
        }
        match segment {
            "" | "." => ends_in_slash = true,
            ".." => {
                if segments.pop().is_none() {
                    return Err(PathError::Escapes);
                }
                ends_in_slash = true;
            }
            name => segments.push(name),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for segment in &segments {
        resolved.push('/');
        resolved.push_str(segment);
    }
    if ends_in_slash || segments.is_empty() {
        resolved.push('/');
    }
    Ok(resolved)
}

/// Whether a second decoding would turn the segment into `.` or `..`: `%252e`, however deep.
fn looks_like_encoded_dots(segment: &str) -> bool {
    if !segment.contains("%25") {
        return false;
    }
    let mut bare = segment.to_ascii_lowercase();
    while bare.contains("%25") {
        bare = bare.replace("%25", "%");
    }
    let bare = bare.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    bare.split('/').any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(path: &str) -> Result<String, PathError> {
        NormalPath::new(path).map(|p| p.as_str().to_owned())
    }

    #[test]
    fn a_normal_path_is_borrowed() {
        for path in ["/", "/a", "/a/b-c_d~e.f", "/a/b/", "/a;x=1/b", "/a:b@c!$&'()*+,="] {
            let normal = NormalPath::new(path).expect(path);
            assert!(matches!(normal.0, Cow::Borrowed(_)), "{path}");
            assert!(is_plainly_normal(path), "{path} takes the slow way, which allocates");
            assert_eq!((normal.as_str(), normal.to_string()), (path, path.to_owned()));
        }
    }

    #[test]
    fn every_spelling_of_a_path_has_one_form() {
        for (spelled, wanted) in [
            ("//a//b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E/b", "/a/b"),
            ("/%61pi", "/api"),
            ("/a%7eb", "/a~b"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a%20b", "/a%20b"),
            ("/%61;x=1", "/a;x=1"),
            ("/a%2541", "/a%2541"),
        ] {
            assert_eq!(normal(spelled).as_deref(), Ok(wanted), "{spelled}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for (path, error) in [
            ("a", PathError::NotAbsolute),
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/a%2fb", PathError::Ambiguous),
            ("/a%2Fb", PathError::Ambiguous),
            ("/a\\b", PathError::Ambiguous),
            ("/a%5cb", PathError::Ambiguous),
            ("/a%00", PathError::Ambiguous),
            ("/a\0b", PathError::Ambiguous),
            ("/a\u{1}b", PathError::Unprintable),
            ("/a\u{7f}", PathError::Unprintable),
            ("/a%", PathError::BadEscape),
            ("/a%2", PathError::BadEscape),
            ("/a%zz", PathError::BadEscape),
            ("/a#b", PathError::Unprintable),
            ("/a b", PathError::Unprintable),
            ("/é", PathError::Unprintable),
            ("/..", PathError::Escapes),
            ("/a/../../b", PathError::Escapes),
            ("/a/%252e%252e/b", PathError::Escapes),
            ("/a/%25252e%25252e/b", PathError::Escapes),
            ("/a/..;/b", PathError::Escapes),
            ("/a/.;x/b", PathError::Escapes),
            ("/a/%252e/b", PathError::Escapes),
            ("/a/..%252fb", PathError::Escapes),
        ] {
            assert_eq!(normal(path), Err(error), "{path}");
        }
    }

    #[test]
    fn a_prefix_matches_whole_segments() {
        let path = NormalPath::new("/v2/x").expect("valid");
        assert!(path.has_prefix("/v2") && path.has_prefix("/v2/") && path.has_prefix("/"));
        assert!(!path.has_prefix("/v") && !path.has_prefix("/v2/xy"));
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        let mut rng = 0x9e37_79b9_7f4a_7c15_u64;
        let alphabet = ["/", ".", "..", "%2e", "%41", "a", ";", "%20", "%25", "//", "%c3%a9"];
        for _ in 0..20_000 {
            let mut path = String::from("/");
            for _ in 0..8 {
                rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                path.push_str(alphabet[(rng >> 33) as usize % alphabet.len()]);
            }
            if let Ok(once) = normal(&path) {
                assert_eq!(normal(&once).as_deref(), Ok(&*once), "{path}");
            }
        }
    }
}
