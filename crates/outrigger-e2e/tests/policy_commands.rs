//! `outrigger policy push` and its neighbours against the real Consul, oldest and newest.

use std::fs;
use std::process::{Child, Command, Stdio};

use outrigger_e2e::consul::{RealConsul, Version};
use outrigger_e2e::process::{forget, outrigger};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How a command ended, and what it printed on both streams.
#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Answer {
    fn of(child: Child) -> Self {
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    fn says(self, word: &str) -> Self {
        assert!(self.out.contains(word) || self.err.contains(word), "{word:?} in {self:#?}");
        self
    }
}

/// An owner with a folder, at a registry.
struct Owner {
    url: String,
    token: Option<String>,
    folder: TempDir,
}

impl Owner {
    fn at(consul: &RealConsul, token: Option<String>) -> Self {
        Self { url: consul.url(), token, folder: TempDir::new().expect("a folder") }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(outrigger());
        forget(&mut command, |name| {
            ["OUTRIGGER_", "CONSUL_"].iter().any(|own| name.starts_with(own))
        });
        command.arg("policy").args(arguments).current_dir(self.folder.path());
        command.env("CONSUL_HTTP_ADDR", &self.url).env("OUTRIGGER_BY", "ann@laptop");
        command.envs(self.token.as_ref().map(|token| ("CONSUL_HTTP_TOKEN", token)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("it starts")
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(self.start(arguments))
    }

    /// Writes a policy with this timeout.
    fn write(&self, name: &str, timeout: u32) -> String {
        let text = format!("# {timeout}\nversion: 1\nservice: inventory\ntimeout: {timeout}s\n");
        fs::write(self.folder.path().join(name), &text).expect("writes");
        text
    }

    fn history(&self) -> Vec<Value> {
        let answer = self.run(&["history", "--json", "inventory"]).ends_with(0);
        serde_json::from_str(&answer.out).expect("an array")
    }

    /// The version in force.
    fn version(&self) -> String {
        let rows = self.history();
        let row = rows.iter().find(|row| row["in_force"] == true);
        row.and_then(|row| row["version"].as_str()).expect("a version").to_owned()
    }
}

fn owner_does_everything(version: Version) {
    let Some(builder) = RealConsul::builder(version) else { return };
    let consul = builder.start().expect("the agent starts");
    let owner = Owner::at(&consul, None);

    for timeout in 1..=12 {
        let text = owner.write("inventory.yaml", timeout);
        owner.run(&["push", "inventory.yaml"]).ends_with(0).says("is in force");
        let raw = consul.ask("GET", "/v1/kv/outrigger/policy/inventory?raw", b"").expect("answers");
        assert_eq!(raw.text(), text, "the text as written is below the key that readers watch");
    }
    let rows = owner.history();
    let numbers: Vec<_> = rows.iter().map(|row| &row["number"]).collect();
    assert_eq!(
        numbers,
        (3..=12).rev().map(|n| json!(n)).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    let keys = consul.ask("GET", "/v1/kv/outrigger/history/inventory/?keys", b"").expect("answers");
    assert_eq!(keys.json().and_then(|keys| keys.as_array().map(Vec::len)), Some(10), "{keys:?}");
    owner.run(&["push", "inventory.yaml"]).ends_with(0).says("nothing was written");

    let base = owner.version();
    let racers = [20, 21].map(|timeout| {
        let name = format!("{timeout}.yaml");
        owner.write(&name, timeout);
        owner.start(&["push", "--by", &format!("{timeout}@race"), "--base", &base, &name])
    });
    let mut codes = racers.map(|child| Answer::of(child).code);
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(1)], "one wins, the other is told");
    owner.write("late.yaml", 30);
    let late = owner.run(&["push", "--base", &base, "late.yaml"]).ends_with(1).says("@race");
    assert!(late.err.contains("is stale") && late.err.contains(&owner.version()), "{late:#?}");

    owner.run(&["push", "--remove", "inventory"]).ends_with(0).says("removed");
    let raw = consul.ask("GET", "/v1/kv/outrigger/policy/inventory?raw", b"").expect("answers");
    assert!(raw.text().contains("removed: true"), "a tombstone, no missing key: {raw:?}");
    owner.run(&["pull", "inventory"]).ends_with(1).says("was removed (ann@laptop");
    owner.run(&["rollback", "inventory"]).ends_with(0).says("there was none before");
    let pulled = owner.run(&["pull", "inventory"]).ends_with(0);
    assert!(pulled.out.contains("timeout: 2"), "a racer's: {pulled:#?}");
    owner.run(&["rollback", "inventory", &base]).ends_with(0);
    assert_eq!(owner.version(), base);
}

#[test]
fn an_owner_does_everything_at_the_newest_consul() {
    owner_does_everything(Version::New);
}

#[test]
fn an_owner_does_everything_at_the_oldest_consul() {
    owner_does_everything(Version::Old);
}

fn token_with(consul: &RealConsul, name: &str, rules: &str) -> String {
    let policy = json!({ "Name": name, "Rules": rules }).to_string();
    let made = consul.ask("PUT", "/v1/acl/policy", policy.as_bytes()).expect("an answer");
    assert_eq!(made.status, 200, "{made:?}");
    let token = json!({ "Policies": [{ "Name": name }] }).to_string();
    let made = consul.ask("PUT", "/v1/acl/token", token.as_bytes()).expect("an answer");
    let made = made.json().expect("a token");
    made["SecretID"].as_str().expect("a secret").to_owned()
}

#[test]
fn the_documented_rights_are_enough_and_a_missing_one_is_named() {
    let Some(builder) = RealConsul::builder(Version::New) else { return };
    let consul = builder.acl().start().expect("the agent starts");
    let writes = token_with(&consul, "writes", "key_prefix \"outrigger/\" { policy = \"write\" }");
    let reads = token_with(&consul, "reads", "key_prefix \"outrigger/\" { policy = \"read\" }");
    let (writer, reader) = (Owner::at(&consul, Some(writes)), Owner::at(&consul, Some(reads)));
    for timeout in 1..=11 {
        writer.write("inventory.yaml", timeout);
        writer.run(&["push", "inventory.yaml"]).ends_with(0);
    }
    writer.run(&["rollback", "inventory"]).ends_with(0);
    reader.run(&["history", "inventory"]).ends_with(0);
    reader.run(&["pull", "inventory"]).ends_with(0);
    reader.write("inventory.yaml", 99);
    let denied = reader.run(&["push", "inventory.yaml"]).ends_with(3);
    assert!(denied.err.contains("key \"outrigger/") && denied.err.contains("write"), "{denied:#?}");
    let stranger = Owner::at(&consul, None);
    stranger.run(&["pull", "inventory"]).ends_with(3).says("read");
    assert!(!denied.err.contains(reader.token.as_deref().expect("a token")), "no secret is shown");
}

#[test]
fn a_registry_that_hangs_or_is_away_ends_with_3() {
    let Some(builder) = RealConsul::builder(Version::New) else { return };
    let mut consul = builder.start().expect("the agent starts");
    let owner = Owner::at(&consul, None);
    owner.write("inventory.yaml", 1);
    consul.pause();
    owner.run(&["push", "inventory.yaml"]).ends_with(3).says("did not answer");
    consul.resume();
    owner.run(&["push", "inventory.yaml"]).ends_with(0);
    consul.stop();
    owner.run(&["pull", "inventory"]).ends_with(3).says(&owner.url);
}
