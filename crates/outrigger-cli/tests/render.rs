//! `outrigger render`, as it is typed: the program itself, beside the development agent.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use outrigger::consul::{Consul, ConsulConfig};
use outrigger::core::Language;
use outrigger::discovery::{Registrar, Registration};
use outrigger_dev::Agent;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Answer {
    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    fn says(self, word: &str) -> Self {
        assert!(self.err.contains(word), "{word:?} in {self:#?}");
        self
    }
}

/// The program in a folder, with nothing of the surroundings in its environment.
fn run(folder: &Path, words: &str) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("OUTRIGGER_") || text.starts_with("CONSUL_") {
            command.env_remove(&name);
        }
    }
    command.args(words.split_whitespace()).current_dir(folder).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Answer { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A folder with these policies.
fn folder(policies: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (name, text) in policies {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

const SHORT: &str = "version: 1\nservice: inventory\ntimeout: 3s\nidle_timeout: none\n";
const OTHER: &str = "version: 1\nservice: pricing\ntimeout: 2s\n";

#[test]
fn what_was_rendered_is_checked_and_what_is_left_over_is_named() {
    let folder = folder(&[("a.yaml", SHORT), ("b.yaml", OTHER)]);
    let at = folder.path();
    let first = run(at, "render --target istio --out x/y a.yaml b.yaml").ends_with(0);
    assert_eq!(first.out.lines().count(), 4, "{first:#?}");
    let again = run(at, "render --target istio --out x/y a.yaml b.yaml").ends_with(0);
    assert_eq!(again.out, "", "what is there already is not written");
    run(at, "render --target istio --out x/y --check a.yaml b.yaml").ends_with(0);

    let less = run(at, "render --target istio --out x/y a.yaml").ends_with(0);
    let less = less.says("x/y/pricing.virtualservice.yaml: it is not rendered any more");
    assert_eq!(less.out, "");
    assert!(at.join("x/y/pricing.virtualservice.yaml").exists(), "named and left");
    let check = run(at, "render --target istio --out x/y --check a.yaml").ends_with(1);
    assert_eq!(check.out, "x/y/pricing.destinationrule.yaml\nx/y/pricing.virtualservice.yaml\n");

    fs::write(at.join("x/y/inventory.virtualservice.yaml"), "spec: {}\n").expect("written");
    let check = run(at, "render --target istio --out x/y --check a.yaml b.yaml").ends_with(1);
    assert_eq!(check.out, "x/y/inventory.virtualservice.yaml\n", "what was changed by hand");
    fs::write(at.join("x/y/mine.yaml"), "kind: Service\n").expect("written");
    let mended = run(at, "render --target istio --out x/y a.yaml b.yaml").ends_with(0);
    assert_eq!(mended.out, "x/y/inventory.virtualservice.yaml\n");
    assert!(!mended.err.contains("mine.yaml"), "what is not ours is no business of ours");
}

#[test]
fn strict_tells_the_place_of_what_would_not_be_exact_and_writes_nothing() {
    let text = "version: 1\nservice: inventory\neject: { max_time: 60s }\n";
    let folder = folder(&[("a.yaml", text), ("exact.yaml", SHORT)]);
    let answer = run(folder.path(), "render --target istio --out x --strict a.yaml").ends_with(1);
    let told = "a.yaml:3:20: `eject.max_time` at istio is library-only: Istio leaves it at";
    answer.says(told).says("1 field would not be exact at istio").says("nothing was written");
    assert!(!folder.path().join("x").exists());
    run(folder.path(), "render --target envoy --out x --strict a.yaml").ends_with(0);
    run(folder.path(), "render --target istio --out y --strict exact.yaml").ends_with(0);
}

#[test]
fn what_cannot_be_rendered_is_told_with_what_helps() {
    let subsets = "version: 1\nservice: inventory\nsubsets: { rust: { language: rust } }\nroutes:\n  \
                   - { name: v2, match: { path_prefix: /v2 }, split: [ { subset: rust, weight: 100 } ] }\n";
    let folder = folder(&[
        ("a.yaml", SHORT),
        ("b.yaml", SHORT),
        ("none.yaml", "version: 1\ntimeout: 3s\n"),
        ("subsets.yaml", subsets),
        ("file", ""),
    ]);
    for (words, wanted) in [
        ("--target linkerd --out x a.yaml", "allowed are istio and envoy"),
        ("--target istio --out file a.yaml", "file cannot be written"),
        ("--target istio --out x a.yaml b.yaml", "two policies, a.yaml and b.yaml, are for this"),
        ("--target istio --out x nothing.yaml", "nothing.yaml cannot be read"),
        ("--target istio --out x none.yaml", "its key `service` says whom it is for"),
        ("--target istio --namespace Shop_1 --out x a.yaml", "namespace \"Shop_1\" is not allowed"),
        ("--target envoy --out x subsets.yaml", "--from-consul takes them from the registry"),
    ] {
        run(folder.path(), &format!("render {words}")).ends_with(2).says(wanted);
    }
    assert!(!folder.path().join("x").exists(), "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_come_from_the_registry_and_their_absence_is_told() {
    let agent = Agent::builder().bind((Ipv4Addr::LOCALHOST, 0).into()).await.expect("an agent");
    let url = agent.url();
    let of = |variable: &str| (variable == "CONSUL_HTTP_ADDR").then(|| url.clone());
    let consul = Consul::new(ConsulConfig::from_lookup(of).expect("valid")).expect("a client");
    let registration = Registration::new("inventory".parse().expect("a name"), 4001)
        .with_address(Ipv4Addr::LOCALHOST.into())
        .with_language(Language::Rust);
    let registered = consul.register(registration).await.expect("valid");
    registered.settled().await;

    let folder = folder(&[("a.yaml", SHORT), ("b.yaml", OTHER)]);
    let at: PathBuf = folder.path().to_owned();
    let words = format!("render --target istio --out x --from-consul --consul {url} a.yaml b.yaml");
    let answer = spawn_blocking(move || run(&at, &words)).await.expect("it ends").ends_with(0);
    let answer = answer.says("pricing: the registry shows no instance that is not critical");
    let entries: Vec<&str> =
        answer.out.lines().filter(|name| name.contains("entry.yaml")).collect();
    assert_eq!(entries.len(), 2, "{entries:?}");
    let entry = entries.iter().find(|name| name.contains("workload")).expect("an entry");
    let text = fs::read_to_string(folder.path().join(entry)).expect("a text");
    assert!(text.contains("address: \"127.0.0.1\"") && text.contains("http: 4001"), "{text}");
    assert!(text.contains("language: rust"), "{text}");

    let (at, words) = (folder.path().to_owned(), "render --target istio --out z --from-consul");
    let words = format!("{words} --consul http://127.0.0.1:1 a.yaml");
    let answer = spawn_blocking(move || run(&at, &words)).await.expect("it ends").ends_with(3);
    answer.says("no registry answers");
}
