//! A chunked body, as far as its framing goes.

use crate::server::refused::Refused;

/// Where in a chunked body the stream stands.
///
/// Cost: a few steps for each byte of a chunk's line and of trailers; data is stepped over.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    at: At,
    /// Of the present chunk: what is left, and how many digits told it.
    left: u64,
    digits: u8,
    /// Bytes of extensions and of trailers so far.
    extras: u32,
    trailers: u8,
    /// The name of the present trailer, as far as it has come, in lower case.
    name: [u8; LONGEST.len()],
    length: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The beginning of a line after the last chunk.
    Line,
    Name,
    Value,
    LineLf,
    EndLf,
}

/// Extensions and trailers of one body together.
const MAX_EXTRAS: u32 = 8_192;
/// Fewer than hyper takes, whose own refusal would say nothing of the reason.
const MAX_TRAILERS: u8 = 64;
const LONGEST: &[u8] = b"transfer-encoding";

impl Chunks {
    /// Goes on with what has come; gives back how much of it belongs to the body, and whether the
    /// body ends there.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refused> {
        let mut i = 0;
        while let Some(&byte) = bytes.get(i) {
            if self.at == At::Data {
                let here = (bytes.len() - i) as u64;
                if here < self.left {
                    self.left -= here;
                    return Ok((bytes.len(), false));
                }
                // It fits: it is not longer than what is here.
                i += self.left as usize;
                self.at = At::DataCr;
                continue;
            }
            i += 1;
            if self.step(byte)? {
                return Ok((i, true));
            }
        }
        Ok((i, false))
    }

    /// One byte that is no data; `true` for the last of the body.
    fn step(&mut self, byte: u8) -> Result<bool, Refused> {
        self.at = match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digits += 1;
                if self.digits > 15 {
                    return Err(Refused::BAD_CHUNK);
                }
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    _ => (byte | 0x20) - b'a' + 10,
                };
                self.left = self.left * 16 + u64::from(digit);
                At::Size
            }
            (At::Size, b'\r') if self.digits > 0 => At::SizeLf,
            (At::Size, b';') if self.digits > 0 => At::Extension,
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extra()?;
                At::Extension
            }
            (At::SizeLf, b'\n') if self.left == 0 => At::Line,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                (self.left, self.digits) = (0, 0);
                At::Size
            }
            (At::Line, b'\r') => At::EndLf,
            (At::Line, b':' | b' ' | b'\t') => return Err(Refused::BAD_CHUNK),
            (At::Name, b':') => {
                if self.is_forbidden() {
                    return Err(Refused::BAD_TRAILER);
                }
                At::Value
            }
            (At::Line, b'!'..=b'~') => {
                self.length = 0;
                self.trailers += 1;
                if self.trailers > MAX_TRAILERS {
                    return Err(Refused::BAD_TRAILER);
                }
                self.letter(byte)?;
                At::Name
            }
            (At::Name, b'!'..=b'~') => {
                self.letter(byte)?;
                At::Name
            }
            (At::Value, b'\r') => At::LineLf,
            (At::Value, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extra()?;
                At::Value
            }
            (At::LineLf, b'\n') => At::Line,
            (At::EndLf, b'\n') => return Ok(true),
            _ => return Err(Refused::BAD_CHUNK),
        };
        Ok(false)
    }

    fn extra(&mut self) -> Result<(), Refused> {
        self.extras += 1;
        if self.extras > MAX_EXTRAS { Err(Refused::BAD_CHUNK) } else { Ok(()) }
    }

    fn letter(&mut self, byte: u8) -> Result<(), Refused> {
        if let Some(place) = self.name.get_mut(self.length) {
            *place = byte.to_ascii_lowercase();
        }
        self.length += 1;
        self.extra()
    }

    /// Whether the trailer's name is one of those that frame, route or grant: a reader that puts
    /// trailers among the headers would obey them.
    fn is_forbidden(&self) -> bool {
        let name = self.name.get(..self.length).unwrap_or_default();
        matches!(
            name,
            b"content-length"
                | b"transfer-encoding"
                | b"host"
                | b"connection"
                | b"te"
                | b"trailer"
                | b"upgrade"
                | b"expect"
                | b"authorization"
                | b"cookie"
                | b"content-encoding"
                | b"content-type"
                | b"content-range"
                | b"x-forwarded-for"
        )
    }
}
