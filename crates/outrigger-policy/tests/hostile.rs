//! Whatever stands in a file: an answer, soon, in little memory, and never a panic.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use outrigger_policy::{Format, Plan, Policy, Rule};

/// Debug builds on a busy machine; a release build takes a twentieth of it.
const SOON: Duration = Duration::from_secs(5);

fn rule_of(text: &str, format: Format) -> Rule {
    #[expect(clippy::disallowed_methods, reason = "the bound on time is what is tested")]
    let start = Instant::now();
    let report = Policy::parse("hostile", text, format).expect_err("refused");
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
    let shown = report.to_string();
    assert!(shown.len() < 256 * 1024, "the message itself has {} bytes", shown.len());
    report.findings()[0].rule
}

#[test]
fn a_text_above_the_limit_is_refused_unread() {
    let most = 512 * 1024;
    let long = format!("version: 1\n#{}\n", "x".repeat(most));
    assert_eq!(rule_of(&long, Format::Yaml), Rule::Limit);
    let fits = format!("version: 1\n#{}\n", "x".repeat(most - 13));
    assert!(fits.len() <= most && Policy::parse("fits", &fits, Format::Yaml).is_ok());
}

#[test]
fn nesting_is_refused_in_every_format() {
    let deep = |open: &str, close: &str, n: usize| open.repeat(n) + &close.repeat(n);
    for n in [33, 1_000, 200_000] {
        assert_eq!(rule_of(&format!("a: {}", deep("[", "]", n)), Format::Yaml), Rule::Limit, "{n}");
        assert_eq!(rule_of(&deep("[", "]", n), Format::Json), Rule::Limit, "{n}");
    }
    assert_eq!(rule_of(&deep("{a: ", "}", 90_000), Format::Yaml), Rule::Limit);
    assert_eq!(rule_of(&deep("{\"a\":", "}", 40_000), Format::Json), Rule::Limit);
    let block: String = (0..600).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    assert_eq!(rule_of(&block, Format::Yaml), Rule::Limit);
    let dashes = "- ".repeat(50_000);
    assert_eq!(rule_of(&dashes, Format::Yaml), Rule::Limit);
    for n in [40, 5_000] {
        let toml = format!("a = {}", deep("[", "]", n));
        let rule = rule_of(&toml, Format::Toml);
        assert!(matches!(rule, Rule::Limit | Rule::Syntax), "{n}: {rule}");
        let dotted = format!("{} = 1", vec!["a"; n].join("."));
        let rule = rule_of(&dotted, Format::Toml);
        assert!(matches!(rule, Rule::Limit | Rule::Syntax), "{n}: {rule}");
    }
}

#[test]
fn many_values_and_wide_sections_are_refused() {
    let items = format!("routes: [{}]", "1,".repeat(60_000));
    assert_eq!(rule_of(&items, Format::Yaml), Rule::Limit);
    let keys: String = (0..30_000).map(|n| format!("k{n}: 1\n")).collect();
    assert_eq!(rule_of(&keys, Format::Yaml), Rule::Limit);
    let json: Vec<_> = (0..30_000).map(|n| format!("\"k{n}\": 1")).collect();
    assert_eq!(rule_of(&format!("{{{}}}", json.join(",")), Format::Json), Rule::Limit);
    let toml: String = (0..20_000).map(|n| format!("k{n} = 1\n")).collect();
    assert!(matches!(rule_of(&toml, Format::Toml), Rule::Limit | Rule::UnknownKey));
    // Long lists that pass the reader are not compared with each other.
    for list in ["routes: [", "rate_limits: [", "routes: [ { split: [", "balance: { failover: ["] {
        let text = format!("version: 1\n{list}{}", "{},".repeat(20_000));
        let close: String = list
            .chars()
            .rev()
            .filter_map(|c| match c {
                '[' => Some(']'),
                '{' => Some('}'),
                _ => None,
            })
            .collect();
        rule_of(&(text + &close), Format::Yaml);
    }
}

#[test]
fn long_keys_values_and_patterns_are_refused() {
    let long = "a".repeat(400_000);
    for text in [
        format!("{long}: 1"),
        format!("\"{long}\": 1"),
        format!("version: 1\nservice: {long}"),
        format!("version: 1\ntimeout: {}s", "1".repeat(400_000)),
        format!("version: 1\nretry: {{ attempts: {} }}", "9".repeat(300_000)),
        format!(
            "version: 1\nroutes: [ {{ match: {{ path_regex: \"{}\" }} }} ]",
            "(a|b)".repeat(60_000)
        ),
        format!(
            "version: 1\nroutes: [ {{ match: {{ path_prefix: \"/{}\" }} }} ]",
            "%25".repeat(60_000)
        ),
        format!("? {long}\n: 1"),
        format!("a: |\n{}", "  x\n".repeat(80_000)),
        format!("a: \"{}\"", "\\x41".repeat(80_000)),
        "\u{feff}".repeat(1_000),
        "&a ".repeat(10_000),
        "!".repeat(100_000),
        "%".repeat(100_000),
        "#\n".repeat(200_000),
        "a:\n".repeat(1_000),
        "\"".to_owned(),
        "\0".to_owned(),
        "\u{2028}a: \u{85}b".to_owned(),
    ] {
        rule_of(&text, Format::Yaml);
    }
}

#[test]
fn regexes_that_explode_elsewhere_are_refused_or_linear() {
    for pattern in [
        "(a+)+b",
        "(a|a)*b",
        "(.*)*",
        "((a{1,100}){1,100}){1,100}",
        "a{100000}",
        r"\p{L}{500}",
        "(?i)(\\w{1,200}){50}",
        "a)|(?:b",
        "(?x)a # b",
        "(?P<n>a)",
        "^$",
        "",
        "[",
        "(?!a)",
        "\\1",
    ] {
        let text = format!("version: 1\nroutes: [ {{ match: {{ path_regex: '{pattern}' }} }} ]");
        #[expect(clippy::disallowed_methods, reason = "the bound on time is what is tested")]
        let start = Instant::now();
        if let Ok(parsed) = Policy::parse("regex", &text, Format::Yaml) {
            let plan = Plan::compile(&parsed.policy);
            let path = format!("/{}", "a".repeat(60_000));
            let headers = http::HeaderMap::new();
            let _ = plan.route(&http::Method::GET, &path, None, &headers);
        }
        assert!(start.elapsed() < SOON, "{pattern} took {:?}", start.elapsed());
    }
    assert!(outrigger_policy::Pattern::new("a)|(?:b").is_err(), "it would not be anchored");
    assert!(!outrigger_policy::Pattern::new("a|b").expect("valid").is_match("ab"));
}

/// Texts to start from: the examples, the golden files, and the same in the other formats.
fn seeds() -> Vec<(String, Format)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Vec::new();
    for folder in ["tests/golden", "../../examples/policies"] {
        for entry in fs::read_dir(crates.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.to_string_lossy().into_owned();
            if ["yaml", "json", "toml"].iter().any(|ending| name.ends_with(ending)) {
                seeds.push((fs::read_to_string(&path).expect("reads"), Format::of_name(&name)));
            }
        }
    }
    seeds.sort_by(|a, b| a.0.cmp(&b.0));
    seeds
}

fn mutate(text: &str, other: &str, rng: &mut fastrand::Rng) -> String {
    const WORDS: &[&str] = &[
        "none",
        "1e30",
        "-1",
        ".nan",
        "99999999999999999999",
        "{}",
        "[]",
        "[",
        "{",
        "}",
        "]",
        ":",
        ": ",
        "\n",
        "\n  ",
        "- ",
        "\"",
        "'",
        "#",
        "&a ",
        "*a",
        "!!x ",
        "|",
        ">",
        "\t",
        "\u{feff}",
        "\0",
        "\r",
        "%",
        "---\n",
        "...\n",
        "<<: ",
        "0x1",
        "on",
        "~",
        "é",
        "\u{1F980}",
        "subset: x",
        "weight: 101",
        "timeout: 1ms",
        "version: 2",
        ",",
        "? ",
        "10s",
        "0.0",
        "1/s",
        "GET",
        "/",
        "\\",
        "(",
    ];
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(0..=bytes.len());
        let end = (at + rng.usize(0..40)).min(bytes.len());
        match rng.u8(0..7) {
            0 => bytes.splice(at..at, WORDS[rng.usize(..WORDS.len())].bytes()).for_each(drop),
            1 => bytes.drain(at..end).for_each(drop),
            2 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part).for_each(drop);
            }
            3 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..7),
            4 => bytes.splice(at..end, WORDS[rng.usize(..WORDS.len())].bytes()).for_each(drop),
            5 => {
                let other = other.as_bytes();
                let from = rng.usize(0..=other.len());
                let to = (from + rng.usize(0..200)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied()).for_each(drop);
            }
            _ => bytes.truncate(at),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// 10⁵ in a plain run, 10⁶ with `OUTRIGGER_SOAK=1`.
#[test]
fn mutated_files_are_answered_and_what_is_accepted_is_whole() {
    let soak = std::env::var("OUTRIGGER_SOAK").is_ok_and(|v| v == "1");
    let many = if soak { 1_000_000 } else { 100_000 };
    let seeds = seeds();
    let sum = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|seed| {
                let seeds = &seeds;
                scope.spawn(move || run(seeds, many / 4, 32 + seed))
            })
            .collect();
        let sums = runs.into_iter().map(|run| run.join().expect("no panic"));
        sums.fold((0, Duration::ZERO), |sum, run| (sum.0 + run.0, sum.1.max(run.1)))
    });
    let (accepted, longest) = sum;
    assert!(longest < SOON, "one took {longest:?}");
    assert!(accepted > many / 100, "{accepted} accepted of {many}: the mutations break everything");
    assert!(accepted < many / 2, "{accepted} accepted of {many}: the mutations break nothing");
}

/// How many were accepted, and the longest time of one.
fn run(seeds: &[(String, Format)], many: usize, seed: u64) -> (usize, Duration) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut accepted, mut longest) = (0, Duration::ZERO);
    for at in 0..many {
        let (text, format) = &seeds[rng.usize(..seeds.len())];
        let text = mutate(text, &seeds[rng.usize(..seeds.len())].0, &mut rng);
        #[expect(clippy::disallowed_methods, reason = "the bound on time is what is tested")]
        let start = Instant::now();
        match Policy::parse("mutated", &text, *format) {
            Ok(parsed) => {
                accepted += 1;
                is_whole(&Plan::compile(&parsed.policy), &text);
                if at % 16 == 0 {
                    assert!(!parsed.explain().to_string().is_empty());
                }
            }
            Err(report) => {
                let first = report.errors().next().expect("refused for an error");
                assert!(!first.message.is_empty() && !first.place.to_string().is_empty(), "{text}");
                assert!(!report.to_string().is_empty());
            }
        }
        longest = longest.max(start.elapsed());
        if at % 16 == 0
            && let Ok(once) = outrigger_policy::format("mutated", &text, *format)
        {
            let twice = outrigger_policy::format("mutated", &once, *format);
            assert_eq!(twice.ok().as_deref(), Some(&*once), "{text}");
        }
    }
    (accepted, longest)
}

/// Whether every rule of a plan can be built.
fn is_whole(plan: &Plan, text: &str) {
    assert!(!plan.routes.is_empty(), "{text}");
    for route in &plan.routes {
        assert!(route.retry.validate().is_ok(), "{text}");
        assert!(route.hedge.is_none_or(|hedge| hedge.validate().is_ok()), "{text}");
        let circuit = route.breaker.as_ref().map(|breaker| breaker.config.validate());
        assert!(circuit.is_none_or(|valid| valid.is_ok()), "{text}");
        let parts = route.split.iter().flat_map(|split| split.parts.iter());
        let known = parts.map(|part| part.subset.labels.is_some());
        assert!(known.into_iter().all(|known| known), "{text}");
    }
    assert!(plan.balance.validate().is_ok(), "{text}");
    assert!(plan.eject.as_ref().is_none_or(|eject| eject.validate().is_ok()), "{text}");
    let inbound = plan.inbound.iter().flat_map(|inbound| &inbound.rate_limits);
    let limits =
        plan.rate_limits.iter().map(|rate| &rate.limit).chain(inbound.map(|rate| &rate.limit));
    for limit in limits {
        assert!(limit.validate().is_ok(), "{text}");
    }
}
