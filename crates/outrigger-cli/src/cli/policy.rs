//! What can be typed after `outrigger policy`.

use clap::{Args, Subcommand};
use outrigger::core::ServiceName;

mod value;

pub(crate) use value::{Base, RuleChoice, Target, VersionPrefix};

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
        outrigger policy pull inventory | outrigger policy explain - --request /stock\n  \
        outrigger policy explain inventory.yaml --targets\n\n{CODES}"))]
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
          value_parser = value::allowable)]
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
    /// Tell instead what becomes of every value where somebody else enforces the rules: exact,
    /// approximate and how, library-only or mesh-only.
    #[arg(long, env = "OUTRIGGER_TARGETS", value_parser = super::flag(), conflicts_with = "request")]
    pub(crate) targets: bool,
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
