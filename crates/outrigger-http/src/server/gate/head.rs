//! One pass over a request's head, for what decides where it ends and how long its body is.

use memchr::memchr;

use crate::server::refused::Refused;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) headers: u32,
}

/// A head that is being read.
///
/// Cost: a search for each line's end, and a look at its first letter and its colon; the letters of
/// names and values are hyper's.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// Where the line begins that is not whole yet.
    line: usize,
    /// Up to where its end was looked for.
    seen: usize,
    lines: u32,
    has_blank: bool,
    is_http10: bool,
    is_connect: bool,
    may_switch: bool,
    is_chunked: bool,
    length: Option<u64>,
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunks,
}

/// What a look at a head came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// The end has not come.
    Part,
    /// It is so many bytes long.
    Whole {
        length: usize,
        framing: Framing,
        /// It asks for another protocol.
        may_switch: bool,
    },
    Bad(Refused),
}

impl Head {
    /// Looks at what has come of the head; `bytes` begin where it begins, each time.
    pub(crate) fn scan(&mut self, bytes: &[u8], limits: Limits) -> Scanned {
        while let Some(found) = memchr(b'\n', &bytes[self.seen..]) {
            let end = self.seen + found;
            if end >= limits.bytes {
                return Scanned::Bad(self.too_large());
            }
            if end == self.line || bytes[end - 1] != b'\r' {
                return Scanned::Bad(Refused::BAD_LINE_END);
            }
            let line = &bytes[self.line..end - 1];
            self.seen = end + 1;
            self.line = end + 1;
            let judged = if self.lines > 0 {
                if line.is_empty() {
                    return self.whole(end + 1);
                }
                self.header(line, limits)
            } else if line.is_empty() && !self.has_blank {
                // "A server that is expecting to receive and parse a request-line SHOULD ignore at
                // least one empty line" (RFC 9112, section 2.2).
                self.has_blank = true;
                Ok(())
            } else {
                self.request_line(line)
            };
            if let Err(refused) = judged {
                return Scanned::Bad(refused);
            }
        }
        self.seen = bytes.len();
        if bytes.len() >= limits.bytes { Scanned::Bad(self.too_large()) } else { Scanned::Part }
    }

    const fn too_large(&self) -> Refused {
        if self.lines == 0 { Refused::URI_TOO_LONG } else { Refused::HEAD_TOO_LARGE }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refused> {
        self.lines = 1;
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Refused::BAD_REQUEST_LINE);
        };
        self.is_http10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Refused::BAD_VERSION),
        };
        // A fragment never goes over the wire; hyper would cut it off, and another reader not.
        if target.is_empty() || target.iter().any(|&b| !b.is_ascii_graphic() || b == b'#') {
            return Err(Refused::BAD_TARGET);
        }
        self.is_connect = method == b"CONNECT";
        self.may_switch = self.is_connect;
        Ok(())
    }

    fn header(&mut self, line: &[u8], limits: Limits) -> Result<(), Refused> {
        self.lines += 1;
        if self.lines - 1 > limits.headers {
            return Err(Refused::HEAD_TOO_LARGE);
        }
        let Some(colon) = memchr(b':', line) else { return Err(Refused::BAD_HEADER) };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        match name.first() {
            // A name that is none, or the continuation of the line before.
            None | Some(b' ' | b'\t') => Err(Refused::BAD_HEADER),
            Some(b'c' | b'C') if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refused::SEVERAL_LENGTHS);
                }
                self.length = Some(parse_length(trim(value)).ok_or(Refused::BAD_LENGTH)?);
                Ok(())
            }
            Some(b't' | b'T') if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                // Only HTTP/1.1 has it, only once, and only the one coding that frames.
                if self.is_http10
                    || self.is_chunked
                    || !trim(value).eq_ignore_ascii_case(b"chunked")
                {
                    return Err(Refused::BAD_CODING);
                }
                self.is_chunked = true;
                Ok(())
            }
            Some(b'u' | b'U') if name.eq_ignore_ascii_case(b"upgrade") => {
                self.may_switch |= !self.is_http10;
                Ok(())
            }
            // A space before the colon: some readers see the name without it.
            _ if matches!(name.last(), Some(b' ' | b'\t')) => Err(Refused::BAD_HEADER),
            _ => Ok(()),
        }
    }

    fn whole(&self, length: usize) -> Scanned {
        let framing = match (self.length, self.is_chunked) {
            (Some(_), true) => return Scanned::Bad(Refused::TWO_FRAMINGS),
            // What would follow is the tunnel's.
            (Some(1..), _) | (_, true) if self.is_connect => {
                return Scanned::Bad(Refused::TWO_FRAMINGS);
            }
            (_, true) => Framing::Chunks,
            (length, false) => Framing::Length(length.unwrap_or(0)),
        };
        Scanned::Whole { length, framing, may_switch: self.may_switch }
    }
}

/// Without spaces and tabs around it, which is all that may stand around a value.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, &digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}
