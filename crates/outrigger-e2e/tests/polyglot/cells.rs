//! One capability of one language each; every function asserts, and says how it is had.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_e2e::polyglot::{Instance, Service, Way};
use outrigger_e2e::process::{until_some, wait_for};
use outrigger_e2e::raw::{Answer, Ask};

use crate::stage::{FLAKY, Stage};

pub(crate) struct Cells<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) service: &'static Service,
}

impl Cells<'_> {
    fn instances(&self) -> Vec<&Instance> {
        self.stage.fleet.of(self.service.name).collect()
    }

    /// A service with two instances that this one asks.
    fn peer(&self) -> &'static str {
        if self.service.name == "echo" { "inventory" } else { "echo" }
    }

    /// Asks the first instance itself, past the rules of any caller.
    fn ask(&self, path: &str) -> Answer {
        let instances = self.instances();
        let first = instances.first().expect("two instances run");
        Ask::new("GET", path).send(first.address).unwrap_or_else(|error| {
            panic!("{} {path}: {error}\n{}", first.id, self.stage.fleet.logs())
        })
    }

    fn visit(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.stage.fleet.ask(self.service.name, path, headers).expect("the sidecar answers")
    }

    /// Two entries, passing, with the language as a tag and the version as metadata.
    pub(crate) fn registers(&self) -> &'static str {
        let path = format!("/v1/health/service/{}?passing=1", self.service.name);
        let answer = self.stage.consul.ask("GET", &path, b"").expect("consul answers");
        let entries = answer.json().unwrap_or_default();
        let entries: Vec<_> = entries.as_array().into_iter().flatten().collect();
        assert_eq!(entries.len(), 2, "one entry an instance: {entries:#?}");
        for entry in entries {
            let tags = entry["Service"]["Tags"].as_array().into_iter().flatten();
            assert!(tags.clone().any(|tag| *tag == self.service.language), "{entry:#}");
            assert!(entry["Service"]["Meta"]["version"].is_string(), "{entry:#}");
        }
        match self.service.way {
            Way::Library => "library",
            Way::Sidecar => "sidecar",
            Way::Itself => "itself, the sidecar's port",
        }
    }

    /// By its name, from a caller that knows nothing but that.
    pub(crate) fn is_found(&self) -> &'static str {
        let answer = self.visit("/whoami", &[]);
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(answer.json().unwrap_or_default()["service"], self.service.name);
        "yes"
    }

    /// Its own call to a name that no resolver of this machine knows.
    pub(crate) fn calls_by_name(&self) -> &'static str {
        let answer = self.ask(&format!("/ask/{}", self.peer()));
        assert_eq!(answer.status, 200, "{answer}\n{}", self.stage.fleet.logs());
        let told = answer.json().unwrap_or_default();
        let peers: Vec<_> = self.stage.fleet.of(self.peer()).map(|i| i.id.as_str()).collect();
        assert!(
            peers.iter().any(|peer| told["answered_by"] == *peer),
            "{told} is one of {peers:?}"
        );
        match self.service.language {
            "rust" => "library",
            "node" => "`NAME_URL`",
            "java" => "JVM's proxy",
            _ => "`HTTP_PROXY`",
        }
    }

    /// Both of its instances are asked by others, and it asks both of another's.
    pub(crate) fn is_balanced(&self) -> &'static str {
        let served: BTreeSet<_> = (0..40)
            .filter_map(|_| self.visit("/whoami", &[]).header("x-served-by").map(str::to_owned))
            .collect();
        assert_eq!(served.len(), 2, "40 requests reach both: {served:?}");
        let asked: BTreeSet<_> = (0..40)
            .map(|_| self.ask(&format!("/ask/{}", self.peer())).json().unwrap_or_default())
            .filter_map(|told| told["answered_by"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(asked.len(), 2, "40 of its calls reach both: {asked:?}");
        "both ways"
    }

    /// Its inbound rule is three a minute in each instance, for requests with a certain header.
    pub(crate) fn is_limited(&self) -> &'static str {
        let answers: Vec<_> =
            (0..12).map(|_| self.visit("/whoami", &[("x-limited", "yes-please")])).collect();
        let served = answers.iter().filter(|answer| answer.status == 200).count();
        assert!((3..=6).contains(&served), "{served} of 12 are served, of 3 a minute twice");
        for refused in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(refused.status, 429, "{refused}");
            assert_eq!(refused.header("x-outrigger-reason"), Some("rate_limited"));
            assert!(refused.header("retry-after").is_some());
        }
        assert_eq!(self.visit("/whoami", &[]).status, 200, "nobody else is limited");
        "inbound rule"
    }

    /// Its calls to a service that always fails end at an open circuit, which asks nobody.
    pub(crate) fn breaks_circuits(&self) -> &'static str {
        let path = format!("/ask/{FLAKY}");
        let is_open = |answer: &Answer| {
            answer.status == 503 && answer.header("x-outrigger-reason") == Some("circuit_open")
        };
        wait_for("the circuit opens", Duration::from_secs(10), || is_open(&self.ask(&path)));
        let before = self.stage.flaky.asked();
        for _ in 0..10 {
            let answer = self.ask(&path);
            assert!(is_open(&answer), "{answer:?}");
        }
        assert_eq!(self.stage.flaky.asked(), before, "an open circuit asks nobody");
        "circuit of its calls"
    }

    /// A visit, its own call below, and the peer: one chain of spans.
    pub(crate) fn is_traced(&self) -> &'static str {
        let path = format!("/ask/{}", self.peer());
        let chain = self.stage.trace(self.service.name, &path);
        let expected = |spans: &[outrigger_e2e::jaeger::Span]| {
            crate::tracing::is_called_by(spans, self.service.name, "visitors")
                && crate::tracing::is_called_by(spans, self.peer(), self.service.name)
        };
        let spans = until_some(Duration::from_secs(15), || chain().filter(|s| expected(s)));
        let Some(spans) = spans else {
            panic!("no whole chain: {:#?}\n{}", chain(), self.stage.fleet.logs())
        };
        crate::tracing::assert_is_whole(&spans);
        "server and client spans"
    }
}
