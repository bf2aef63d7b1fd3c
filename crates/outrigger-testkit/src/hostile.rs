//! A Consul agent that turns hostile, and well again.

mod answers;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use outrigger_core::ServiceName;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use wire::{Act, Question, answer, ok};

/// One answer that no honest agent gives.
#[derive(Clone)]
pub struct HostileAnswer {
    name: &'static str,
    classes: &'static [&'static str],
    act: Act,
}

impl HostileAnswer {
    /// What is wrong with it, in a few words; different for each.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The words of which Outrigger's own client names one, as the class of its error. Another
    /// client may ignore them.
    #[must_use]
    pub const fn classes(&self) -> &'static [&'static str] {
        self.classes
    }

    /// Every answer, for a watch of this service's health: cut short, endless, too deep, of wrong
    /// types, with addresses and ports that must not be used, redirected, denied, not HTTP at all,
    /// trickled, never.
    ///
    /// Shape: in a fixed order, at least 58; more may come with a new version. Two are longer than
    /// any cap: a client that reads without one does not come back from them.
    #[must_use]
    pub fn all(service: &ServiceName) -> Vec<Self> {
        answers::all(service.as_str())
    }
}

impl fmt::Debug for HostileAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the bytes: some have megabytes.
        f.debug_struct("HostileAnswer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A Consul agent on loopback that answers a service's watch well, then with one
/// [`HostileAnswer`], then well again.
///
/// A client that stands this keeps what it knew while the agent is hostile, says what is wrong, and
/// uses the first good answer after it.
///
/// Shape: it knows one service, with instances at 127.0.0.1 on the ports 81 and 82 and, once it is
/// well again, 83. Everything else that is asked gets an empty answer of the right kind. Dropped,
/// it stops.
///
/// ```
/// use outrigger_testkit::{HostileAnswer, HostileConsul};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let service = "stock".parse()?;
/// for answer in HostileAnswer::all(&service) {
///     let agent = HostileConsul::start(&service, answer).await?;
///     // … point a client at `agent.address()` and wait for two instances …
///     agent.turn_hostile();
///     // … its two instances are still there, and its log names the trouble …
///     agent.turn_well();
///     // … it has three …
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HostileConsul {
    address: SocketAddr,
    mood: Arc<AtomicU8>,
    questions: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

const WELL: u8 = 0;
const HOSTILE: u8 = 1;
const WELL_AGAIN: u8 = 2;

impl HostileConsul {
    /// Starts an agent that is well.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn start(service: &ServiceName, answer: HostileAnswer) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (mood, questions) = (Arc::new(AtomicU8::new(WELL)), Arc::new(AtomicU64::new(0)));
        let (now, asked) = (Arc::clone(&mood), Arc::clone(&questions));
        let service = service.as_str().to_owned();
        let script = move |question: &Question| {
            asked.fetch_add(1, Ordering::SeqCst);
            decide(question, now.load(Ordering::SeqCst), &service, &answer.act)
        };
        let task = tokio::spawn(wire::serve(listener, Arc::new(script)));
        Ok(Self { address, mood, questions, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on questions about the service get the hostile answer. A question that waits for a
    /// change is ended within 100 ms, with a plain 500.
    pub fn turn_hostile(&self) {
        self.mood.store(HOSTILE, Ordering::SeqCst);
    }

    /// From now on it answers well, with one instance more.
    pub fn turn_well(&self) {
        self.mood.store(WELL_AGAIN, Ordering::SeqCst);
    }

    /// How many questions came so far.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.questions.load(Ordering::SeqCst)
    }
}

impl Drop for HostileConsul {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn decide(question: &Question, mood: u8, service: &str, hostile: &Act) -> Act {
    let path = question.target.split('?').next().unwrap_or_default();
    if path.starts_with("/v1/status") {
        return Act::Answer(ok(1, "\"127.0.0.1:8300\""));
    }
    if path != format!("/v1/health/service/{service}") {
        return Act::Answer(ok(
            1,
            if path.starts_with("/v1/catalog/service") { "{}" } else { "[]" },
        ));
    }
    let well = |ports: &[u16]| {
        let entries = ports.iter().map(|p| wire::entry(service, "127.0.0.1", &p.to_string()));
        format!("[{}]", entries.collect::<Vec<_>>().join(","))
    };
    let waits = question.index() != 0;
    let ended = || answer("500 Internal", &[], b"the mood changes");
    match mood {
        WELL if !waits => Act::Answer(ok(8, &well(&[81, 82]))),
        // A question that waits ends as soon as the mood changes.
        WELL => Act::Later(Duration::from_millis(100), ended()),
        // In a moment too: what follows is asked without waiting, so with a short deadline.
        HOSTILE if waits => Act::Answer(ended()),
        HOSTILE => hostile.clone(),
        _ => Act::Answer(ok(20, &well(&[81, 82, 83]))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    fn stock() -> ServiceName {
        "stock".parse().expect("a name")
    }

    async fn ask(agent: &HostileConsul) -> String {
        let mut stream = TcpStream::connect(agent.address()).await.expect("it listens");
        let question =
            b"GET /v1/health/service/stock?stale HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(question).await.expect("asked");
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // Answers keep the connection: what came in a moment is all there is.
        let _more = tokio::time::timeout(Duration::from_millis(200), read).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn there_are_as_many_answers_as_are_promised_each_with_a_name_and_a_class() {
        let all = HostileAnswer::all(&stock());
        assert!(all.len() >= 58, "{}", all.len());
        let names: BTreeSet<_> = all.iter().map(HostileAnswer::name).collect();
        assert_eq!(names.len(), all.len(), "each has a name of its own");
        assert!(all.iter().all(|answer| !answer.classes().is_empty()));
    }

    #[tokio::test]
    async fn an_agent_is_well_then_hostile_then_well_with_one_more() {
        let all = HostileAnswer::all(&stock());
        let zero = all.into_iter().find(|answer| answer.name() == "port 0").expect("there");
        let agent = HostileConsul::start(&stock(), zero).await.expect("a port");
        let instances = |text: &str| text.matches("\"Port\":8").count();
        assert_eq!(instances(&ask(&agent).await), 2);
        agent.turn_hostile();
        let answer = ask(&agent).await;
        assert!(answer.contains("\"Port\":0") && instances(&answer) == 0, "{answer}");
        agent.turn_well();
        assert_eq!(instances(&ask(&agent).await), 3);
        assert_eq!(agent.questions(), 3);
    }
}
