use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::Waker;

use http::HeaderValue;
use http_body_util::{BodyExt, Empty, Full};

use super::*;

/// Frames one by one, with no length told; `None` stands for a pause.
struct Chunks(VecDeque<Option<Frame<Bytes>>>);

impl Chunks {
    fn of(chunks: &[&'static str]) -> Self {
        Self(chunks.iter().map(|c| Some(Frame::data(Bytes::from_static(c.as_bytes())))).collect())
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop_front() {
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(None) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// Reads so many frames; what is there of their data.
fn read<B: Body<Data = Bytes> + Unpin>(body: &mut ReplayBody<B>, frames: usize) -> String
where
    B::Error: std::fmt::Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut text = String::new();
    for _ in 0..frames {
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(Some(frame)) => {
                let data = frame.expect("it does not break").into_data().unwrap_or_default();
                text.push_str(std::str::from_utf8(&data).expect("text"));
            }
            _ => break,
        }
    }
    text
}

#[test]
fn an_empty_body_is_not_recorded_at_all() {
    let (body, tape) = ReplayBody::record(Empty::<Bytes>::new(), 10);
    assert!(matches!(body.0, Inner::Empty) && matches!(tape, Tape::Empty));
    assert!(body.is_end_stream() && tape.is_replayable() && tape.is_complete());
    assert_eq!(body.size_hint().exact(), Some(0));
}

#[test]
fn what_was_read_is_read_again_and_the_rest_after_it() {
    for read_first in 0..=4 {
        let (mut first, tape) = ReplayBody::record(Chunks::of(&["a", "b", "c"]), 10);
        assert_eq!(read(&mut first, read_first), "abc"[..read_first.min(3)]);
        assert_eq!(tape.is_replayable(), read_first == 4, "the first try still holds the rest");
        drop(first);
        assert!(tape.is_replayable(), "it has let go of it");

        let mut second = tape.replay().expect("replayable");
        assert_eq!(read(&mut second, 2), "ab");
        drop(second);
        let mut third = tape.replay().expect("replayable once more");
        assert_eq!(read(&mut third, 9), "abc", "after {read_first} frames of the first");
        assert!(third.is_end_stream() && tape.is_complete());
    }
}

#[test]
fn a_body_that_outgrows_the_limit_is_sent_once_and_to_its_end() {
    let (mut first, tape) = ReplayBody::record(Chunks::of(&["four", "five", "six"]), 8);
    assert_eq!(read(&mut first, 2), "fourfive", "8 bytes are within it");
    assert_eq!(read(&mut first, 9), "six");
    drop(first);
    assert!(!tape.is_replayable());
    assert!(tape.replay().is_none());
}

#[test]
fn a_body_that_says_that_it_is_larger_is_not_recorded() {
    let (body, tape) = ReplayBody::record(Full::new(Bytes::from_static(b"nine byte")), 8);
    assert!(matches!(body.0, Inner::Once(_)) && !tape.is_replayable());
    assert_eq!(body.size_hint().exact(), Some(9));
    let (body, tape) = ReplayBody::record(Full::new(Bytes::from_static(b"8 bytes!")), 8);
    assert!(matches!(body.0, Inner::Recorded(_)));
    drop(body);
    assert!(tape.is_replayable());
}

#[test]
fn the_length_that_is_told_is_right_at_every_moment() {
    let (mut first, tape) = ReplayBody::record(Full::new(Bytes::from_static(b"body")), 8);
    assert_eq!(first.size_hint().exact(), Some(4));
    assert_eq!(read(&mut first, 1), "body");
    assert_eq!(first.size_hint().exact(), Some(0));
    assert!(first.is_end_stream());
    let mut second = tape.replay().expect("complete");
    assert_eq!(second.size_hint().exact(), Some(4), "an HTTP/1.1 retry has the same length");
    assert!(!second.is_end_stream());
    assert_eq!(read(&mut second, 9), "body");
    assert_eq!(second.size_hint().exact(), Some(0));
}

#[test]
fn trailers_are_sent_again_too() {
    let trailers: HeaderMap =
        [(http::header::ETAG, HeaderValue::from_static("x"))].into_iter().collect();
    let mut chunks = Chunks::of(&["data"]);
    chunks.0.push_back(Some(Frame::trailers(trailers.clone())));
    let (mut first, tape) = ReplayBody::record(chunks, 8);
    read(&mut first, 9);
    drop(first);
    let second = tape.replay().expect("complete");
    let collected = futures_free_collect(second);
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "data");
}

/// Collects what is ready at once.
fn futures_free_collect<B>(body: ReplayBody<B>) -> http_body_util::Collected<Bytes>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut collect = std::pin::pin!(body.collect());
    match std::future::Future::poll(collect.as_mut(), &mut cx) {
        Poll::Ready(collected) => collected.expect("it does not break"),
        Poll::Pending => panic!("all of it is there"),
    }
}

#[test]
fn a_try_that_waits_for_its_body_holds_no_lock() {
    let mut chunks = Chunks::of(&["a"]);
    chunks.0.push_back(None);
    chunks.0.push_back(Some(Frame::data(Bytes::from_static(b"b"))));
    let (mut first, tape) = ReplayBody::record(chunks, 8);
    assert_eq!(read(&mut first, 9), "a", "then it waits");
    assert!(!tape.is_replayable(), "and can be asked meanwhile");
    assert_eq!(read(&mut first, 9), "b");
}

#[test]
fn frames_without_data_take_no_room_and_no_part_in_the_recording() {
    let chunks = ["", "a", "", "", "b", ""];
    let (mut body, tape) = ReplayBody::record(Chunks::of(&chunks), 2);
    assert_eq!(read(&mut body, chunks.len() + 1), "ab");
    drop(body);
    let Tape::Shared(shared) = &tape else { panic!("it was recorded") };
    assert_eq!(lock(shared).frames.len(), 2);
    let mut again = tape.replay().expect("all of it is there");
    assert_eq!(again.size_hint().exact(), Some(2));
    assert_eq!(read(&mut again, 2), "ab");
    assert!(again.is_end_stream());
}
