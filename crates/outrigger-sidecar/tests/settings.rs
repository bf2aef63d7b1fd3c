//! Every message about settings, as it is printed, and the documents that list them.
//!
//! `OUTRIGGER_BLESS=1 cargo test -p outrigger-sidecar --test settings` writes the messages anew;
//! read the difference before it is kept.

use std::fs;
use std::path::Path;

use outrigger_policy::{Format, Written};
use outrigger_sidecar::{Given, KEYS, Mode, Settings, SettingsError};

type Pairs<'p> = &'p [(&'p str, &'p str)];

/// Title, flags, variables, name and text of the file.
type Case<'c> = (&'c str, Pairs<'c>, Pairs<'c>, Option<(&'c str, &'c str)>);

const CASES: &[Case<'_>] = &[
    ("a port that is none", &[("port", "99999"), ("service", "a")], &[], None),
    ("a port of 0", &[("port", "0"), ("service", "a")], &[], None),
    ("a name with a slash", &[("service", "a/b")], &[], None),
    ("a time without a unit", &[("drain", "30")], &[], None),
    ("a time that is too long", &[("drain", "2h")], &[], None),
    ("an address without a port", &[("inbound", "127.0.0.1")], &[], None),
    ("an admin for everybody", &[("admin", "0.0.0.0:15990")], &[], None),
    ("a word that is nearly right", &[("unknown", "refuze")], &[], None),
    ("trust in nobody known", &[("trust", "loopback,regsitry")], &[], None),
    ("a network that is too narrow", &[("trust", "10.0.0.0/33")], &[], None),
    ("an upgrade that is none", &[("upgrade", "h2c")], &[], None),
    ("an upstream without an address", &[("upstream", "inventory")], &[], None),
    ("a service twice", &[("upstream", "a=127.0.0.1:1"), ("upstream", "A=127.0.0.1:2")], &[], None),
    ("endpoints without a port", &[("endpoints", "a=10.0.0.1")], &[], None),
    (
        "a health path that is none",
        &[("health", "well"), ("port", "1"), ("service", "a")],
        &[],
        None,
    ),
    ("a health path of nothing", &[("health", "/well")], &[], None),
    ("a port without a name", &[("port", "8080")], &[], None),
    ("a port and a socket", &[("port", "1"), ("socket", "/a"), ("service", "a")], &[], None),
    ("a protocol under TLS", &[("protocol", "https")], &[], None),
    ("no workers", &[("workers", "0")], &[], None),
    (
        "a certificate without its key",
        &[("tls-cert", "a.crt"), ("port", "80"), ("service", "a")],
        &[],
        None,
    ),
    ("a key without its certificate", &[], &[("OUTRIGGER_TLS_KEY", "a.key")], None),
    ("a certificate that nobody is shown", &[("tls-cert", "a"), ("tls-key", "b")], &[], None),
    ("the edge that trusts", &[("edge", "true"), ("trust", "loopback")], &[], None),
    (
        "two listeners at one port",
        &[("outbound", "127.0.0.1:1"), ("admin", "127.0.0.1:1")],
        &[],
        None,
    ),
    (
        "loopback told to others",
        &[("advertise", "127.0.0.1"), ("consul", "http://consul:8500")],
        &[],
        None,
    ),
    ("a password in an address", &[("consul", "http://me:secret@consul")], &[], None),
    ("a flag twice", &[("zone", "a"), ("zone", "b")], &[], None),
    ("a variable", &[], &[("OUTRIGGER_ADMIN", "everywhere")], None),
    ("a variable of several", &[], &[("OUTRIGGER_CONNECT", "a:1;b;c:3")], None),
    ("a variable that switches", &[], &[("OUTRIGGER_EDGE", "perhaps")], None),
    ("a variable of Consul's", &[], &[("CONSUL_HTTP_ADDR", "consul:x")], None),
    ("a key that is nearly right", &[], &[], Some(("s.toml", "zone = \"a\"\ndrian = \"5s\"\n"))),
    ("a key of the command line", &[], &[], Some(("s.yaml", "check: true\n"))),
    ("a flag as a key", &[], &[], Some(("s.yaml", "no-register: true\n"))),
    ("a key of a policy", &[], &[], Some(("s.yaml", "retry: { attempts: 2 }\n"))),
    ("a key that nobody knows", &[], &[], Some(("s.yaml", "frobnicate: 1\n"))),
    ("a value in a file", &[], &[], Some(("s.toml", "# time\ndrain = \"5 parsecs\"\n"))),
    ("a list for one value", &[], &[], Some(("s.yaml", "zone: [a, b]\n"))),
    ("a section for a list", &[], &[], Some(("s.yaml", "policy: { a: b }\n"))),
    ("a section below a section", &[], &[], Some(("s.yaml", "upstream: { a: { b: c } }\n"))),
    ("nothing for a value", &[], &[], Some(("s.yaml", "zone:\n"))),
    ("a word for a switch", &[], &[], Some(("s.yaml", "edge: maybe\n"))),
    ("a key twice", &[], &[], Some(("s.yaml", "zone: a\nzone: b\n"))),
    ("a file that is a list", &[], &[], Some(("s.yaml", "- zone\n"))),
    ("a file that is broken", &[], &[], Some(("s.toml", "zone = \n"))),
    (
        "two things at once",
        &[("drain", "x")],
        &[("OUTRIGGER_PORT", "x")],
        Some(("s.toml", "zon = 1\n")),
    ),
];

fn message(case: &Case<'_>) -> Result<(), SettingsError> {
    let (_, flags, variables, file) = case;
    let written = match file {
        Some((name, text)) => Some(
            Written::read(name, text, Format::of_name(name))
                .map_err(|report| SettingsError::File(Box::new(report)))?,
        ),
        None => None,
    };
    let mut given = Given::new(Mode::Sidecar);
    for (flag, value) in *flags {
        match given.flags.iter_mut().find(|(there, _)| there == flag) {
            Some((_, values)) => values.push((*value).to_owned()),
            None => given.flags.push(((*flag).to_owned(), vec![(*value).to_owned()])),
        }
    }
    given.variables = variables.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    given.file = written.as_ref();
    Settings::resolve(&given).map(drop)
}

#[test]
fn every_message_is_the_one_that_was_read_and_found_good() {
    let mut all = String::new();
    for case in CASES {
        let error = message(case).expect_err(case.0);
        all.push_str(&format!("# {}\n{error}\n\n", case.0));
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/settings.txt");
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        fs::write(&golden, &all).expect("writes");
    }
    let wanted = fs::read_to_string(&golden).unwrap_or_default();
    assert!(wanted == all, "the messages differ:\n{all}");
    assert!(!all.contains("secret"), "a password is shown");
}

#[test]
fn the_document_lists_every_flag() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/run.md");
    let text = fs::read_to_string(path).expect("docs/run.md");
    for key in KEYS {
        let flag = format!("| `--{}` |", key.flag);
        assert!(text.contains(&flag), "{flag} is missing in docs/run.md");
        let word = format!("`{}", key.name);
        assert!(text.contains(&word), "{word} is missing in docs/run.md");
    }
}
