//! An agent that answers as it is told, byte for byte.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_consul::{AgentAddress, Consul, ConsulConfig};
use outrigger_core::{Event, Observe, Observers};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// One question as it came.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The method.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// The head, as text.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// When it came.
    pub(crate) at: Instant,
}

impl Question {
    /// A parameter of the query.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query.split('&').find_map(|pair| match pair.split_once('=') {
            Some((key, value)) => (key == name).then_some(value),
            None => (pair == name).then_some(""),
        })
    }

    /// The index it waits on; 0 when it does not wait.
    pub(crate) fn index(&self) -> u64 {
        self.param("index").and_then(|index| index.parse().ok()).unwrap_or(0)
    }

    /// A header of the question.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What is done about a question.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Writes these bytes and keeps the connection.
    Answer(Vec<u8>),
    /// Writes these bytes and closes.
    AnswerAndClose(Vec<u8>),
    /// Writes this head, and then the same piece for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// Writes one byte after each pause.
    Trickle(Vec<u8>, Duration),
    /// Never answers.
    Hang,
    /// Answers after a pause.
    Later(Duration, Vec<u8>),
    /// Closes with a reset.
    Reset,
}

type Script = dyn Fn(&Question) -> Act + Send + Sync;

/// The agent; ends when dropped.
pub(crate) struct Fake {
    /// Where it listens.
    pub(crate) port: u16,
    /// Connections open now, and the most there ever were.
    pub(crate) connections: Arc<(AtomicUsize, AtomicUsize)>,
    questions: Arc<Mutex<Vec<Question>>>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// Starts an agent that follows a script.
    pub(crate) async fn start(script: impl Fn(&Question) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let questions = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let script: Arc<Script> = Arc::new(script);
        let (asked, open) = (Arc::clone(&questions), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let now = open.0.fetch_add(1, Ordering::SeqCst) + 1;
                open.1.fetch_max(now, Ordering::SeqCst);
                let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
                let open = Arc::clone(&open);
                running.spawn(async move {
                    serve(stream, &*script, &asked).await;
                    open.0.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, connections, questions, task }
    }

    /// Everything that was asked so far.
    pub(crate) fn questions(&self) -> Vec<Question> {
        self.questions.lock().expect("not poisoned").clone()
    }

    /// How often a path was asked in a span of time.
    pub(crate) fn asked(&self, path: &str, from: Instant, to: Instant) -> usize {
        let fits = |q: &&Question| q.target.starts_with(path) && q.at >= from && q.at < to;
        self.questions().iter().filter(fits).count()
    }

    /// The configuration of a client of it.
    pub(crate) fn config(&self) -> ConsulConfig {
        let address: AgentAddress = format!("127.0.0.1:{}", self.port).parse().expect("valid");
        ConsulConfig::new(address)
    }

    /// A client of it.
    pub(crate) fn consul(&self) -> Consul {
        Consul::new(self.config()).expect("valid")
    }
}

async fn serve(mut stream: TcpStream, script: &Script, asked: &Mutex<Vec<Question>>) {
    let mut buffer = Vec::new();
    while let Some(question) = read(&mut stream, &mut buffer).await {
        asked.lock().expect("not poisoned").push(question.clone());
        match script(&question) {
            Act::Answer(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Act::AnswerAndClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Act::Endless(head, piece) => {
                let _ = stream.write_all(&head).await;
                while stream.write_all(&piece).await.is_ok() {}
                return;
            }
            Act::Trickle(bytes, pause) => {
                for byte in bytes {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
            }
            Act::Later(pause, bytes) => {
                // A question that is given up is not answered: as the real agent, look at both.
                let mut one = [0];
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stream.read(&mut one) => return,
                }
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Act::Hang => {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                return;
            }
            Act::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a script reads the runtime's clock")]
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Question> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut first = head.lines().next().unwrap_or_default().split(' ');
    let mut question = Question {
        method: first.next().unwrap_or_default().to_owned(),
        target: first.next().unwrap_or_default().to_owned(),
        head: head.clone(),
        body: Vec::new(),
        at: Instant::now(),
    };
    let length = question.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    question.body = buffer[end..end + length].to_vec();
    buffer.drain(..end + length);
    Some(question)
}

/// A whole answer with an index.
pub(crate) fn ok(index: u64, body: &str) -> Vec<u8> {
    answer("200 OK", &[("X-Consul-Index", &index.to_string())], body.as_bytes())
}

/// A whole answer.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut whole = (head + "\r\n").into_bytes();
    whole.extend_from_slice(body);
    whole
}

/// Passing instances on ports of 127.0.0.1.
pub(crate) fn instances(ports: impl IntoIterator<Item = u16>) -> String {
    let entries = ports.into_iter().map(|port| entry("127.0.0.1", &port.to_string()));
    format!("[{}]", entries.collect::<Vec<_>>().join(","))
}

/// One entry of an answer.
pub(crate) fn entry(address: &str, port: &str) -> String {
    format!(
        r#"{{"Node":{{"Node":"n1","Address":"","Datacenter":"dc1"}},"Service":{{"ID":"stock-{port}","Service":"stock","Tags":["rust"],"Address":"{address}","Meta":{{"version":"1.0.0"}},"Port":{port},"Weights":{{"Passing":1,"Warning":1}}}},"Checks":[{{"Status":"passing"}}]}}"#
    )
}

/// Notes what adapters tell about the registry.
#[derive(Debug, Default)]
pub(crate) struct Noted(Mutex<Vec<String>>);

impl Noted {
    /// A note-taker, and observers that tell it.
    pub(crate) fn new() -> (Arc<Self>, Observers) {
        let noted = Arc::new(Self::default());
        let observers = Observers::none().with(Arc::clone(&noted) as Arc<dyn Observe>);
        (noted, observers)
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

impl Observe for Noted {
    fn observe(&self, event: &Event<'_>) {
        let text = match event {
            Event::Registry { connected: true, class } => format!("reached {class}"),
            Event::Registry { connected: false, class } => format!("lost {class}"),
            Event::HoldingEmpty { begins, .. } => format!("holding {begins}"),
            Event::Registration { state, .. } => format!("registration {}", state.as_str()),
            _ => return,
        };
        self.0.lock().expect("not poisoned").push(text);
    }
}
