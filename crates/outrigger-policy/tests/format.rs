//! A formatted file says the same, keeps its comments, and is not changed by formatting it again.

use std::fs;
use std::path::Path;

use outrigger_policy::{Difference, Format, FormatError, Policy, format};

fn yaml(text: &str) -> String {
    format("x.yaml", text, Format::Yaml).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn keys_come_in_order_with_their_comments_and_in_one_form() {
    let before = "\
# The file's own comment.


service:   'inventory'   # who
version: 1
# two tries
# are enough
retry:      # why
     attempts:   2
     # at most
     per_try_timeout: \"500ms\"


     when: [ 'reset',503 ,
         # overloaded
         connect_failure ]
     # nothing else in retry
# about routes
routes:
- match: {methods: [GET], path_prefix: '/v2'}   # reads
  name: v2
  # the end of v2

- timeout: 1s # short
  name: \"no\"
timeout: 9s
# the end
";
    let after = "\
# The file's own comment.

version: 1
service: inventory  # who
timeout: 9s
# two tries
# are enough
retry:  # why
  attempts: 2

  # overloaded
  when: [reset, 503, connect_failure]
  # at most
  per_try_timeout: 500ms
  # nothing else in retry
# about routes
routes:
  - name: v2
    match: { path_prefix: /v2, methods: [GET] }  # reads
    # the end of v2

  - name: \"no\"
    timeout: 1s  # short
# the end
";
    let found = yaml(before);
    assert_eq!(found, after, "{found}");
    assert_eq!(yaml(&found), found, "twice");
}

#[test]
fn what_is_too_long_for_brackets_is_unfolded_and_neighbours_comments_are_aligned() {
    let found = yaml(
        "version: 1 # one\nservice: inventory # two\ntimeout: 5s\nidle_timeout: 5m # three\nsubsets: { \
         a: { language: java, version: \">=2, <3\", tag: canary }, b: { meta: { tier: gold, rack: \
         \"1\" } } }\n",
    );
    let wanted = "\
version: 1          # one
service: inventory  # two
timeout: 5s
idle_timeout: 5m  # three
subsets:
  a: { language: java, version: \">=2, <3\", tag: canary }
  b: { meta: { tier: gold, rack: \"1\" } }
";
    assert_eq!(found, wanted, "{found}");
}

#[test]
fn json_is_ordered_and_toml_is_left_alone() {
    let json =
        r#"{"service":"inventory","version":1,"retry":{"when":["reset"],"attempts":2},"x":"é\n"}"#;
    let found = format("x.json", json, Format::Json).expect("formats");
    assert!(found.starts_with(
        "{\n  \"version\": 1,\n  \"service\": \"inventory\",\n  \"retry\": {\n    \"attempts\": 2,"
    ));
    assert_eq!(format("x.json", &found, Format::Json).expect("formats"), found);
    assert!(matches!(
        format("x.toml", "version = 1", Format::Toml),
        Err(FormatError::Refused { .. })
    ));
    assert!(matches!(format("x.yaml", "a: [", Format::Yaml), Err(FormatError::Unreadable(_))));
    for nothing in
        ["", " \n\t\n", "# only\n", "---\n", "null\n", "{}\n", "[]\n", "42\n", "\u{feff}"]
    {
        let found = format("x.yaml", nothing, Format::Yaml);
        let Err(FormatError::Unreadable(report)) = found else { panic!("{nothing:?}: {found:?}") };
        let checked = Policy::parse("x.yaml", nothing, Format::Yaml).expect_err("no policy");
        assert_eq!(report.to_string(), checked.to_string(), "{nothing:?}: as `check` says it");
    }
    let twice = format("x.yaml", "a: 1\na: 2\n", Format::Yaml);
    assert!(matches!(twice, Err(FormatError::Unreadable(_))), "one of them would be lost");
}

/// Comments as another reader sees them: whatever follows ` #` outside of quotes is judged by the
/// formatter itself; here the words of the test's own comments are counted.
fn marks(text: &str) -> Vec<String> {
    let mut found: Vec<_> = text
        .split_whitespace()
        .filter(|word| word.starts_with("mark"))
        .map(str::to_owned)
        .collect();
    found.sort();
    found
}

#[test]
fn every_file_of_ours_survives_with_comments_strewn_over_it() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut formatted, mut refused) = (0, 0);
    for folder in ["tests/golden", "../../examples/policies"] {
        let mut paths: Vec<_> = fs::read_dir(crates.join(folder))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
            .collect();
        paths.sort();
        for path in paths {
            let text = fs::read_to_string(&path).expect("reads");
            for round in 0..8 {
                let mut strewn = String::new();
                for (number, line) in text.lines().enumerate() {
                    if round > 0 && rng.u8(0..3) == 0 {
                        let indent = " ".repeat(rng.usize(0..8));
                        strewn.push_str(&format!("{indent}# mark{number}above\n"));
                    }
                    strewn.push_str(line);
                    if round > 1 && rng.u8(0..3) == 0 && !line.contains(['|', '>']) {
                        strewn.push_str(&format!(" # mark{number}right"));
                    }
                    strewn.push_str(if rng.u8(0..8) == 0 { "\n\n\n" } else { "\n" });
                }
                match format("x.yaml", &strewn, Format::Yaml) {
                    Ok(once) => {
                        formatted += 1;
                        assert_eq!(marks(&once), marks(&strewn), "{strewn}\n=>\n{once}");
                        let twice = yaml(&once);
                        assert_eq!(twice, once, "{strewn}");
                        let parse = |text: &str| Policy::parse("x.yaml", text, Format::Yaml);
                        match (parse(&strewn), parse(&once)) {
                            (Ok(before), Ok(after)) => {
                                assert!(Difference::between(&before, &after).is_empty(), "{once}");
                            }
                            (Err(before), Err(after)) => {
                                let rules = |report: &outrigger_policy::Report| {
                                    let mut rules: Vec<_> =
                                        report.errors().map(|one| one.rule.id()).collect();
                                    rules.sort_unstable();
                                    rules.len()
                                };
                                // Quotes may mend a trap; nothing else changes.
                                assert!(rules(&after) <= rules(&before), "{before}\n{after}");
                            }
                            (Err(_), Ok(_)) => {}
                            (Ok(_), Err(report)) => panic!("{once}\n{report}"),
                        }
                    }
                    Err(FormatError::Unreadable(_)) => {}
                    Err(error) => {
                        refused += 1;
                        assert!(refused < 20, "{error}\n{strewn}");
                    }
                }
            }
        }
    }
    assert!(formatted > 500, "{formatted} formatted, {refused} refused");
}

#[test]
fn the_examples_are_formatted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("reads");
        let name = path.to_string_lossy().into_owned();
        if name.contains(".test.") {
            continue;
        }
        let found = format(&name, &text, Format::of_name(&name)).expect(&name);
        if std::env::var_os("OUTRIGGER_BLESS").is_some() {
            fs::write(&path, &found).expect("writes");
        } else {
            assert_eq!(found, text, "{name} is not formatted");
        }
    }
}
