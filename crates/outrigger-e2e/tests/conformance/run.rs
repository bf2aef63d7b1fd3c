//! Running scripts, and comparing what they heard.
#![expect(clippy::disallowed_methods, reason = "foreign processes run on real time")]
#![expect(clippy::print_stderr, reason = "a failed comparison shows both sides")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use outrigger_e2e::consul::{MANAGEMENT_TOKEN, Version};
use outrigger_e2e::raw::{Answer, Ask};
use serde_json::{Value, json};

use crate::differences;
use crate::mask;
use crate::target::{Kind, Target};

/// How long a condition may take to come true on a real agent.
const PATIENCE: Duration = Duration::from_secs(10);

/// One script.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) script: fn(&mut Run<'_>),
}

/// Cases that share an agent.
pub(crate) struct Group {
    name: &'static str,
    cases: &'static [Case],
    guarded: bool,
}

impl Group {
    pub(crate) const fn open(name: &'static str, cases: &'static [Case]) -> Self {
        Self { name, cases, guarded: false }
    }

    /// With access control.
    pub(crate) const fn guarded(name: &'static str, cases: &'static [Case]) -> Self {
        Self { name, cases, guarded: true }
    }
}

type Transcript = Vec<(String, Value)>;

/// Runs a group on every agent that is asked for, and compares.
pub(crate) fn conforms(group: &Group) {
    let mut targets = vec![Target::dev(group.guarded)];
    targets.extend(
        [Version::New, Version::Old].into_iter().filter_map(|v| Target::real(v, group.guarded)),
    );
    let mut failed = Vec::new();
    for case in group.cases {
        let mut heard: Vec<(Kind, Transcript)> = Vec::new();
        for target in &mut targets {
            let kind = target.kind();
            let mut run = Run { case: case.name, target, transcript: Vec::new(), token: None };
            let done = catch_unwind(AssertUnwindSafe(|| {
                (case.script)(&mut run);
            }));
            let transcript = std::mem::take(&mut run.transcript);
            let emptied = catch_unwind(AssertUnwindSafe(|| run.empty()));
            if done.is_err() || emptied.is_err() {
                failed.push(format!("{} on {kind:?}: an expectation does not hold", case.name));
            }
            heard.push((kind, transcript));
        }
        if let [(_, dev), others @ ..] = heard.as_slice() {
            for (kind, other) in others {
                failed.extend(compare(case.name, dev, *kind, other));
            }
        }
    }
    for line in &failed {
        eprintln!("{line}\n");
    }
    assert!(failed.is_empty(), "{}: {} differences, see above", group.name, failed.len());
}

fn compare(case: &str, dev: &Transcript, kind: Kind, other: &Transcript) -> Vec<String> {
    let mut failed: Vec<_> = differences::steps(case)
        .filter(|step| !dev.iter().any(|(taken, _)| taken == step))
        .map(|step| format!("{case}: takes no step {step:?}, which the table names"))
        .collect();
    for (at, (step, ours)) in dev.iter().enumerate() {
        let Some((_, theirs)) = other.get(at) else {
            failed.push(format!("{case}: step {at} ({step}) was not reached on {kind:?}"));
            break;
        };
        let (ours, theirs) = if kind.is_old() {
            (mask::without_news(ours), mask::without_news(theirs))
        } else {
            (ours.clone(), theirs.clone())
        };
        if kind.is_old() && differences::of(case, step).is_some() {
            if ours == theirs {
                failed.push(format!("{case}: {step} does not differ, but the table says so"));
            }
        } else if ours != theirs {
            let places = mask::differing(&ours, &theirs);
            failed.push(format!("{case}: step {at}: {step}, dev agent and {kind:?}:\n{places}"));
        }
    }
    failed
}

/// A script on its way through one agent.
pub(crate) struct Run<'t> {
    case: &'static str,
    target: &'t mut Target,
    transcript: Transcript,
    token: Option<String>,
}

impl Run<'_> {
    pub(crate) fn target(&mut self) -> &mut Target {
        self.target
    }

    pub(crate) fn kind(&self) -> Kind {
        self.target.kind()
    }

    /// Sends the following requests with another token; `Some("")` with none.
    pub(crate) fn with_token(&mut self, token: Option<&str>) {
        self.token = token.map(str::to_owned);
    }

    pub(crate) fn get(&mut self, path: &str) -> Heard {
        self.send("GET", path, b"")
    }

    pub(crate) fn put(&mut self, path: &str, body: &Value) -> Heard {
        self.send("PUT", path, body.to_string().as_bytes())
    }

    pub(crate) fn put_raw(&mut self, path: &str, body: impl AsRef<[u8]>) -> Heard {
        self.send("PUT", path, body.as_ref())
    }

    pub(crate) fn delete(&mut self, path: &str) -> Heard {
        self.send("DELETE", path, b"")
    }

    /// Sends a request and records the answer.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &[u8]) -> Heard {
        let answer = self.ask(method, path, body);
        self.heard(method, path, answer)
    }

    /// Sends a request of which only the answer's use in the script counts.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.asker().ask(method, path, body)
    }

    /// Repeats a GET until its answer is as wanted, and records that one.
    pub(crate) fn until(&mut self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Heard {
        let answer = self.await_answer(path, wanted);
        self.heard("GET", path, answer)
    }

    /// [`Run::until`] without recording.
    pub(crate) fn await_answer(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        self.repeat("GET", path, b"", wanted)
    }

    /// Repeats a PUT until its answer is as wanted, without recording.
    pub(crate) fn await_put(&self, path: &str, body: &[u8], wanted: impl Fn(&Answer) -> bool) {
        self.repeat("PUT", path, body, wanted);
    }

    fn repeat(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        wanted: impl Fn(&Answer) -> bool,
    ) -> Answer {
        let start = Instant::now();
        loop {
            let answer = self.ask(method, path, body);
            if wanted(&answer) {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "{}: {path} stays {answer}", self.case);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a blocking query, makes a change once it is waiting, and records the answer. Returns it
    /// with the time between the change and the answer.
    pub(crate) fn blocked(
        &mut self,
        path: &str,
        change: impl FnOnce(&mut Self),
    ) -> (Heard, Duration) {
        let asker = self.asker();
        let asked = path.to_owned();
        let waiting = thread::spawn(move || (asker.ask("GET", &asked, b""), Instant::now()));
        thread::sleep(Duration::from_millis(200));
        assert!(!waiting.is_finished(), "{}: {path} did not wait", self.case);
        change(self);
        let changed = Instant::now();
        let (answer, at) = waiting.join().expect("an answer");
        let heard = self.heard("GET", path, answer);
        (heard, at.saturating_duration_since(changed))
    }

    /// Registers instances with the agent and waits until the catalogue has them.
    pub(crate) fn register(&mut self, body: &Value) -> String {
        self.put("/v1/agent/service/register", body).status(200).done();
        let name = body["Name"].as_str().expect("a name").to_owned();
        let id = body["ID"].as_str().unwrap_or(&name).to_owned();
        self.await_answer(&format!("/v1/catalog/service/{name}"), |answer| {
            answer.text().contains(&format!("\"{id}\""))
        });
        id
    }

    fn asker(&self) -> Asker {
        let token = match &self.token {
            Some(token) => token.clone(),
            None if self.target.is_guarded() => MANAGEMENT_TOKEN.to_owned(),
            None => String::new(),
        };
        Asker { address: self.target.address(), token }
    }

    fn heard(&mut self, method: &str, path: &str, answer: Answer) -> Heard {
        let mut step = format!("{method} {}", step_name(path));
        let same = |(name, _): &&(String, Value)| name.split(" #").next() == Some(step.as_str());
        let before = self.transcript.iter().filter(same).count();
        if before > 0 {
            step = format!("{step} #{}", before + 1);
        }
        self.transcript.push((step.clone(), mask::record(&answer, path)));
        let difference = self.kind().is_old().then(|| differences::of(self.case, &step)).flatten();
        let step = format!("{}: {step}", self.case);
        Heard { step, answer, is_old: self.kind().is_old(), difference }
    }

    /// Empties the agent's memory through its API, so that the next case starts clean.
    fn empty(&mut self) {
        self.token = None;
        self.ask("PUT", "/v1/agent/maintenance?enable=false", b"");
        for (list, remove) in [
            ("/v1/agent/services", "/v1/agent/service/deregister/"),
            ("/v1/agent/checks", "/v1/agent/check/deregister/"),
        ] {
            let all = self.ask("GET", list, b"").json().unwrap_or_default();
            for id in all.as_object().into_iter().flat_map(|map| map.keys()) {
                self.ask("PUT", &format!("{remove}{}", encode(id)), b"");
            }
        }
        self.ask("DELETE", "/v1/kv/?recurse", b"");
        let sessions = self.ask("GET", "/v1/session/list", b"").json().unwrap_or_default();
        for session in sessions.as_array().into_iter().flatten() {
            let id = session["ID"].as_str().unwrap_or_default();
            self.ask("PUT", &format!("/v1/session/destroy/{id}"), b"");
        }
        let nodes = self.ask("GET", "/v1/catalog/nodes", b"").json().unwrap_or_default();
        for node in nodes.as_array().into_iter().flatten().filter(|n| n["Node"] != "node-1") {
            let body = json!({ "Node": node["Node"] }).to_string();
            self.ask("PUT", "/v1/catalog/deregister", body.as_bytes());
        }
        self.await_answer("/v1/catalog/services", |answer| {
            answer.json().is_some_and(|v| v.as_object().is_some_and(|map| map.len() == 1))
        });
        self.await_answer("/v1/health/state/any", |answer| {
            answer.json().is_some_and(|v| v.as_array().is_some_and(|all| all.len() == 1))
        });
    }
}

struct Asker {
    address: std::net::SocketAddr,
    token: String,
}

impl Asker {
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let headers = [("X-Consul-Token", self.token.as_str())];
        let headers: &[_] = if self.token.is_empty() { &[] } else { &headers };
        let ask = Ask { headers, body, timeout: Duration::from_secs(30), ..Ask::new(method, path) };
        ask.send(self.address).unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }
}

/// A step's name in transcripts: indexes, ids and long names would only blur it.
fn step_name(path: &str) -> String {
    let path = mask::text(path);
    let mut parts = path.splitn(2, "index=");
    let head = parts.next().unwrap_or_default();
    match parts.next() {
        Some(tail) => {
            format!("{head}index=#{}", tail.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => head.to_owned(),
    }
}

/// Percent-encodes a path segment.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' => {
                char::from(b).to_string()
            }
            b => format!("%{b:02X}"),
        })
        .collect()
}

/// An answer in the hands of its script. Expectations are those of the newest version; for the oldest
/// the table of differences says what else is right.
#[must_use]
pub(crate) struct Heard {
    step: String,
    pub(crate) answer: Answer,
    is_old: bool,
    difference: Option<&'static differences::Difference>,
}

impl Heard {
    #[track_caller]
    pub(crate) fn status(self, wanted: u16) -> Self {
        let wanted = self.difference.map_or(wanted, |difference| difference.status);
        assert_eq!(self.answer.status, wanted, "{}: {}", self.step, self.answer);
        if let Some(difference) = self.difference {
            assert!(
                self.answer.text().contains(difference.text),
                "{}: {} does not say {:?}",
                self.step,
                self.answer,
                difference.text
            );
        }
        self
    }

    /// The status and the whole body as text.
    #[track_caller]
    pub(crate) fn says(self, status: u16, text: &str) {
        let heard = self.status(status);
        if heard.difference.is_some() {
            return;
        }
        let said = heard.answer.text();
        if heard.is_old {
            assert_eq!(mask::old_text(&said), mask::old_text(text), "{}", heard.step);
        } else {
            assert_eq!(said.trim_end(), text, "{}", heard.step);
        }
    }

    /// 200 and this value at a JSON pointer.
    #[track_caller]
    pub(crate) fn has(self, pointer: &str, wanted: impl Into<Value>) -> Self {
        if self.difference.is_some() {
            return self.status(200);
        }
        let found = self.json().pointer(pointer).cloned();
        assert_eq!(found, Some(wanted.into()), "{} at {pointer}: {}", self.step, self.answer);
        self
    }

    /// 200 and this whole value.
    #[track_caller]
    pub(crate) fn is(self, wanted: impl Into<Value>) -> Self {
        self.has("", wanted)
    }

    #[track_caller]
    pub(crate) fn counts(self, wanted: usize) -> Self {
        if self.difference.is_some() {
            return self.status(200);
        }
        let json = self.json();
        let found = json.as_array().map(Vec::len).or_else(|| json.as_object().map(|o| o.len()));
        assert_eq!(found, Some(wanted), "{}: {}", self.step, self.answer);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        self.answer.json().unwrap_or_else(|| panic!("{}: no JSON: {}", self.step, self.answer))
    }

    #[track_caller]
    pub(crate) fn index(&self) -> u64 {
        self.answer.index().unwrap_or_else(|| panic!("{}: no index", self.step))
    }

    #[track_caller]
    pub(crate) fn text_at(&self, pointer: &str) -> String {
        let json = self.json();
        let found = json.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("{} at {pointer}: {}", self.step, self.answer)).to_owned()
    }

    pub(crate) fn done(self) {}
}
