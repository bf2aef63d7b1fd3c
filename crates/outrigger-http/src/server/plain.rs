//! What is said to those who speak HTTP in the clear where TLS is spoken.

use std::io;

use outrigger_core::{Reason, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// In words, for whoever looks.
const WORDS: &str = "this port speaks TLS: use https";

/// Gives back a connection that may be TLS. HTTP in the clear is refused in its own language,
/// where the alert of a TLS server would be noise to its client.
///
/// Shape: looks at the first byte, and takes none. A TLS handshake begins with 22; every method and
/// HTTP/2's preface with a capital letter.
///
/// # Errors
/// What reading says, and `InvalidData` for whoever was turned away.
pub(super) async fn turn_away(mut tcp: TcpStream) -> io::Result<TcpStream> {
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !first[0].is_ascii_alphabetic() {
        return Ok(tcp);
    }
    let mut start = [0; 512];
    let read = tcp.read(&mut start).await?;
    let answer = if start[..read].starts_with(b"PRI") { goodbye() } else { refusal() };
    tcp.write_all(&answer).await?;
    tcp.shutdown().await?;
    // Closed with bytes unread, the kernel would take the answer back.
    let mut rest = 0;
    while rest < MOST_READ {
        match tcp.read(&mut start).await? {
            0 => break,
            read => rest += read,
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "HTTP in the clear where TLS is spoken"))
}

/// Bytes of a refused request that are read before the connection is closed.
const MOST_READ: usize = 65_536;

fn refusal() -> Vec<u8> {
    let (reason, why) = (header::REASON, Reason::BadRequest.as_str());
    let length = WORDS.len() + 1;
    format!(
        "HTTP/1.1 400 Bad Request\r\n{reason}: {why}\r\ncontent-type: text/plain\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{WORDS}\n"
    )
    .into_bytes()
}

/// The server's settings, which are empty, and GOAWAY.
fn goodbye() -> Vec<u8> {
    /// INADEQUATE_SECURITY, RFC 9113, section 7.
    const CODE: [u8; 4] = [0, 0, 0, 0xc];
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u8::try_from(8 + WORDS.len()).unwrap_or(u8::MAX);
    let mut frames = settings.to_vec();
    frames.extend_from_slice(&[0, 0, length, 7, 0, 0, 0, 0, 0]);
    // No stream was looked at.
    frames.extend_from_slice(&[0; 4]);
    frames.extend_from_slice(&CODE);
    frames.extend_from_slice(WORDS.as_bytes());
    frames
}
