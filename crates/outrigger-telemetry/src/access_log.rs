//! Requests that were served, as lines of JSON.

mod line;
mod writer;

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use outrigger_core::{Event, Observe};
use tokio::sync::oneshot;

use crate::Telemetry;
use line::Line;

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessLogTo {
    /// Standard error.
    #[default]
    Stderr,
    /// The end of a file, which is made if it is not there.
    File(PathBuf),
    /// Nowhere: nothing is logged, whatever a policy says.
    Nowhere,
}

impl FromStr for AccessLogTo {
    type Err = Infallible;

    /// Reads `stderr`, `none`, or a path.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "stderr" => Self::Stderr,
            "none" => Self::Nowhere,
            path => Self::File(path.into()),
        })
    }
}

impl fmt::Display for AccessLogTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
            Self::Nowhere => f.write_str("none"),
        }
    }
}

/// Why there is no access log.
#[derive(Debug, thiserror::Error)]
#[error("the access log {} cannot be written; allowed is stderr, or a file in a directory that is there", path.display())]
#[non_exhaustive]
pub struct AccessLogError {
    /// Which file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: std::io::Error,
}

/// The access log: writes each [`Event::Served`] that it is told of as one line of JSON.
///
/// Shape of a line: `time` (of its end, UTC), `service`, `route`, `method`, `path` (in its normal
/// form where it has one, at most 2 KiB, never the query), `status`, `reason`, `endpoint`,
/// `attempts`, `ms`, `bytes`, `caller`, `trace_id`, `policy_version`, and for gRPC `grpc_status`;
/// what is not known is `null`. No header's value and no body is ever in it. Which requests are
/// told is decided by whoever tells.
///
/// A file is followed by its name: renamed or removed by a rotation, it is made anew for the next
/// lines. There is no signal to send.
///
/// Cost: a line that is told is put into a queue of 4,096, and written by a thread of its own that
/// is started for the first one; what finds no room is counted as dropped.
#[derive(Clone)]
pub struct AccessLog(Arc<Inner>);

struct Inner {
    to: AccessLogTo,
    telemetry: Telemetry,
    queue: OnceLock<Option<SyncSender<Message>>>,
}

/// What the writer is sent.
enum Message {
    Line(Box<Line>),
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
}

/// Lines that wait at most.
const QUEUE: usize = 4_096;

impl AccessLog {
    /// A log that counts with `telemetry` what becomes of its lines. Blocks for as long as it takes
    /// to open a file.
    ///
    /// # Errors
    /// [`AccessLogError`], for a file that cannot be opened.
    pub fn open(to: AccessLogTo, telemetry: &Telemetry) -> Result<Self, AccessLogError> {
        if let AccessLogTo::File(path) = &to {
            // Whoever named it hears at once that it cannot be.
            writer::open(path).map_err(|source| AccessLogError { path: path.clone(), source })?;
        }
        let telemetry = telemetry.clone();
        Ok(Self(Arc::new(Inner { to, telemetry, queue: OnceLock::new() })))
    }

    /// Where it goes.
    #[must_use]
    pub fn to(&self) -> &AccessLogTo {
        &self.0.to
    }

    /// Comes back when what was told so far is written, or `limit` has passed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the writing under way.
    pub async fn flush(&self, limit: Duration) {
        let Some(Some(queue)) = self.0.queue.get() else { return };
        let queue = queue.clone();
        let (tell, told) = oneshot::channel();
        let flushed = async {
            // A full queue is waited for, elsewhere.
            let sent = tokio::task::spawn_blocking(move || queue.send(Message::Flush(tell)));
            if matches!(sent.await, Ok(Ok(()))) {
                // An error means that the writer is gone, and everything with it.
                let _ = told.await;
            }
        };
        // Out of time: the writer goes on.
        let _ = tokio::time::timeout(limit, flushed).await;
    }

    fn queue(&self) -> Option<&SyncSender<Message>> {
        let start = || {
            let (queue, messages) = sync_channel(QUEUE);
            let (to, metrics) = (self.0.to.clone(), Arc::clone(self.0.telemetry.metrics()));
            let named = std::thread::Builder::new().name("outrigger-access-log".to_owned());
            match named.spawn(move || writer::run(&to, &messages, &metrics)) {
                Ok(_) => Some(queue),
                Err(error) => {
                    tracing::warn!(%error, "no thread for the access log");
                    None
                }
            }
        };
        self.0.queue.get_or_init(start).as_ref()
    }
}

impl Observe for AccessLog {
    fn observe(&self, event: &Event<'_>) {
        if !matches!(event, Event::Served { .. }) || self.0.to == AccessLogTo::Nowhere {
            return;
        }
        let Some(line) = Line::of(event, self.0.telemetry.wall()) else { return };
        let sent = self.queue().map(|queue| queue.try_send(Message::Line(Box::new(line))));
        if !matches!(sent, Some(Ok(()))) {
            self.0.telemetry.metrics().export.line_dropped();
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("to", &self.0.to).finish_non_exhaustive()
    }
}
