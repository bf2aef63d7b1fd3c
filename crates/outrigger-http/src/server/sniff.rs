//! Telling HTTP/1.1 and HTTP/2 apart by the first bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::io::forward_writes;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose first bytes were read already.
#[derive(Debug)]
pub(crate) struct Rewound<T> {
    prefix: [u8; PREFACE.len()],
    at: usize,
    end: usize,
    inner: T,
}

/// Reads until it is clear what the peer speaks; `true` for HTTP/2.
///
/// # Errors
/// What reading says, and `UnexpectedEof` for a peer that leaves without a word.
pub(crate) async fn sniff<T: AsyncRead + Unpin>(mut inner: T) -> io::Result<(Rewound<T>, bool)> {
    let mut prefix = [0; PREFACE.len()];
    let mut end = 0;
    while end < prefix.len() && prefix[..end] == PREFACE[..end] {
        match inner.read(&mut prefix[end..]).await? {
            0 if end == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => break,
            read => end += read,
        }
    }
    let is_http2 = prefix == *PREFACE;
    Ok((Rewound { prefix, at: 0, end, inner }, is_http2))
}

impl<T> Rewound<T> {
    /// A stream that nothing was read of.
    pub(crate) const fn untouched(inner: T) -> Self {
        Self { prefix: [0; PREFACE.len()], at: 0, end: 0, inner }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.at < self.end {
            let take = buf.remaining().min(self.end - self.at);
            let (from, to) = (self.at, self.at + take);
            buf.put_slice(&self.prefix[from..to]);
            self.at = to;
            // What follows usually is there as well, and a head that comes whole is read at once.
            // What is wrong with the stream will be so at the next read too.
            let _rest = Pin::new(&mut self.inner).poll_read(cx, buf);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

forward_writes!(Rewound);

#[cfg(test)]
mod tests {
    use super::*;

    async fn sniffed(bytes: &[u8]) -> (Vec<u8>, bool) {
        let (mut rewound, is_http2) = sniff(bytes).await.expect("something was sent");
        let mut all = Vec::new();
        rewound.read_to_end(&mut all).await.expect("a slice can be read");
        (all, is_http2)
    }

    #[tokio::test]
    async fn only_the_whole_preface_is_http2_and_nothing_is_lost() {
        for (bytes, wanted) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"[..], true),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", false),
            (b"PRI * HTTP/1.1\r\n\r\n", false),
            (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", false),
            (b"P", false),
            (b"POST / HTTP/1.1\r\n\r\n", false),
        ] {
            let (all, is_http2) = sniffed(bytes).await;
            assert_eq!(is_http2, wanted, "{}", String::from_utf8_lossy(bytes));
            assert_eq!(all, bytes, "what was read comes again");
        }
        assert!(sniff(&b""[..]).await.is_err(), "a peer that says nothing speaks nothing");
    }
}
