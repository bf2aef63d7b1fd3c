//! `outrigger policy …`, as it is typed: the program itself, beside the development agent.

#[path = "policy/registry.rs"]
mod registry;

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

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
    fs::write(at("empty.yaml"), "").expect("writes");
    for flags in [&["empty.yaml"][..], &["--check", "a.yaml", "empty.yaml"]] {
        fmt(flags).ends_with(2).says("empty.yaml:1:1").says("the file is empty");
    }
    assert_eq!(fs::read(at("empty.yaml")).expect("reads"), b"", "it is left as it is");
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
