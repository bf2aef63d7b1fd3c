//! `outrigger policy …`, as it is typed: the program itself, beside the development agent.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use outrigger_dev::Agent;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What a command printed, and how it ended.
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

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// The program with nothing of the surroundings in its environment.
fn program(folder: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("OUTRIGGER_") || text.starts_with("CONSUL_") {
            command.env_remove(&name);
        }
    }
    command.arg("policy").args(arguments).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Answer {
    Answer::of(program(folder, arguments).spawn().expect("it starts"))
}

fn run_with(folder: &Path, arguments: &[&str], input: &str) -> Answer {
    let mut child = program(folder, arguments).stdin(Stdio::piped()).spawn().expect("it starts");
    // Whoever ends without reading closes it, which is no failure of this test.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    Answer::of(child)
}

/// Where the files of these tests are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy")
}

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

fn policy(timeout: u32) -> String {
    format!("# By hand: {timeout}\nversion: 1\nservice: inventory\ntimeout: {timeout}s\n")
}

/// Compares with a file; `OUTRIGGER_BLESS=1` writes it anew.
#[track_caller]
fn golden(name: &str, found: &str) {
    let path = folder().join(name);
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        fs::write(&path, found).expect("writes");
    }
    let wanted = fs::read_to_string(&path).expect("a golden file");
    assert_eq!(found, wanted, "{name}: OUTRIGGER_BLESS=1 writes it anew; read the difference");
}

#[test]
fn check_tells_every_mistake_with_its_place_and_how_to_mend_it() {
    let answer = run(&folder(), &["check", "three.yaml"]).ends_with(1);
    golden("three.txt", &answer.out);
    assert_eq!(answer.err, "", "all of it is the result");
    assert!(!answer.out.contains('\x1b'), "no colours without a terminal");
}

#[test]
fn check_prints_one_json_document() {
    let answer = run(&folder(), &["check", "--json", "three.yaml"]).ends_with(1);
    golden("three.json", &answer.out);
    let found = answer.json();
    let keys: Vec<_> = found[0].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["fix", "message", "place", "rule", "severity", "subject"]);
    let by_variable = Answer::of(
        program(&folder(), &["check", "three.yaml"])
            .env("OUTRIGGER_JSON", "1")
            .spawn()
            .expect("starts"),
    );
    assert_eq!(by_variable.out, answer.out, "a flag's variable says the same as the flag");
}

#[test]
fn warnings_can_be_denied_and_left_out() {
    let text = "version: 1\nservice: inventory\ntimeout: none\n";
    let check = |flags: &[&str]| {
        let arguments = [&["check"], flags, &["-"]].concat();
        run_with(&folder(), &arguments, text)
    };
    check(&[]).ends_with(0).says("<stdin>:3:");
    check(&["--deny", "warnings"]).ends_with(1).says("a warning that is denied");
    check(&["--deny", "no_timeout"]).ends_with(1).says("policy::no_timeout");
    check(&["--deny", "eject_all"]).ends_with(0).says("warning[policy::no_timeout]");
    check(&["--deny", "warnings", "--allow", "no_timeout"]).ends_with(0).says("no mistake");
    check(&["--allow", "unknown_key"]).ends_with(2).says("only warnings can be left out");
    check(&["--deny", "no_timeuot"]).ends_with(2).says("no_timeout");
}

#[test]
fn stdin_may_be_json_or_toml() {
    let check = |text| run_with(&folder(), &["check", "-"], text);
    check("{\"version\": 1, \"service\": \"inventory\"}").ends_with(0);
    check("version = 1\nservice = \"inventory\"\n").ends_with(0);
    check("version = 1\ntiemout = \"5s\"\n").ends_with(1).says("<stdin>:2:1");
}

#[test]
fn what_cannot_be_read_is_bad_input_and_the_rest_is_checked_all_the_same() {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("bytes.yaml"), b"version: 1\ntimeout: \xff\n").expect("writes");
    fs::write(at("good.yaml"), policy(1)).expect("writes");
    fs::write(at("bad.yaml"), "version: 1\ntiemout: 1s\n").expect("writes");
    let check = |files: &[&str]| run(folder.path(), &[&["check"], files].concat());
    check(&["bytes.yaml"]).ends_with(2).says("bytes.yaml:2:10: byte 0xff is not UTF-8");
    check(&["absent.yaml", "bad.yaml"]).ends_with(2).says("absent.yaml").says("bad.yaml:2:1");
    check(&["."]).ends_with(2).says("1 unreadable").says("bad.yaml:2:1");
    check(&[]).ends_with(2).says("Usage");
    fs::create_dir(at("empty")).expect("a folder");
    check(&["empty"]).ends_with(2).says("no policy in it");
}

#[test]
fn fmt_rewrites_files_in_place_and_check_only_names_them() {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let text = "service:   inventory # ours\nversion: 1\n";
    for name in ["a.yaml", "b.yaml"] {
        fs::write(at(name), text).expect("writes");
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(at("a.yaml"), at("link.yaml")).expect("links");
    let fmt = |flags: &[&str]| run(folder.path(), &[&["fmt"], flags].concat());
    let check = fmt(&["--check", "a.yaml", "b.yaml"]).ends_with(1);
    assert_eq!(check.out, "a.yaml\nb.yaml\n");
    assert_eq!(fs::read_to_string(at("a.yaml")).expect("reads"), text, "nothing is changed");
    fmt(&["link.yaml"]).ends_with(0);
    let formed = fs::read_to_string(at("a.yaml")).expect("reads");
    assert!(formed.starts_with("version: 1\n") && formed.contains("# ours"), "{formed}");
    assert!(fs::symlink_metadata(at("link.yaml")).expect("there").is_symlink());
    fmt(&["--check", "a.yaml"]).ends_with(0);
    assert_eq!(run_with(folder.path(), &["fmt", "-"], text).ends_with(0).out, formed);
    fmt(&["."]).ends_with(0).says("1 of 3 files rewritten");
    assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 3, "nothing is left behind");
    fs::write(at("a.test.yaml"), "version: 1\n").expect("writes");
    fmt(&["a.test.yaml"]).ends_with(2).says("it holds tests");
    run_with(folder.path(), &["fmt", "-"], "version: [").ends_with(2).says("<stdin>:1");
}

#[test]
fn the_schema_is_the_one_in_the_documents() {
    let printed = run(Path::new("."), &["schema"]).ends_with(0).json();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy.schema.json");
    let wanted = fs::read_to_string(path).expect("the schema");
    assert_eq!(printed, serde_json::from_str::<Value>(&wanted).expect("JSON"));
}

#[test]
fn diff_tells_in_sentences_what_changes_for_a_request() {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.yaml"), policy(5)).expect("writes");
    fs::write(at("b.yaml"), policy(7)).expect("writes");
    let diff = |flags: &[&str]| run(folder.path(), &[&["diff"], flags].concat());
    let told = diff(&["a.yaml", "b.yaml"]).ends_with(0);
    assert_eq!(told.out, "Route `default`: `timeout` is 7s; before: 5s.\n");
    let json = diff(&["--json", "a.yaml", "b.yaml"]).ends_with(0).json();
    assert_eq!(json["changes"][0]["key"], "timeout");
    diff(&["a.yaml", "a.yaml"]).ends_with(0).says("Nothing changes");
    let stdin = run_with(folder.path(), &["diff", "-", "b.yaml"], &policy(5)).ends_with(0);
    assert_eq!(stdin.out, told.out);
    diff(&["-", "-"]).ends_with(2).says("only one");
    diff(&["a.yaml", "absent.yaml"]).ends_with(2).says("absent.yaml");
    run_with(folder.path(), &["diff", "-", "b.yaml"], "version: 2").ends_with(2).says("<stdin>:1");
}

#[test]
fn explain_tells_where_values_come_from_and_what_becomes_of_a_request() {
    let text = "version: 1\nservice: inventory\nroutes:\n  - name: canary\n    \
                match: { path_prefix: /v2, headers: { x-canary: \"1\" } }\n    timeout: 3s\n";
    let explain =
        |flags: &[&str]| run_with(Path::new("."), &[&["explain", "-"], flags].concat(), text);
    let all = explain(&[]).ends_with(0);
    assert!(all.out.contains("<stdin>:6:14") && all.out.contains("default"), "{}", all.out);
    let request = ["--request", "GET /v2/x?y=1"];
    let missed = explain(&request).ends_with(0);
    assert!(missed.out.contains("not route canary: the header x-canary"), "{}", missed.out);
    let hit = explain(&[&request[..], &["-H", "x-canary: 1"]].concat()).ends_with(0);
    assert!(hit.out.contains("  route canary\n"), "{}", hit.out);
    let json = explain(&[&request[..], &["-H", "x-canary: 1", "--json"]].concat()).json();
    assert_eq!(json["route"], "canary");
    let mut by_variable = program(Path::new("."), &["explain", "-", "--request", "/v2/x"]);
    by_variable.env("OUTRIGGER_HEADER", "accept: */*; x-canary: 1").stdin(Stdio::piped());
    let mut child = by_variable.spawn().expect("starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("writes");
    Answer::of(child).ends_with(0).says("  route canary");
    explain(&["--request", "GET"]).ends_with(2).says("--request");
    explain(&["--request", "/x", "-H", "nothing"]).ends_with(2).says("--header");
    explain(&["-H", "a: b"]).ends_with(2).says("--request");
}

#[test]
fn tests_are_found_beside_the_policy_and_failures_end_with_1() {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let tests = |timeout: &str| {
        format!(
            "version: 1\ntests:\n  - name: five seconds\n    request: GET /\n    expect:\n      \
             rules: {{ timeout: {timeout} }}\n"
        )
    };
    fs::write(at("inventory.yaml"), policy(5)).expect("writes");
    let test = |flags: &[&str]| run(folder.path(), &[&["test"], flags].concat());
    test(&["inventory.yaml"]).ends_with(2).says("no test beside it").says("inventory.test.yaml");
    fs::write(at("inventory.test.yaml"), tests("5s")).expect("writes");
    for name in ["inventory.yaml", "inventory.test.yaml", "."] {
        let held = test(&[name]).ends_with(0);
        assert_eq!(held.out, "inventory.yaml\n  ok      five seconds\n1 test, 0 failed\n");
    }
    fs::write(at("inventory.test.yaml"), tests("6s")).expect("writes");
    let failed = test(&["inventory.yaml"]).ends_with(1).says("FAILED  five seconds");
    assert!(failed.out.contains("expected 6s, found 5s"), "{}", failed.out);
    let json = test(&["--json", "inventory.yaml"]).ends_with(1).json();
    assert_eq!(json[0]["place"], "inventory.test.yaml:3:11");
    assert_eq!(json[0]["failures"].as_array().map(Vec::len), Some(1));
    fs::write(at("other.test.yaml"), format!("policy: inventory.yaml\n{}", tests("5s")))
        .expect("writes");
    test(&["other.test.yaml"]).ends_with(0).says("inventory.yaml");
    test(&["."]).ends_with(1).says("2 tests, 1 failed");
    fs::write(at("orphan.test.yaml"), tests("5s")).expect("writes");
    test(&["."]).ends_with(2).says("orphan.test.yaml: there is no policy beside it");
    let stdin = ["test", "-", "--tests", "inventory.test.yaml"];
    run_with(folder.path(), &stdin, &policy(6)).ends_with(0);
    fs::write(at("inventory.test.yaml"), "version: 1\ntest: []\n").expect("writes");
    test(&["inventory.yaml"]).ends_with(2).says("inventory.test.yaml:2:1");
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
fn a_key_that_another_program_wrote_is_not_lost() {
    let stage = Stage::new();
    stage.push(1);
    let foreign = policy(2);
    put(&stage, "outrigger/policy/inventory", &foreign);
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
    put(&stage, "outrigger/policy/inventory", &policy(2));
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
fn put(stage: &Stage, key: &str, value: &str) {
    use std::io::Read as _;
    let address = stage.url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).expect("connects");
    let head = format!(
        "PUT /v1/kv/{key} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        value.len()
    );
    stream.write_all(head.as_bytes()).expect("writes");
    stream.write_all(value.as_bytes()).expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
