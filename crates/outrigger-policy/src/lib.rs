//! The policy file: one set of rules for how callers reach a service and what it accepts, read with
//! places, checked as a compiler would, and compiled to a plan.
//!
//! Pure: no clock, no I/O, no async. Whoever watches files or Consul's KV hands the text in.
//!
//! ```
//! use http::{HeaderMap, Method};
//! use outrigger_policy::{Format, Plan, Policy};
//!
//! let text = "
//! version: 1
//! service: inventory
//! subsets: { rust: { language: rust }, java: { language: java } }
//! routes:
//!   - name: v2
//!     match: { path_prefix: /v2 }
//!     split: [ { subset: java, weight: 90 }, { subset: rust, weight: 10 } ]
//! ";
//! let parsed = Policy::parse("inventory.yaml", text, Format::Yaml)?;
//! let plan = Plan::compile(&parsed.policy);
//! let (_, route) = plan.route(&Method::GET, "/v2/stock", None, &HeaderMap::new());
//! assert_eq!(route.name.as_str(), "v2");
//!
//! let report = Policy::parse("x.yaml", "version: 1\ntiemout: 5s\n", Format::Yaml).unwrap_err();
//! assert!(report.to_string().contains("did you mean `timeout`?"));
//! # Ok::<(), outrigger_policy::Report>(())
//! ```
//!
//! | to … | see |
//! | --- | --- |
//! | read and check | [`Policy::parse`], [`Report`], [`Finding`], [`Rule`] |
//! | know what a file says | [`Policy`]: every field, with what it left out filled in |
//! | obey it | [`Plan::compile`], [`Plan::route`], [`RoutePlan`], [`InboundPlan`] |
//! | tell where a value comes from | [`Parsed::explain`], [`Parsed::explain_request`] |
//! | tell what a change changes | [`Difference::between`] |
//! | run an owner's expectations | [`Parsed::run_tests`] |
//! | bring a file into its one form | [`format()`] |
//! | complete in an editor, look up a key | [`schema`], [`reference()`], `docs/policy.md` |
//! | read another file in the same way | [`Written`], [`nearest`] |
//!
//! A policy built in code is a [`Policy`] as well: change its default and compile it.

mod check;
mod diff;
mod document;
mod effective;
mod explain;
mod fields;
mod finding;
mod lint;
mod model;
mod plan;
mod pretty;
mod read;
mod scalar;
mod source;
mod tombstone;
mod tree;
mod trial;
mod view;
mod written;

pub use diff::{Change, Difference};
pub use document::{reference, schema};
pub use effective::{Effective, Origin};
pub use explain::{
    Explanation, RequestExplanation, RequestSample, RouteExplanation, SampleError, Skipped, Step,
};
pub use finding::{Finding, Report, Rule, Severity, UnknownRule};
pub use model::{
    Abort, AccessLog, Authorize, AuthorizeMode, AuthorizeRule, Breaker, Capacity, Compare,
    Concurrency, Delay, Fallback, Fault, From, GrpcStatus, HashKey, HeaderEdits, HeaderRules,
    Inbound, InboundRate, MeshAddress, Mirror, OutboundRate, PathMatch, PathPattern, Pattern,
    PatternError, Per, Policy, PolicyProtocol, Route, RouteMatch, RouteRules, Shed, Split,
    SplitPart, Telemetry, TextMatch, Tls, Verdict,
};
pub use plan::{
    InboundPlan, InboundRatePlan, Matcher, MirrorPlan, Plan, RequestView, RoutePlan, SplitPlan,
    SplitPlanPart, SubsetPlan,
};
pub use pretty::{FormatError, format};
pub use read::Parsed;
pub use scalar::nearest;
pub use source::{Format, Place, version_of};
pub use tombstone::{TOMBSTONE, is_tombstone};
pub use trial::{TestOutcome, TestReport};
pub use written::{Written, WrittenValue};

// What the fields of a policy are made of, for whoever reads them without the rules themselves.
pub use outrigger_balance::{
    Algorithm, BalanceConfig, EjectConfig, ErrorClass, Locality, SlowStart, Subset,
};
pub use outrigger_core::Ratio;
pub use outrigger_limit::{Mode, RateLimitConfig};
pub use outrigger_retry::{BudgetConfig, Condition, Methods, RetryConfig};
