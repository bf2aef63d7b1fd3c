//! What `explain`, `diff` and `test` tell, as it is printed: `tests/told/*.txt`.
//!
//! `OUTRIGGER_BLESS=1 cargo test -p outrigger-policy --test told` writes the texts anew.

use std::fs;
use std::path::Path;

use outrigger_policy::{Difference, Format, Parsed, Policy, RequestSample, SampleError};

fn tour() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies/tour.yaml");
    fs::read_to_string(path).expect("the tour")
}

fn read(name: &str, text: &str) -> Parsed {
    match Policy::parse(name, text, Format::Yaml) {
        Ok(parsed) => parsed,
        Err(report) => panic!("{report}"),
    }
}

fn holds(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/told").join(name);
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        fs::write(&path, found).expect("writes");
    }
    assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some(found), "{name}:\n{found}");
}

const SMALL: &str = "\
version: 1
service: inventory
timeout: 3s
retry: { attempts: 2, per_try_timeout: 1000ms }
subsets: { java: { language: java }, rust: { language: rust } }
routes:
  - name: v2
    match: { path_prefix: /v2, methods: [GET] }
    split: [ { subset: java, weight: 90 }, { subset: rust, weight: 10 } ]
    retry: { attempts: 0 }
";

#[test]
fn each_value_says_where_it_comes_from() {
    let explanation = read("small.yaml", SMALL).explain();
    holds("explain_small.txt", &explanation.to_string());
    holds("explain_tour.txt", &read("tour.yaml", &tour()).explain().to_string());
    let v2 = &explanation.routes[0];
    let origin = |key: &str| {
        let line = v2.values.iter().find(|line| line.key == key).expect(key);
        (line.value.clone(), line.origin.to_string())
    };
    assert_eq!(origin("retry.attempts"), ("0".to_owned(), "small.yaml:10:24".to_owned()));
    let above = ("1s".to_owned(), "small.yaml:4:40, from above".to_owned());
    assert_eq!(origin("retry.per_try_timeout"), above);
    assert_eq!(origin("retry.backoff.base"), ("25ms".to_owned(), "default".to_owned()));
}

#[test]
fn a_request_is_told_its_route_and_its_rules_in_the_order_of_the_stack() {
    let tour = read("tour.yaml", &tour());
    let sample: RequestSample = "GET /v2//x?beta=1".parse().expect("a request");
    let sample = sample.with_header("x-canary: 1").expect("a header");
    holds("request_skips.txt", &tour.explain_request(&sample).expect("a path").to_string());
    let sample = sample.with_header("x-tenant: t-7").expect("a header");
    let sample = sample.with_header("x-exact: yes").expect("a header");
    let told = tour.explain_request(&sample).expect("a path");
    assert_eq!((told.route.as_str(), told.request.as_str()), ("rewrite", "GET /v2/x"));
    holds("request_rewrite.txt", &told.to_string());

    let bad: RequestSample = "GET /a/%2e%2e/%2e%2e/b".parse().expect("a request");
    assert!(matches!(tour.explain_request(&bad), Err(SampleError::Path(_))));
    for line in ["", "GET", "GET x", "G ET /x", "GET /x y"] {
        assert!(line.parse::<RequestSample>().is_err(), "{line:?}");
    }
}

#[test]
fn a_difference_is_told_in_sentences_and_only_where_requests_see_it() {
    let before = read("a.yaml", SMALL);
    let same = SMALL.replace("3s", "3000ms").replace("methods: [GET] }", "methods: [ GET ] } # c");
    assert!(Difference::between(&before, &read("b.yaml", &same)).is_empty());

    let bare = "version: 1\nservice: inventory\n";
    let none = Difference::between(&read("a.yaml", bare), &read("b.yaml", bare));
    assert_eq!(none.to_string(), "Nothing changes for any request.\n");
    let added = Difference::between(&read("a.yaml", bare), &before).to_string();
    holds("diff_added.txt", &added);
    assert!(added.contains("GET requests to /v2 and below take the new route `v2`"), "{added}");
    assert!(
        added.contains("90 % to `java`, 10 % to `rust`; before: route `default`, to all endpoints")
    );
    holds("diff_removed.txt", &Difference::between(&before, &read("b.yaml", bare)).to_string());

    let changed = SMALL
        .replace("90", "50")
        .replace("weight: 10", "weight: 50")
        .replace(
            "retry: { attempts: 2",
            "breaker: { failure_ratio: 0.2 }\neject: none\nretry: { attempts: 1",
        )
        .replace("methods: [GET]", "methods: [GET, HEAD]")
        .replace("rust: { language: rust }", "rust: { language: rust, version: \">=2\" }");
    let changed = read("b.yaml", &changed);
    holds("diff_changed.txt", &Difference::between(&before, &changed).to_string());
    holds("diff_back.txt", &Difference::between(&changed, &before).to_string());
    holds("diff_tour.txt", &Difference::between(&before, &read("tour.yaml", &tour())).to_string());
}

#[test]
fn a_test_file_holds_or_says_what_does_not() {
    let tour = read("tour.yaml", &tour());
    let good = "\
version: 1
policy: tour.yaml
tests:
  - name: canaries are split
    request: GET /v2/stock?beta=1
    headers: { x-canary: \"1\", x-tenant: t-7, x-exact: \"yes\" }
    expect:
      route: rewrite
      split: { java: 90, rust: 10 }
      mirror: gold
      rules: { timeout: 5s, retry.attempts: 1, retry.per_try_timeout: 800ms, hedge: none }
  - name: the admin is out of bounds
    request: GET /admin/x
    caller: orders
    expect: { refused: forbidden }
  - name: orders may read stock
    request: GET /stock/1
    caller: orders
    expect: { route: default, refused: none, limits: [per-caller, per-key, per-tenant], mirror: none, split: {} }
  - name: nobody climbs out
    request: GET /../etc/passwd
    expect: { refused: bad_request }
";
    let report = tour.run_tests("tour.test.yaml", good, Format::Yaml).expect("a good file");
    assert!(report.holds() && report.tests.len() == 4, "{report}");

    let bad = "\
version: 1
tests:
  - name: everything is wrong here
    request: POST /stock/1
    expect:
      route: rewrite
      split: { rust: 100 }
      mirror: rust
      limits: []
      refused: none
      rules: { timeout: 99s, retry.atempts: 1, zzz: 2 }
  - name: no request at all
    request: nonsense
    expect: { route: default }
  - name: nothing to hold
    request: GET /
    expect: {}
";
    let report = tour.run_tests("bad.test.yaml", bad, Format::Yaml).expect("a good file");
    assert!(!report.holds());
    holds("tests_failed.txt", &report.to_string());
    let broken = "version: 1\ntests:\n  - name: x\n    requst: GET /\n";
    let report = tour.run_tests("broken.test.yaml", broken, Format::Yaml).expect_err("a bad file");
    holds("tests_broken.txt", &report.to_string());
    let report = tour.run_tests("empty.test.yaml", "", Format::Yaml).expect_err("an empty file");
    holds("tests_empty.txt", &report.to_string());
}
