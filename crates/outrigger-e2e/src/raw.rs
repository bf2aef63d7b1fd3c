//! One HTTP/1.1 request on its own connection, over std sockets only.
//!
//! The conformance cases compare what is on the wire, so nothing between the test and the socket may
//! normalise a path, follow a redirect or decode a body.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back: status, headers in order of arrival with lower-case names, and the decoded body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Names are lower case, values trimmed.
    pub headers: Vec<(String, String)>,
    /// Chunked coding removed.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a header, by lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// `X-Consul-Index`, when it is there and a number.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        self.header("x-consul-index").and_then(|v| v.parse().ok())
    }

    /// The body as text, invalid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, if it is some.
    #[must_use]
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.text())
    }
}

/// A request as it goes out: the path is sent as it stands.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// Method, upper case.
    pub method: &'a str,
    /// Path with query, already encoded.
    pub path: &'a str,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Sent with a `Content-Length`, empty ones too for methods other than GET.
    pub body: &'a [u8],
    /// Bound on connecting and on every read.
    pub timeout: Duration,
}

impl<'a> Ask<'a> {
    /// A request without body or headers, and 10 s of patience.
    #[must_use]
    pub const fn new(method: &'a str, path: &'a str) -> Self {
        Self { method, path, headers: &[], body: &[], timeout: Duration::from_secs(10) }
    }

    /// Sends the request on a new connection and reads the whole answer.
    ///
    /// # Errors
    /// Any error of the socket, a timeout among them, and `InvalidData` for what is not HTTP/1.1.
    pub fn send(&self, to: SocketAddr) -> io::Result<Answer> {
        let mut socket = TcpStream::connect_timeout(&to, self.timeout)?;
        socket.set_read_timeout(Some(self.timeout))?;
        socket.set_write_timeout(Some(self.timeout))?;
        socket.set_nodelay(true)?;
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n",
            self.method, self.path
        );
        for (name, value) in self.headers {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        if !self.body.is_empty() || self.method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut out = head.into_bytes();
        out.extend_from_slice(self.body);
        // A server may answer 413 and close before it has read the body: what it said still counts.
        let sent = socket.write_all(&out);
        let mut all = Vec::new();
        match socket.read_to_end(&mut all) {
            Ok(_) => {}
            Err(e) if all.is_empty() => return Err(sent.err().unwrap_or(e)),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {}
            Err(e) => return Err(e),
        }
        parse(&all)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn parse(all: &[u8]) -> io::Result<Answer> {
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(|| invalid("no head"))?;
    let head = std::str::from_utf8(&all[..end]).map_err(|_| invalid("head is not text"))?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| invalid("no status"))?;
    let headers: Vec<_> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: Vec::new() };
    let rest = &all[end + 4..];
    answer.body = match (answer.header("transfer-encoding"), answer.header("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => unchunk(rest)?,
        (_, Some(length)) => {
            let length: usize = length.parse().map_err(|_| invalid("content-length"))?;
            rest.get(..length).ok_or_else(|| invalid("body is cut off"))?.to_vec()
        }
        _ => rest.to_vec(),
    };
    Ok(answer)
}

fn unchunk(mut rest: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end =
            rest.windows(2).position(|w| w == b"\r\n").ok_or_else(|| invalid("chunk size"))?;
        let size = std::str::from_utf8(&rest[..end])
            .ok()
            .and_then(|s| s.split(';').next())
            .and_then(|s| usize::from_str_radix(s.trim(), 16).ok())
            .ok_or_else(|| invalid("chunk size"))?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..size).ok_or_else(|| invalid("chunk is cut off"))?);
        rest = rest.get(size + 2..).ok_or_else(|| invalid("chunk is cut off"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_header_names_lowered() {
        let answer = parse(
            b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n",
        )
        .unwrap();
        assert_eq!((answer.status, answer.index()), (200, Some(7)));
        assert_eq!(answer.text(), "[1,2]");
    }

    #[test]
    fn a_body_that_is_cut_off_is_an_error() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").is_err());
    }
}
