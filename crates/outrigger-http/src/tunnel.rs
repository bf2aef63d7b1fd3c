//! Carrying bytes between two streams.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

/// How a tunnel is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TunnelConfig {
    /// Time without a byte in either direction after which both ends are closed; it may come to
    /// twice that. Default 1 h.
    pub idle_timeout: Duration,
}

impl Default for TunnelConfig {
    fn default() -> Self {
        Self { idle_timeout: Duration::from_secs(3_600) }
    }
}

impl TunnelConfig {
    /// With this time without a byte.
    #[must_use]
    pub const fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }
}

/// What a tunnel carried, and how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Carried {
    /// Bytes from the first stream to the second: from the caller to the endpoint.
    pub forth: u64,
    /// Bytes from the second stream to the first.
    pub back: u64,
    /// How it ended.
    pub end: TunnelEnd,
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelEnd {
    /// Both sides have said all they had to say.
    #[default]
    Closed,
    /// Nothing was said for too long.
    Idle,
    /// A stream broke, or was never one.
    Broken,
}

/// Carries bytes both ways until both sides have ended; the end of one side is passed on, and the
/// other may go on (half-close).
///
/// # Cancel safety
/// Dropping it drops both streams, with what was read of one and not yet written to the other.
///
/// Cost: 8 KiB for each direction.
pub async fn tunnel<A, B>(mut first: A, mut second: B, config: TunnelConfig) -> Carried
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut forth, mut back) = (Half::new(), Half::new());
    let mut idle = pin!(sleep(config.idle_timeout));
    let mut seen = 0;
    let end = poll_fn(|cx| {
        let polled = (
            forth.poll_carry(cx, &mut first, &mut second),
            back.poll_carry(cx, &mut second, &mut first),
        );
        match polled {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                return Poll::Ready(TunnelEnd::Broken);
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(TunnelEnd::Closed),
            _ => {}
        }
        loop {
            ready!(idle.as_mut().poll(cx));
            let carried = forth.carried + back.carried;
            if carried == seen {
                return Poll::Ready(TunnelEnd::Idle);
            }
            // Looked at once in a while, and not for every byte.
            seen = carried;
            idle.set(sleep(config.idle_timeout));
        }
    })
    .await;
    Carried { forth: forth.carried, back: back.carried, end }
}

/// One direction.
struct Half {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
    carried: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Carrying,
    /// The source has ended: what is left is written, and the end passed on.
    Ending,
    Ended,
}

const BUFFER: usize = 8 * 1_024;

impl Half {
    fn new() -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { buffer, from: 0, to: 0, carried: 0, state: State::Carrying }
    }

    fn poll_carry<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while self.from < self.to {
                let rest = &self.buffer[self.from..self.to];
                let wrote = ready!(Pin::new(&mut *sink).poll_write(cx, rest))?;
                if wrote == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.from += wrote;
                self.carried += wrote as u64;
            }
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx))?;
                    self.state = State::Ended;
                }
                State::Carrying => {
                    let mut read = ReadBuf::new(&mut self.buffer);
                    match Pin::new(&mut *source).poll_read(cx, &mut read) {
                        Poll::Ready(result) => result?,
                        Poll::Pending => {
                            // A stream that gathers what it writes is told that this is all.
                            ready!(Pin::new(&mut *sink).poll_flush(cx))?;
                            return Poll::Pending;
                        }
                    }
                    (self.from, self.to) = (0, read.filled().len());
                    if self.to == 0 {
                        self.state = State::Ending;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    fn joined(config: TunnelConfig) -> (DuplexStream, DuplexStream, JoinHandle<Carried>) {
        let (near, first) = duplex(64);
        let (far, second) = duplex(64);
        (near, far, tokio::spawn(tunnel(first, second, config)))
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_one_side_leaves_the_other_open() {
        let (mut near, mut far, running) = joined(TunnelConfig::default());
        let question = vec![7; 100_000];
        let asking = async {
            near.write_all(&question).await.expect("carried");
            near.shutdown().await.expect("said");
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.expect("answered");
            answer
        };
        let answering = async {
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.expect("asked");
            far.write_all(b"after the end").await.expect("carried");
            far.shutdown().await.expect("said");
            heard
        };
        let (answer, heard) = tokio::join!(asking, answering);
        assert!(heard == question && answer == b"after the end");
        let carried = running.await.expect("no panic");
        assert_eq!(carried, Carried { forth: 100_000, back: 13, end: TunnelEnd::Closed });
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_tunnel_and_a_byte_now_and_then_does_not() {
        let config = TunnelConfig::default().with_idle_timeout(Duration::from_secs(10));
        let (mut near, mut far, running) = joined(config);
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            far.write_all(b"x").await.expect("still open");
            assert_eq!(near.read_u8().await.expect("carried"), b'x');
        }
        let carried = running.await.expect("no panic");
        assert_eq!((carried.back, carried.end), (10, TunnelEnd::Idle));
        assert_eq!(near.read(&mut [0]).await.expect("closed"), 0);
    }

    #[tokio::test]
    async fn an_end_that_breaks_ends_both() {
        let (near, mut far, running) = joined(TunnelConfig::default());
        drop(near);
        // The one side is gone: its end is told, and what the other says cannot be carried.
        assert_eq!(far.read(&mut [0]).await.expect("told"), 0);
        far.write_all(&[0; 32]).await.expect("there is room");
        assert_eq!(running.await.expect("no panic").end, TunnelEnd::Broken);
    }
}
