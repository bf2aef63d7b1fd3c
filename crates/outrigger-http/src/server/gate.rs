//! What stands in front of hyper on an HTTP/1.1 connection: strict about framing, byte by byte.
//!
//! hyper forgives what another reader may understand differently: a line that ends in a bare LF,
//! two equal lengths, a length beside chunks (it drops the length). After parsing nothing of that is
//! left to be seen, so it is looked for here, on the bytes. What is refused never reaches hyper: a
//! request of the gate's own takes its place, which is answered with the refusal in its turn, after
//! the answers to the requests before it.

mod chunks;
mod head;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::activity::{Activity, Decision};
use chunks::Chunks;
use head::{Framing, Head, Limits, Scanned};

/// A stream that lets only well-framed requests through.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    inner: T,
    activity: Arc<Activity>,
    limits: Limits,
    state: State,
    /// A request whose head has not come whole, or what waits for a decision.
    held: BytesMut,
    /// What hyper may have, and has not had room for.
    ready: Bytes,
    /// Heads that were let through.
    passed: u64,
    /// Whether the connection may become something else after the present request.
    may_switch: bool,
    /// An answer of ours that is written in the place of one of hyper's.
    instead: Bytes,
    linger: Option<Linger>,
    /// Tells the connection's task that the stream is gone, and is told when that task is.
    alive: oneshot::Sender<()>,
}

#[derive(Debug)]
enum State {
    Head(Head),
    Body(u64),
    Chunks(Chunks),
    /// The request asks for another protocol: what follows belongs to that, or is a request.
    Deciding,
    /// No HTTP any more.
    Tunnel,
    /// Nothing more is read.
    Refused,
    /// A body turned out to be badly framed.
    Broken,
}

/// What remains to be thrown away after a refusal.
#[derive(Debug)]
struct Linger {
    left: usize,
    patience: Pin<Box<Sleep>>,
}

/// A request of our own in the place of one that is refused: hyper answers requests in their order.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

impl<T> Gate<T> {
    pub(crate) fn new(
        inner: T,
        activity: Arc<Activity>,
        max_head_bytes: u32,
        max_headers: u32,
    ) -> (Self, oneshot::Receiver<()>) {
        let (alive, ended) = oneshot::channel();
        let limits = Limits { bytes: max_head_bytes as usize, headers: max_headers };
        let gate = Self {
            inner,
            activity,
            limits,
            state: State::Head(Head::default()),
            held: BytesMut::new(),
            ready: Bytes::new(),
            passed: 0,
            may_switch: false,
            instead: Bytes::new(),
            linger: None,
            alive,
        };
        (gate, ended)
    }

    /// Looks at what has come; says how much of it may pass. The rest is to be held.
    fn look(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.state {
                State::Head(head) => match head.scan(&bytes[at..], self.limits) {
                    Scanned::Part => return at,
                    Scanned::Whole { length, framing, may_switch } => {
                        at += length;
                        self.passed += 1;
                        self.may_switch = may_switch;
                        self.state = match framing {
                            Framing::Length(0) => self.after_message(),
                            Framing::Length(length) => State::Body(length),
                            Framing::Chunks => State::Chunks(Chunks::default()),
                        };
                    }
                    Scanned::Bad(refused) => {
                        self.activity.refuse(self.passed, refused);
                        self.state = State::Refused;
                    }
                },
                State::Body(left) => {
                    let here = (bytes.len() - at) as u64;
                    if here < *left {
                        *left -= here;
                        return bytes.len();
                    }
                    // It fits: it is not longer than what is here.
                    at += *left as usize;
                    self.state = self.after_message();
                }
                State::Chunks(chunks) => match chunks.advance(&bytes[at..]) {
                    Ok((taken, is_end)) => {
                        at += taken;
                        if is_end {
                            self.state = self.after_message();
                        }
                    }
                    Err(refused) => {
                        self.activity.break_body(refused);
                        self.state = State::Broken;
                    }
                },
                State::Tunnel => return bytes.len(),
                State::Deciding | State::Refused | State::Broken => return at,
            }
        }
        at
    }

    fn after_message(&self) -> State {
        if self.may_switch { State::Deciding } else { State::Head(Head::default()) }
    }

    /// Looks at what is held; what may pass becomes ready.
    fn look_at_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        let passes = self.look(&held);
        self.held = held;
        let mut passing = self.held.split_to(passes);
        if self.is_shut() {
            self.held.clear();
            self.stand_in(&mut passing);
        }
        self.ready = passing.freeze();
    }

    /// Whether nothing of what follows is of any use.
    const fn is_shut(&self) -> bool {
        matches!(self.state, State::Refused | State::Broken)
    }

    fn stand_in(&mut self, passing: &mut BytesMut) {
        if matches!(self.state, State::Refused) {
            self.passed += 1;
            passing.extend_from_slice(STAND_IN);
        }
    }

    /// Waits until it is known whether the present request switches protocols.
    fn poll_decision(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.activity.poll_decision(self.passed, cx)) {
            Decision::Switches => {
                self.state = State::Tunnel;
                self.ready = self.held.split().freeze();
            }
            Decision::Stays => {
                self.state = State::Head(Head::default());
                self.look_at_held();
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> Gate<T> {
    /// Reads into `buf` and holds back what may not pass; `true` at the end of the stream.
    fn poll_pass(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_pending() && !matches!(self.state, State::Head(_)) {
            self.activity.note_waiting();
        }
        ready!(polled)?;
        let read = buf.filled().len() - before;
        if read == 0 {
            return Poll::Ready(Ok(true));
        }
        self.activity.note_bytes(read);
        let passes = self.look(&buf.filled()[before..]);
        if passes < read {
            if self.is_shut() {
                let mut passing = BytesMut::new();
                self.stand_in(&mut passing);
                self.ready = passing.freeze();
            } else {
                self.held.extend_from_slice(&buf.filled()[before + passes..]);
            }
            buf.set_filled(before + passes);
        }
        Poll::Ready(Ok(false))
    }

    /// Reads behind what is held; `true` at the end of the stream.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; 4_096];
        let mut more = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut more))?;
        if more.filled().is_empty() {
            return Poll::Ready(Ok(true));
        }
        self.activity.note_bytes(more.filled().len());
        self.held.extend_from_slice(more.filled());
        Poll::Ready(Ok(false))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gate<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                let take = this.ready.len().min(buf.remaining());
                buf.put_slice(&this.ready[..take]);
                this.ready.advance(take);
                return Poll::Ready(Ok(()));
            }
            match this.state {
                State::Tunnel => {
                    if this.alive.poll_closed(cx).is_ready() {
                        // The server cuts what outlasts its drain.
                        return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                    }
                    return Pin::new(&mut this.inner).poll_read(cx, buf);
                }
                State::Refused => return Poll::Pending,
                State::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                State::Deciding => {
                    if this.poll_decision(cx).is_ready() {
                        continue;
                    }
                    // Read on, if only to see the peer leave, up to what a peer has any reason to
                    // send before it knows what it speaks.
                    if this.held.len() >= MAX_EARLY {
                        return Poll::Pending;
                    }
                    if ready!(this.poll_hold(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                    continue;
                }
                State::Head(_) | State::Body(_) | State::Chunks(_) => {}
            }
            if this.held.is_empty() {
                let before = buf.filled().len();
                if ready!(this.poll_pass(cx, buf))? || buf.filled().len() > before {
                    return Poll::Ready(Ok(()));
                }
            } else {
                if ready!(this.poll_hold(cx))? {
                    return Poll::Ready(Ok(()));
                }
                this.look_at_held();
            }
        }
    }
}

/// Bytes that may come between a request for another protocol and its answer.
const MAX_EARLY: usize = 16 * 1_024;

impl<T: AsyncWrite + Unpin> Gate<T> {
    /// Writes what stands in the place of hyper's own answer, which is `length` bytes long.
    fn poll_instead(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        while !self.instead.is_empty() {
            let wrote = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.instead))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(wrote);
        }
        Poll::Ready(Ok(length))
    }

    /// Whether `buf` is hyper's own refusal of a head, which lacks a reason.
    fn is_refusal_of_hyper(&mut self, buf: &[u8]) -> bool {
        if !self.instead.is_empty() {
            return true;
        }
        // A head that was let through and reached no service.
        if self.activity.begun() >= self.passed || !buf.starts_with(b"HTTP/1.1 4") {
            return false;
        }
        let Some(line) = buf.windows(2).position(|pair| pair == b"\r\n") else { return false };
        if !buf[line..].starts_with(b"\r\nconnection: close\r\ncontent-length: 0\r\ndate: ") {
            return false;
        }
        let mut answer = BytesMut::with_capacity(buf.len() + REASON.len());
        answer.extend_from_slice(&buf[..line + 2]);
        answer.extend_from_slice(REASON);
        answer.extend_from_slice(&buf[line + 2..]);
        self.instead = answer.freeze();
        self.activity.linger();
        true
    }

    fn note_write(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Pending => self.activity.note_waiting(),
            Poll::Ready(Ok(wrote)) => self.activity.note_moved(*wrote),
            Poll::Ready(Err(_)) => {}
        }
    }
}

const REASON: &[u8] = b"x-outrigger-reason: bad_request\r\n";

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_refusal_of_hyper(buf) {
            return self.poll_instead(cx, buf.len());
        }
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note_write(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.activity.lingers() {
            return Pin::new(&mut this.inner).poll_shutdown(cx);
        }
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        let linger = this.linger.get_or_insert_with(|| Linger {
            left: MAX_THROWN_AWAY,
            patience: Box::pin(sleep(LINGER)),
        });
        // Closed with bytes unread, the kernel answers with a reset, which may overtake the answer.
        let mut space = [0; 4_096];
        loop {
            if linger.left == 0 || linger.patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut more = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut this.inner).poll_read(cx, &mut more)) {
                Ok(()) if more.filled().is_empty() => return Poll::Ready(Ok(())),
                Ok(()) => linger.left = linger.left.saturating_sub(more.filled().len()),
                Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(first) = bufs.first()
            && self.is_refusal_of_hyper(first)
        {
            return self.poll_instead(cx, first.len());
        }
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.note_write(&polled);
        polled
    }
}

/// How long a refused peer may go on talking, and how much.
const LINGER: Duration = Duration::from_secs(1);
const MAX_THROWN_AWAY: usize = 1_048_576;
