//! What can be typed after `outrigger policy`.

use std::str::FromStr;

use clap::{Args, Subcommand};
use outrigger::core::{PolicyVersion, ServiceName};
use outrigger_policy::{Rule, Severity};

const CODES: &str = "Exit codes: 0 done, or no mistake found; 1 what was looked at does not hold: \
                     mistakes, a failed test, another form, a stale base, a version that is not there; \
                     2 usage, or a file that is of no use, with its place; 3 the registry cannot be \
                     reached or denies it.";

/// The commands of `policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Tell what is wrong with policies, where, and how to mend it.
    #[command(after_help = format!("Examples:\n  outrigger policy check policies/*.yaml\n  \
        outrigger policy check --deny warnings --json policies\n  \
        outrigger policy check --allow no_timeout - < inventory.yaml\n\n\
        A folder stands for the policies in it. {CODES}"))]
    Check(CheckArgs),
    /// Bring policies into their one form; comments stay where they belong.
    #[command(after_help = format!("Examples:\n  outrigger policy fmt policies\n  \
        outrigger policy fmt --check policies\n  outrigger policy fmt - < inventory.yaml\n\n\
        Files that change are named on stdout. A file that could not be read again as the same \
        policy, comments included, is left as it is. {CODES}"))]
    Fmt(FmtArgs),
    /// Print the JSON Schema of a policy, from which editors complete and explain its keys.
    #[command(after_help = "Example:\n  outrigger policy schema > policy.schema.json\n\n\
        In editors with the YAML language server, the first line of a policy may be\n  \
        # yaml-language-server: $schema=policy.schema.json\n\
        What values must hold against each other, only `outrigger policy check` knows.")]
    Schema,
    /// Tell in sentences what changes for a request from one policy to another.
    #[command(after_help = format!("Examples:\n  outrigger policy diff old.yaml new.yaml\n  \
        outrigger policy pull inventory | outrigger policy diff - policies/inventory.yaml\n\n{CODES}"))]
    Diff(DiffArgs),
    /// Tell every value that holds and where it comes from, or what becomes of one request.
    #[command(after_help = format!("Examples:\n  outrigger policy explain inventory.yaml\n  \
        outrigger policy explain inventory.yaml --request 'GET /v2/stock?beta=1' -H 'x-canary: 1'\n  \
        outrigger policy pull inventory | outrigger policy explain - --request /stock\n\n{CODES}"))]
    Explain(ExplainArgs),
    /// Hold a policy against what its owner expects of it.
    #[command(after_help = format!("Examples:\n  outrigger policy test policies/inventory.yaml\n  \
        outrigger policy test policies\n  \
        outrigger policy test - --tests inventory.test.yaml < inventory.yaml\n\n\
        The expectations of `inventory.yaml` are in `inventory.test.yaml` beside it:\n\n  \
        version: 1\n  policy: inventory.yaml\n  tests:\n    - name: version 2 is split between java and rust\n      \
        request: GET /v2/stock\n      headers: {{ x-canary: \"1\" }}\n      caller: orders\n      \
        expect:\n        route: rewrite\n        split: {{ java: 90, rust: 10 }}\n        \
        mirror: none\n        limits: [per-caller]\n        refused: none\n        \
        rules: {{ timeout: 5s, retry.attempts: 2 }}\n\n{CODES}"))]
    Test(TestArgs),
    /// Put policies into Consul's KV, where every library and sidecar follows them.
    #[command(after_help = format!("Examples:\n  outrigger policy push policies/inventory.yaml\n  \
        outrigger policy push --base 3f2a9c07d1e4 policies/inventory.yaml\n  \
        outrigger policy push --dry-run policies\n  \
        outrigger policy push --default - < _default.yaml\n  \
        outrigger policy push --remove inventory\n\n\
        Nothing is written unless every file holds. Each is written only when what stands there is \
        still what was read; the last 10 versions are kept for `rollback`.\n\n{CODES}"))]
    Push(PushArgs),
    /// Print the policy that is in force, as it was written.
    #[command(after_help = format!("Examples:\n  outrigger policy pull inventory > inventory.yaml\n  \
        outrigger policy pull inventory 3f2a9c07d1e4\n  outrigger policy pull _default\n\n{CODES}"))]
    Pull(PullArgs),
    /// List the last 10 versions, the newest first.
    #[command(after_help = format!("Examples:\n  outrigger policy history inventory\n  \
        outrigger policy history --json inventory\n\n{CODES}"))]
    History(HistoryArgs),
    /// Put an earlier version in force again.
    #[command(after_help = format!("Examples:\n  outrigger policy rollback inventory\n  \
        outrigger policy rollback inventory 3f2a9c07d1e4\n\n\
        Without a version it is the one before the one in force. It is a push of the old text, and \
        stands in the history as one.\n\n{CODES}"))]
    Rollback(RollbackArgs),
}

/// Which registry.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// Consul's URL. Without it `CONSUL_HTTP_ADDR`, else http://127.0.0.1:8500; the other
    /// `CONSUL_*` variables of the official client (token, TLS, namespace) are read too.
    #[arg(long, env = "OUTRIGGER_CONSUL", value_name = "URL")]
    pub(crate) consul: Option<String>,
}

/// How warnings are taken.
#[derive(Debug, Args)]
pub(crate) struct StrictArgs {
    /// Take a warning for an error: `warnings` for all, or the name of its rule. Repeatable.
    #[arg(long, env = "OUTRIGGER_DENY", value_name = "warnings|RULE", value_delimiter = ';')]
    pub(crate) deny: Vec<RuleChoice>,
    /// Leave a warning out: `warnings` for all, or the name of its rule. Repeatable; it counts
    /// for more than `--deny`.
    #[arg(long, env = "OUTRIGGER_ALLOW", value_name = "warnings|RULE", value_delimiter = ';',
          value_parser = allowable)]
    pub(crate) allow: Vec<RuleChoice>,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Files, folders, or `-` for stdin.
    #[arg(required = true, value_name = "FILES")]
    pub(crate) files: Vec<String>,
    /// Print one JSON document on stdout: an array of findings.
    #[arg(long, env = "OUTRIGGER_JSON", value_parser = super::flag())]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) strict: StrictArgs,
}

/// Flags of `fmt`.
#[derive(Debug, Args)]
pub(crate) struct FmtArgs {
    /// Files, folders, or `-` for stdin; the last is printed on stdout.
    #[arg(required = true, value_name = "FILES")]
    pub(crate) files: Vec<String>,
    /// Name the files that are not in their form, and change none.
    #[arg(long, env = "OUTRIGGER_CHECK", value_parser = super::flag())]
    pub(crate) check: bool,
}

/// Flags of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The policy before, or `-` for stdin.
    #[arg(value_name = "A")]
    pub(crate) before: String,
    /// The policy after, or `-` for stdin.
    #[arg(value_name = "B")]
    pub(crate) after: String,
    /// Print one JSON document on stdout.
    #[arg(long, env = "OUTRIGGER_JSON", value_parser = super::flag())]
    pub(crate) json: bool,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The policy, or `-` for stdin.
    pub(crate) file: String,
    /// A request, such as `GET /v2/x?y=1`; only its route and rules are told then.
    #[arg(long, env = "OUTRIGGER_REQUEST", value_name = "'METHOD /PATH'")]
    pub(crate) request: Option<String>,
    /// A header of the request. Repeatable.
    #[arg(
        short = 'H',
        long,
        env = "OUTRIGGER_HEADER",
        value_name = "'NAME: VALUE'",
        requires = "request"
    )]
    pub(crate) header: Vec<String>,
    /// Who sends the request, for the rules of the service itself.
    #[arg(long, env = "OUTRIGGER_CALLER", value_name = "SERVICE", requires = "request")]
    pub(crate) caller: Option<ServiceName>,
    /// Print one JSON document on stdout.
    #[arg(long, env = "OUTRIGGER_JSON", value_parser = super::flag())]
    pub(crate) json: bool,
}

/// Flags of `test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Policies, their test files, folders of both, or `-` for a policy on stdin.
    #[arg(required = true, value_name = "FILES")]
    pub(crate) files: Vec<String>,
    /// The expectations, when they are not beside the policy; `-` for stdin.
    #[arg(long, env = "OUTRIGGER_TESTS", value_name = "FILE")]
    pub(crate) tests: Option<String>,
    /// Print one JSON document on stdout.
    #[arg(long, env = "OUTRIGGER_JSON", value_parser = super::flag())]
    pub(crate) json: bool,
}

/// Who writes, and whether.
#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    /// Say what would be written, and write nothing.
    #[arg(long, env = "OUTRIGGER_DRY_RUN", value_parser = super::flag())]
    pub(crate) dry_run: bool,
    /// Who it is that writes, for the history; `user@machine` when not given.
    #[arg(long, env = "OUTRIGGER_BY", value_name = "WHO")]
    pub(crate) by: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Flags of `push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Files, folders, or `-` for stdin.
    #[arg(required_unless_present = "remove", conflicts_with = "remove", value_name = "FILES")]
    pub(crate) files: Vec<String>,
    /// The version that is expected to be in force, `none` for no policy at all; anything else
    /// there is refused.
    #[arg(long, env = "OUTRIGGER_BASE", value_name = "VERSION|none")]
    pub(crate) base: Option<Base>,
    /// Remove the policy of this service: whoever obeyed it goes on without one.
    #[arg(long, env = "OUTRIGGER_REMOVE", value_name = "SERVICE")]
    pub(crate) remove: Option<Target>,
    /// The file that names no service is the fleet's default, though it is not `_default.yaml`.
    #[arg(long, env = "OUTRIGGER_DEFAULT", value_parser = super::flag())]
    pub(crate) default: bool,
    #[command(flatten)]
    pub(crate) strict: StrictArgs,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
}

/// Flags of `pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The service, or `_default`.
    pub(crate) service: Target,
    /// A version of the history, or the beginning of one; the one in force when left out.
    pub(crate) version: Option<VersionPrefix>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Flags of `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The service, or `_default`.
    pub(crate) service: Target,
    /// Print one JSON document on stdout.
    #[arg(long, env = "OUTRIGGER_JSON", value_parser = super::flag())]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Flags of `rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The service, or `_default`.
    pub(crate) service: Target,
    /// The version to go back to, or the beginning of it.
    pub(crate) version: Option<VersionPrefix>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
}

/// Whose policy: a service's, or the fleet's `_default`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// The fleet's default.
    Default,
    /// A service.
    Service(ServiceName),
}

impl Target {
    /// As it stands in the registry's key.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Default => "_default",
            Self::Service(name) => name.as_str(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "_default" {
            return Ok(Self::Default);
        }
        // Callers ask for a service without regard to case, and a key has one.
        let folded = ServiceName::new(&text.to_ascii_lowercase());
        folded.map(Self::Service).map_err(|error| error.to_string())
    }
}

/// One rule, or all of those that warn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleChoice {
    /// Every warning.
    Warnings,
    /// One rule.
    One(Rule),
}

impl FromStr for RuleChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "warnings" {
            return Ok(Self::Warnings);
        }
        text.parse().map(Self::One).map_err(|_| {
            let names: Vec<_> = warnings().map(bare).collect();
            format!("no such rule; there are `warnings` for all, and {}", names.join(", "))
        })
    }
}

fn allowable(text: &str) -> Result<RuleChoice, String> {
    match text.parse()? {
        RuleChoice::One(rule) if rule.severity() == Severity::Error => {
            let names: Vec<_> = warnings().map(bare).collect();
            Err(format!("it is an error; only warnings can be left out: {}", names.join(", ")))
        }
        choice => Ok(choice),
    }
}

fn warnings() -> impl Iterator<Item = Rule> {
    Rule::ALL.iter().copied().filter(|rule| rule.severity() == Severity::Warning)
}

fn bare(rule: Rule) -> &'static str {
    rule.id().trim_start_matches("policy::")
}

/// A version, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionPrefix(Box<str>);

impl VersionPrefix {
    /// Whether it means this version.
    pub(crate) fn means(&self, version: PolicyVersion) -> bool {
        format!("{:012x}", version.0).starts_with(&*self.0)
    }
}

impl std::fmt::Display for VersionPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VersionPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let fits = (4..=12).contains(&lower.len()) && lower.bytes().all(|b| b.is_ascii_hexdigit());
        if fits {
            Ok(Self(lower.into()))
        } else {
            Err("a version has 12 hex digits, such as 3f2a9c07d1e4; its first 4 are enough"
                .to_owned())
        }
    }
}

/// What a push expects to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing: there is no policy yet, or it was removed.
    None,
    /// This version.
    Version(VersionPrefix),
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Version(version) => version.fmt(f),
        }
    }
}

impl FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            version => version
                .parse()
                .map(Self::Version)
                .map_err(|error: String| format!("{error}; `none` stands for no policy")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_be_shortened_to_four_digits() {
        let prefix: VersionPrefix = "3F2a".parse().expect("a prefix");
        assert!(prefix.means(PolicyVersion(0x3f2a_9c07_d1e4)));
        assert!(!prefix.means(PolicyVersion(0x03f2_a9c0_7d1e)), "leading zeros count");
        for bad in ["3f2", "3f2a9c07d1e40", "3f2g", "#3", ""] {
            assert!(bad.parse::<VersionPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_warnings_can_be_left_out() {
        assert_eq!(allowable("no_timeout"), Ok(RuleChoice::One(Rule::NoTimeout)));
        assert_eq!(allowable("warnings"), Ok(RuleChoice::Warnings));
        assert!(allowable("unknown_key").is_err_and(|text| text.contains("no_timeout")));
        assert!("no_timeuot".parse::<RuleChoice>().is_err_and(|text| text.contains("no_timeout")));
    }

    #[test]
    fn a_target_is_a_service_or_the_default() {
        assert_eq!("_default".parse(), Ok(Target::Default));
        assert_eq!("inventory".parse::<Target>().expect("a service").as_str(), "inventory");
        assert!("a/b".parse::<Target>().is_err(), "it would be another key");
    }
}
