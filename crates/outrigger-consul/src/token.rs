//! The ACL token: where it comes from, and that it never shows.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use tokio::sync::watch;

use crate::ConfigError;

/// An ACL token; its text shows nowhere but in the header of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(HeaderValue);

impl Token {
    /// Checks a text and makes it a token; surrounding white space is cut off.
    ///
    /// # Errors
    /// [`ConfigError::Token`] for a text that cannot stand in a header; it does not show the text.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim();
        let fits = (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        let header = fits.then(|| HeaderValue::from_str(text).ok()).flatten();
        let mut header = header.ok_or(ConfigError::Token)?;
        header.set_sensitive(true);
        Ok(Self(header))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where the token comes from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum TokenSource {
    /// No token is sent.
    #[default]
    None,
    /// One token for good.
    Fixed(Token),
    /// A file that is read again when it changes, and whenever the token is denied.
    File(PathBuf),
}

/// The token that is valid now.
#[derive(Debug)]
pub(crate) struct TokenKeeper {
    file: Option<PathBuf>,
    now: watch::Sender<Option<Token>>,
}

impl TokenKeeper {
    pub(crate) fn new(source: &TokenSource) -> Result<Self, ConfigError> {
        let (file, token) = match source {
            TokenSource::None => (None, None),
            TokenSource::Fixed(token) => (None, Some(token.clone())),
            TokenSource::File(path) => (Some(path.clone()), Some(read(path)?)),
        };
        Ok(Self { file, now: watch::Sender::new(token) })
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        self.now.borrow().as_ref().map(Token::header)
    }

    pub(crate) const fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Reads the file again; whether it held another token. A file that cannot be read, or holds
    /// none, changes nothing: it may be half-way through being replaced.
    pub(crate) fn reread(&self) -> bool {
        let Some(path) = &self.file else { return false };
        match read(path) {
            Ok(token) => self.now.send_if_modified(|now| {
                let other = now.as_ref() != Some(&token);
                *now = Some(token);
                other
            }),
            Err(error) => {
                tracing::debug!(%error, "token file not read");
                false
            }
        }
    }

    /// Wakes whenever there is another token.
    pub(crate) fn changes(&self) -> watch::Receiver<Option<Token>> {
        self.now.subscribe()
    }
}

fn read(path: &Path) -> Result<Token, ConfigError> {
    // A few bytes from a local file, at the start and once every two seconds.
    let text = fs::read_to_string(path).map_err(|source| ConfigError::File {
        key: "token_file",
        path: path.into(),
        source,
    })?;
    Token::new(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_show() {
        let token = Token::new(" canary-6b1f\n").expect("valid");
        assert_eq!(token.header(), "canary-6b1f");
        assert!(token.header().is_sensitive());
        let source = TokenSource::Fixed(token);
        assert!(!format!("{source:?}").contains("canary"), "{source:?}");
    }

    #[test]
    fn a_text_that_breaks_a_header_is_refused_without_being_shown() {
        for text in ["", "  ", "a b", "canary\r\nx-evil: 1", "canär", &"c".repeat(513)] {
            let error = Token::new(text).expect_err("refused").to_string();
            assert!(!error.contains("can") || !error.contains("evil"), "{error}");
        }
    }

    #[test]
    fn a_file_is_read_again_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        fs::write(&path, "one\n").expect("written");
        let keeper = TokenKeeper::new(&TokenSource::File(path.clone())).expect("readable");
        assert!(!keeper.reread(), "the same token");
        fs::write(&path, "").expect("written");
        assert!(!keeper.reread(), "half-way through being replaced");
        assert_eq!(keeper.header().expect("kept"), "one");
        fs::write(&path, "two").expect("written");
        assert!(keeper.reread());
        assert_eq!(keeper.header().expect("new"), "two");
        fs::remove_file(&path).expect("removed");
        assert!(!keeper.reread());
        assert_eq!(keeper.header().expect("kept"), "two");
    }
}
