//! `push`, `pull`, `history` and `rollback`, beside the development agent.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use outrigger_dev::Agent;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{Answer, policy, program};

/// A development agent and a folder.
struct Stage {
    runtime: Runtime,
    agent: Agent,
    url: String,
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self::with(Agent::builder())
    }

    fn with(builder: outrigger_dev::Builder) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let address = "127.0.0.1:0".parse().expect("an address");
        let agent = runtime.block_on(builder.bind(address)).expect("the agent listens");
        let (url, folder) = (agent.url(), TempDir::new().expect("a folder"));
        Self { runtime, agent, url, folder }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("writes");
    }

    /// The command with the agent's URL and a name for whoever writes.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.folder.path(), arguments);
        command.env("OUTRIGGER_CONSUL", &self.url).env("OUTRIGGER_BY", "ann@laptop");
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(self.command(arguments).spawn().expect("it starts"))
    }

    /// Pushes a policy with this timeout, and tells its version.
    fn push(&self, timeout: u32) -> String {
        self.write("inventory.yaml", &policy(timeout));
        self.run(&["push", "inventory.yaml"]).ends_with(0);
        self.version()
    }

    fn history(&self) -> Vec<Value> {
        let answer = self.run(&["history", "--json", "inventory"]).ends_with(0);
        answer.json().as_array().expect("an array").clone()
    }

    /// The version in force.
    fn version(&self) -> String {
        let rows = self.history();
        let in_force: Vec<_> = rows.iter().filter(|row| row["in_force"] == true).collect();
        assert_eq!(in_force.len(), 1, "one is in force: {rows:#?}");
        in_force[0]["version"].as_str().expect("a version").to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.runtime.block_on(self.agent.stop());
    }
}

#[test]
fn a_push_is_pulled_as_it_was_written() {
    let stage = Stage::new();
    let text = policy(5).replace('\n', "\r\n");
    stage.write("inventory.yaml", &text);
    let pushed = stage.run(&["push", "inventory.yaml"]).ends_with(0);
    assert!(pushed.out.starts_with("inventory: "), "{pushed:#?}");
    let pulled = stage.run(&["pull", "inventory"]).ends_with(0).says("ann@laptop");
    assert_eq!(pulled.out, text, "byte for byte");
    let again = stage.run(&["push", "inventory.yaml"]).ends_with(0);
    assert!(again.out.ends_with("is in force already; nothing was written\n"), "{again:#?}");
    assert_eq!(stage.history().len(), 1);
}

#[test]
fn a_push_says_what_changes() {
    let stage = Stage::new();
    stage.push(5);
    stage.write("inventory.yaml", &policy(7));
    let dry =
        stage.run(&["push", "--dry-run", "inventory.yaml"]).ends_with(0).says("would replace");
    assert!(dry.out.contains("5s") && dry.out.contains("7s"), "{dry:#?}");
    assert_eq!(stage.history().len(), 1, "a dry run writes nothing");
    stage.run(&["push", "inventory.yaml"]).ends_with(0).says("it replaces").says("7s");
}

#[test]
fn a_stale_base_is_refused_and_told_who_changed_what() {
    let stage = Stage::new();
    let base = stage.push(5);
    stage.write("bob.yaml", &policy(9));
    let flags = ["push", "--by", "bob@ci", "--base", &base, "bob.yaml"];
    stage.run(&flags).ends_with(0);
    stage.write("ann.yaml", &policy(6));
    let refused = stage.run(&["push", "--base", &base, "ann.yaml"]).ends_with(1);
    for word in ["is stale", "bob@ci", "9s", "nothing was written", &stage.version()] {
        assert!(refused.err.contains(word), "{word} in {refused:#?}");
    }
    assert_eq!(refused.out, "", "nothing was done");
    assert_eq!(stage.run(&["pull", "inventory"]).out, policy(9));
    stage.run(&["push", "--base", "none", "ann.yaml"]).ends_with(1).says("there is a policy");
    let now = stage.version();
    stage.run(&["push", "--base", &now[..4], "ann.yaml"]).ends_with(0);
}

#[test]
fn of_two_pushes_at_once_one_wins_and_the_other_is_told() {
    let stage = Stage::new();
    let base = stage.push(1);
    // Both hold the same base, so that exactly one of them can be right.
    let racers: Vec<_> = (0..6)
        .map(|n| {
            let name = format!("racer{n}.yaml");
            stage.write(&name, &policy(10 + n));
            let by = format!("racer{n}@test");
            let flags = ["push", "--by", &by, "--base", &base, &name];
            stage.command(&flags).spawn().expect("it starts")
        })
        .collect();
    let answers: Vec<_> = racers.into_iter().map(Answer::of).collect();
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.code == Some(0));
    assert_eq!(won.len(), 1, "{answers:#?}");
    let version = stage.version();
    for answer in lost {
        assert_eq!(answer.code, Some(1), "{answer:#?}");
        assert!(answer.err.contains(&version) && answer.err.contains("@test"), "{answer:#?}");
    }
    let rows = stage.history();
    assert_eq!(rows.len(), 2, "losers leave nothing behind: {rows:#?}");
    assert!(rows[0]["by"].as_str().is_some_and(|by| by.ends_with("@test")), "{rows:#?}");
}

#[test]
fn the_last_ten_of_twelve_versions_are_kept() {
    let stage = Stage::new();
    let versions: Vec<_> = (1..=12).map(|timeout| stage.push(timeout)).collect();
    let rows = stage.history();
    let kept: Vec<_> = rows.iter().map(|row| row["version"].as_str().expect("text")).collect();
    let wanted: Vec<_> = versions.iter().rev().take(10).map(String::as_str).collect();
    assert_eq!(kept, wanted, "the newest first");
    assert_eq!((&rows[0]["number"], &rows[9]["number"]), (&json!(12), &json!(3)));
    stage.run(&["rollback", "inventory", &versions[0]]).ends_with(1).says("no version");
    let old = stage.run(&["pull", "inventory", &versions[2]]).ends_with(0);
    assert_eq!(old.out, policy(3));
}

#[test]
fn a_rollback_puts_the_version_before_in_force_or_the_named_one() {
    let stage = Stage::new();
    let versions: Vec<_> = (1..=3).map(|timeout| stage.push(timeout)).collect();
    stage.run(&["rollback", "--dry-run", "inventory"]).ends_with(0).says("would replace");
    assert_eq!(stage.version(), versions[2]);
    stage.run(&["rollback", "inventory"]).ends_with(0).says("it replaces");
    assert_eq!(stage.run(&["pull", "inventory"]).out, policy(2), "as it was written");
    stage.run(&["rollback", "inventory", &versions[0][..6]]).ends_with(0);
    assert_eq!(stage.version(), versions[0]);
    assert_eq!(stage.history().len(), 5, "each rollback is a push of its own");
    stage.run(&["rollback", "inventory", "nothex"]).ends_with(2).says("12 hex digits");
}

#[test]
fn a_removed_policy_leaves_a_tombstone_and_comes_back_by_a_rollback() {
    let stage = Stage::new();
    let version = stage.push(5);
    stage
        .run(&["push", "--remove", "inventory", "--dry-run"])
        .ends_with(0)
        .says("would be removed");
    stage.run(&["push", "--remove", "inventory", "--base", "ffff"]).ends_with(1).says("stale");
    stage.run(&["push", "--remove", "inventory"]).ends_with(0).says(&version);
    stage.run(&["pull", "inventory"]).ends_with(1).says("was removed (ann@laptop");
    let rows = stage.history();
    assert_eq!((&rows[0]["removed"], &rows[0]["in_force"]), (&json!(true), &json!(true)));
    stage.run(&["push", "--remove", "inventory"]).ends_with(0).says("nothing was written");
    stage.write("new.yaml", &policy(6));
    stage.run(&["push", "--base", &version, "new.yaml"]).ends_with(1).says("was removed");
    stage.run(&["rollback", "inventory"]).ends_with(0);
    assert_eq!(stage.version(), version);
    stage.run(&["push", "--remove", "orders"]).ends_with(0).says("nothing was written");
}

#[test]
fn what_vanished_is_really_removed_by_a_tombstone() {
    let stage = Stage::new();
    stage.push(5);
    delete(&stage, "outrigger/policy/inventory");
    stage
        .run(&["push", "--remove", "inventory", "--dry-run"])
        .ends_with(0)
        .says("would be removed");
    let gone = stage.run(&["push", "--remove", "inventory"]).ends_with(0);
    assert!(gone.out.contains("there is a tombstone"), "callers go on with it else: {gone:#?}");
    assert_eq!(stage.history()[0]["removed"], true);
    stage.run(&["push", "--remove", "inventory"]).ends_with(0).says("nothing was written");
    stage.run(&["rollback", "inventory"]).ends_with(0);
    assert_eq!(stage.run(&["pull", "inventory"]).out, policy(5));
}

#[test]
fn garbage_below_the_key_is_told_and_left_behind() {
    let stage = Stage::new();
    let good = stage.push(5);
    for (garbage, why) in [
        (&b"\xff\xfe\x1b[31m"[..], "byte 1 is no UTF-8"),
        (b"version: 1\nservice: inventory\ntimeout: -1s\n", "`timeout` is `-1s`"),
        (b"version: 1\nservice: orders\n", "it is the policy of `orders`"),
    ] {
        put(&stage, "outrigger/policy/inventory", garbage);
        let pulled = stage.run(&["pull", "inventory"]).says(why).says("keeps the last good one");
        assert!(!pulled.out.contains('\x1b'), "{pulled:#?}");
        let history = stage.run(&["history", "inventory"]).ends_with(0).says(why);
        assert!(history.out.contains("in its key, and does not hold"), "{history:#?}");
        let row = &stage.history()[0];
        assert!(row["error"].as_str().is_some_and(|error| error.contains(why)), "{row:#}");
        stage.run(&["rollback", "inventory"]).ends_with(0).says(&good);
        assert_eq!(stage.version(), good, "the last good one, whatever came since");
    }
    assert_eq!(stage.run(&["pull", "inventory"]).ends_with(0).out, policy(5));
    put(&stage, "outrigger/policy/inventory", b"timeout: -1s\n");
    stage.push(6);
    let back = stage.run(&["rollback", "inventory"]).ends_with(0).says("is passed over");
    assert_eq!(
        stage.version(),
        good,
        "what was overwritten has a place, and does not hold: {back:#?}"
    );
}

#[test]
fn foreign_keys_in_the_history_are_in_nobodys_way() {
    let stage = Stage::new();
    let first = stage.push(1);
    let junk = |name: &str, value: &[u8]| {
        put(&stage, &format!("outrigger/history/inventory/{name}"), value);
    };
    for name in ["readme", "007", "+9", "2/x", "18446744073709551615"] {
        junk(name, policy(9).as_bytes());
    }
    junk("2", b"\xff");
    junk("3", b"# outrigger history: {\"at\":\"now\",\"by\":\"\\u001b[2Jmallory\"}\n");
    let rows = stage.history();
    let numbers: Vec<_> = rows.iter().map(|row| row["number"].as_u64()).collect();
    assert_eq!(numbers, [Some(3), Some(2), Some(1)], "{rows:#?}");
    let shown = stage.run(&["history", "inventory"]).ends_with(0).says("does not hold");
    assert!(shown.out.contains("mallory") && !shown.out.contains('\x1b'), "{shown:#?}");
    let nothing = stage.run(&["rollback", "inventory"]).ends_with(1).says("is passed over");
    assert!(nothing.err.contains("no earlier version"), "neither 2 nor 3 holds: {nothing:#?}");
    stage.push(2);
    stage.run(&["rollback", "inventory"]).ends_with(0).says(&first);
}

#[test]
fn a_name_that_is_nearly_right_is_told() {
    let stage = Stage::new();
    stage.push(1);
    for verb in ["pull", "history", "rollback"] {
        let missed = stage.run(&[verb, "inventory2"]).ends_with(1);
        assert!(missed.err.contains("did you mean `inventory`?"), "{missed:#?}");
        let other = stage.run(&[verb, "shipping"]).ends_with(1);
        assert!(!other.err.contains("did you mean"), "{other:#?}");
    }
}

#[test]
fn a_key_that_another_program_wrote_is_not_lost() {
    let stage = Stage::new();
    stage.push(1);
    let foreign = policy(2);
    put(&stage, "outrigger/policy/inventory", foreign.as_bytes());
    let rows = stage.history();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["number"], &rows[0]["in_force"]), (&Value::Null, &json!(true)));
    let third = stage.push(3);
    let texts = |version: &Value| {
        stage.run(&["pull", "inventory", version.as_str().expect("a version")]).out
    };
    let rows = stage.history();
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert_eq!(rows[0]["version"], json!(third));
    assert_eq!(texts(&rows[1]["version"]), foreign, "it got its place before it was overwritten");
    assert_eq!(rows[1]["by"], Value::Null, "nobody knows whose it was");
}

#[test]
fn a_push_that_ended_half_way_is_completed_by_the_same_push() {
    let stage = Stage::new();
    stage.push(1);
    stage.write("inventory.yaml", &policy(2));
    put(&stage, "outrigger/policy/inventory", policy(2).as_bytes());
    stage.run(&["push", "inventory.yaml"]).ends_with(0).says("is in force already");
    let rows = stage.history();
    assert_eq!((&rows[0]["number"], &rows[0]["by"]), (&json!(2), &json!("ann@laptop")));
}

#[test]
fn nothing_is_pushed_unless_every_file_holds() {
    let stage = Stage::new();
    stage.write("a.yaml", &policy(1));
    stage.write("b.yaml", "version: 1\nservice: orders\ntiemout: 5s\n");
    stage.run(&["push", "a.yaml", "b.yaml"]).ends_with(1).says("b.yaml:3:1").says("nothing was");
    stage.run(&["pull", "inventory"]).ends_with(1).says("has no policy of inventory");
    stage.write("b.yaml", "version: 1\nservice: orders\ntimeout: none\n");
    stage.run(&["push", "--deny", "warnings", "a.yaml", "b.yaml"]).ends_with(1).says("b.yaml:3:");
    stage.run(&["pull", "inventory"]).ends_with(1);
    stage.write("c.yaml", &policy(2));
    stage.run(&["push", "a.yaml", "c.yaml"]).ends_with(2).says("are both the policy of inventory");
    stage.run(&["push", "--base", "none", "a.yaml", "b.yaml"]).ends_with(2).says("of one policy");
    fs::remove_file(stage.folder.path().join("c.yaml")).expect("removes");
    let both = stage.run(&["push", "."]).ends_with(0);
    assert_eq!(both.out.lines().count(), 2, "{both:#?}");
}

#[test]
fn a_file_without_a_service_is_the_fleets_default_only_when_it_says_so() {
    let stage = Stage::new();
    let text = "version: 1\ntimeout: 20s\n";
    stage.write("fleet.yaml", text);
    stage.run(&["push", "fleet.yaml"]).ends_with(2).says("it names no service").says("_default");
    stage.run(&["push", "--default", "fleet.yaml"]).ends_with(0).says("_default: ");
    stage.write("_default.yaml", text);
    stage.run(&["push", "_default.yaml"]).ends_with(0).says("in force already");
    assert_eq!(stage.run(&["pull", "_default"]).ends_with(0).out, text);
    stage.write("_default.yaml", &policy(1));
    stage.run(&["push", "_default.yaml"]).ends_with(2).says("names no service");
}

#[test]
fn a_registry_that_is_away_or_denies_ends_with_3() {
    let stage = Stage::with(Agent::builder().acl("11111111-2222-3333-4444-555555555555"));
    stage.write("inventory.yaml", &policy(1));
    let denied = stage.run(&["push", "inventory.yaml"]).ends_with(3);
    assert!(
        denied.err.contains("outrigger/") && denied.err.contains("CONSUL_HTTP_TOKEN"),
        "{denied:#?}"
    );
    assert!(!denied.err.contains("whether it was written"), "it is known: {denied:#?}");
    let mut unknown = stage.command(&["push", "inventory.yaml"]);
    unknown.env("CONSUL_HTTP_TOKEN", "99999999-2222-3333-4444-555555555555");
    Answer::of(unknown.spawn().expect("starts")).ends_with(3).says("it does not know the token");
    let mut allowed = stage.command(&["push", "inventory.yaml"]);
    allowed.env("CONSUL_HTTP_TOKEN", "11111111-2222-3333-4444-555555555555");
    Answer::of(allowed.spawn().expect("starts")).ends_with(0);
    stage.runtime.block_on(stage.agent.stop());
    let away = stage.run(&["pull", "inventory"]).ends_with(3).says("cannot be reached");
    assert!(away.err.contains(stage.url.as_str()) && away.err.contains("--consul"), "{away:#?}");
    stage.run(&["pull", "--consul", "none", "inventory"]).ends_with(2).says("needs a registry");
    stage.run(&["pull", "--consul", "ftp://x", "inventory"]).ends_with(2).says("--consul");
    stage.run(&["pull", "a/b"]).ends_with(2).says("a service name");
}

#[test]
fn whatever_a_name_is_written_with_it_is_one_key() {
    let stage = Stage::new();
    stage.write("inventory.yaml", &policy(1).replace("service: inventory", "service: Inventory"));
    stage.run(&["push", "inventory.yaml"]).ends_with(0);
    stage.run(&["pull", "inventory"]).ends_with(0);
    stage.run(&["pull", "INVENTORY"]).ends_with(0);
}

/// Writes a key past the program.
fn put(stage: &Stage, key: &str, value: &[u8]) {
    ask(stage, &format!("PUT /v1/kv/{key}"), value);
}

/// Deletes a key past the program.
fn delete(stage: &Stage, key: &str) {
    ask(stage, &format!("DELETE /v1/kv/{key}"), b"");
}

fn ask(stage: &Stage, line: &str, body: &[u8]) {
    let address = stage.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("connects");
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("writes");
    stream.write_all(body).expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
