//! Server-sent events: one reader of the ring.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{Batch, Events};

/// A silent stream says so much every so often, for whoever stands between to keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a reader may take nothing before it is dropped.
const STALL: Duration = Duration::from_secs(10);
/// Entries in one piece.
const PIECE: usize = 64;

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position(u64);

impl Position {
    /// The place that a `Last-Event-ID` names; the oldest entry that is kept where it names none,
    /// or one of a process before.
    pub(crate) fn after(events: &Events, last: Option<&str>) -> Self {
        let number = last.and_then(|last| {
            let (boot, number) = last.trim().split_once('-')?;
            let number: u64 = number.parse().ok()?;
            let is_ours = u64::from_str_radix(boot, 16).ok() == Some(events.boot);
            (is_ours && number <= *events.newest.borrow()).then_some(number)
        });
        // From the beginning: what was forgotten before anybody looked is no gap.
        Self(number.unwrap_or_else(|| events.lock().oldest() - 1))
    }
}

/// Sends what comes after `position` until nobody reads any more, the reader falls behind, or the
/// surface ends.
pub(crate) async fn stream(
    events: Arc<Events>,
    Position(mut last): Position,
    to: mpsc::Sender<Bytes>,
    mut ending: watch::Receiver<bool>,
) {
    let mut newest = events.newest.subscribe();
    // At once, so that a client knows that it is connected before anything happens.
    let mut text = "retry: 2000\n\n".to_owned();
    let mut is_first = true;
    loop {
        newest.borrow_and_update();
        let batch = events.after(last, PIECE);
        if batch.lost > 0 && !is_first {
            // It will come again, with the number that it had last.
            let _ = write!(
                text,
                "event: dropped\ndata: {{\"lost\":{},\"reason\":\"too slow\"}}\n\n",
                batch.lost
            );
            let _ = timeout(STALL, to.send(text.into())).await;
            return;
        }
        if batch.lost > 0 {
            let _ = write!(text, "event: gap\ndata: {{\"lost\":{}}}\n\n", batch.lost);
        }
        is_first = false;
        if let Some(entry) = batch.entries.last() {
            last = entry.seq;
        }
        write_entries(&mut text, events.boot, &batch);
        if !text.is_empty() {
            let piece = Bytes::from(std::mem::take(&mut text));
            // Nobody there, or nobody who reads.
            if !matches!(timeout(STALL, to.send(piece)).await, Ok(Ok(()))) {
                return;
            }
        }
        if !batch.entries.is_empty() {
            continue;
        }
        tokio::select! {
            // The ring is held by us, so the sender is there.
            _ = newest.changed() => {}
            () = tokio::time::sleep(KEEP_ALIVE) => text.push_str(":\n\n"),
            () = to.closed() => return,
            _ = ending.wait_for(|ending| *ending) => return,
        }
    }
}

fn write_entries(text: &mut String, boot: u64, batch: &Batch) {
    for entry in &batch.entries {
        let Ok(data) = serde_json::to_string(&**entry) else { continue };
        // JSON has no line breaks of its own: one line of data.
        let _ = write!(text, "id: {boot:x}-{}\ndata: {data}\n\n", entry.seq);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::MAX_EVENTS;

    fn ring(count: usize) -> Arc<Events> {
        let events = Events::new(SystemTime::UNIX_EPOCH + Duration::from_millis(0xab));
        fill(&events, count);
        events
    }

    fn fill(events: &Events, count: usize) {
        for _ in 0..count {
            events.note(SystemTime::UNIX_EPOCH, "test", "line\nbreak");
        }
    }

    struct Reader {
        pieces: mpsc::Receiver<Bytes>,
        task: tokio::task::JoinHandle<()>,
        _ending: watch::Sender<bool>,
    }

    fn read(events: &Arc<Events>, last: Option<&str>) -> Reader {
        let (to, pieces) = mpsc::channel(1);
        let (_ending, ending) = watch::channel(false);
        let position = Position::after(events, last);
        let task = tokio::spawn(stream(Arc::clone(events), position, to, ending));
        Reader { pieces, task, _ending }
    }

    impl Reader {
        async fn piece(&mut self) -> String {
            let piece = self.pieces.recv().await.expect("the stream goes on");
            String::from_utf8(piece.to_vec()).expect("text")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_gets_what_is_kept_and_then_what_comes() {
        let events = ring(2);
        let mut reader = read(&events, None);
        let first = reader.piece().await;
        assert!(first.starts_with("retry: 2000\n\nid: ab-1\ndata: {\"seq\":1,"), "{first}");
        assert!(first.contains("\n\nid: ab-2\n") && first.contains("line\\nbreak"), "{first}");
        fill(&events, 1);
        assert!(reader.piece().await.starts_with("id: ab-3\n"));
        assert_eq!(reader.piece().await, ":\n\n", "a silent stream is kept open");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_id_resumes_and_one_of_a_process_before_does_not() {
        let events = ring(3);
        let next = |last| {
            let events = Arc::clone(&events);
            async move { read(&events, last).piece().await }
        };
        assert!(next(Some("ab-2")).await.contains("id: ab-3\n"));
        assert!(!next(Some("ab-2")).await.contains("id: ab-2\n"));
        for other in ["aa-2", "2", "", "ab-4", "ab-x", "ab-99999999999999999999"] {
            assert!(next(Some(other)).await.contains("id: ab-1\n"), "{other:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_forgotten_between_two_visits_is_told() {
        let events = ring(3);
        fill(&events, MAX_EVENTS + 4);
        let piece = read(&events, Some("ab-3")).piece().await;
        assert!(piece.contains("event: gap\ndata: {\"lost\":4}\n\nid: ab-8\n"), "{piece:.300}");
        let piece = read(&events, None).piece().await;
        assert!(!piece.contains("gap"), "nobody looked before: {piece:.200}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_falls_behind_is_dropped_with_a_note() {
        let events = ring(1);
        let mut reader = read(&events, None);
        tokio::task::yield_now().await;
        // It takes nothing while the ring turns over more than once.
        for _ in 0..3 {
            fill(&events, MAX_EVENTS);
            tokio::task::yield_now().await;
        }
        let mut said = String::new();
        while let Some(piece) = reader.pieces.recv().await {
            said.push_str(std::str::from_utf8(&piece).expect("text"));
        }
        assert!(said.contains("event: dropped\ndata: {\"lost\":"), "{}", &said[said.len() - 200..]);
        assert!(said.len() < 3 * PIECE * 200, "it was not given the rest: {}", said.len());
        reader.task.await.expect("it ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_given_up() {
        let events = ring(200);
        let Reader { mut task, pieces: _unread, _ending } = read(&events, None);
        let second = Duration::from_secs(1);
        timeout(STALL - second, &mut task).await.expect_err("it has time");
        timeout(2 * second, task).await.expect("the time is over").expect("it ends");
    }
}
