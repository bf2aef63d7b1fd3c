//! Times, circuits and hashes of a route, or of the service as a whole.

use std::time::Duration;

use outrigger_breaker::{Mode, Window};
use outrigger_retry::Methods;

use super::{Scope, retry};
use crate::check::Findings;
use crate::finding::Rule;
use crate::model::{Breaker, Fallback, Policy};
use crate::scalar::write_duration;

pub(super) fn check(scope: &Scope<'_>, policy: &Policy, out: &mut Findings<'_>) {
    let rules = scope.rules;
    if rules.timeout.is_none() && scope.is_here(&["timeout"]) {
        let fix =
            "give the longest time that a caller may wait; streams obey `idle_timeout` anyway";
        let message = "`timeout: none` lets a request hang for as long as its endpoint does";
        scope.add(Rule::NoTimeout, &["timeout"], message, fix, out);
    }
    retry::check(scope, out);
    hedge(scope, out);
    if let Some(breaker) = &rules.breaker
        && scope.is_here(&["breaker", "timeout"])
    {
        circuit(scope, breaker, policy, out);
    }
    if scope.node("balance.hash_on").is_some()
        && !policy.balance.algorithm.is_hashing()
        && scope.is_here(&["balance.hash_on"])
    {
        let message = format!(
            "`hash_on` is given, and the algorithm `{}` does not look at it",
            policy.balance.algorithm.as_str()
        );
        let fix = "use `balance.algorithm: ring_hash` or `maglev`, or remove it";
        scope.add(Rule::UnusedKey, &["balance.hash_on"], message, fix, out);
    }
}

/// A time that should come before another one, and does not.
pub(super) fn longer(a: Option<Duration>, b: Option<Duration>) -> Option<(String, String)> {
    let (a, b) = (a?, b?);
    (a > b).then(|| (write_duration(a), write_duration(b)))
}

fn hedge(scope: &Scope<'_>, out: &mut Findings<'_>) {
    let Some(hedge) = scope.rules.hedge else { return };
    let keys = ["hedge.after", "timeout", "retry.per_try_timeout", "hedge"];
    if !scope.is_here(&keys) {
        return;
    }
    for (key, limit) in [
        ("timeout", scope.rules.timeout),
        ("retry.per_try_timeout", scope.rules.retry.per_try_timeout),
    ] {
        if let Some(limit) = limit
            && hedge.after >= limit
        {
            let message = format!(
                "`hedge.after` is {}, and the `{key}` of {} ends a try before that",
                write_duration(hedge.after),
                write_duration(limit)
            );
            let fix = "hedge about as late as the slowest twentieth of the answers";
            scope.add(Rule::TimeNeverReached, &["hedge.after", key], message, fix, out);
            return;
        }
    }
    if scope.grpc && scope.rules.retry.methods == Methods::Idempotent {
        let message = "`hedge` can never happen: no gRPC call is idempotent by its method";
        let fix = "list the full names of the calls that may run twice in `retry.methods`";
        scope.add(Rule::RetryNever, &["hedge", "retry.methods"], message, fix, out);
    }
}

fn circuit(scope: &Scope<'_>, breaker: &Breaker, policy: &Policy, out: &mut Findings<'_>) {
    let config = &breaker.config;
    let span = |key: &str| format!("breaker.{key}");
    for (small, large, a, b) in [
        ("open_for", "max_open_for", config.open_for, config.max_open_for),
        ("probe_lease", "max_half_open", config.probe_lease, config.max_half_open),
    ] {
        if a > b {
            let message = format!(
                "`{large}` is {}, shorter than the `{small}` of {}",
                write_duration(b),
                write_duration(a)
            );
            let fix = format!("allowed is {} to 24h", write_duration(a));
            scope.add(Rule::Contradiction, &[&span(large), &span(small)], message, fix, out);
        }
    }
    if let Window::Calls(calls) = config.window
        && config.min_calls > calls
    {
        let message = format!(
            "`min_calls` is {}, and the window never holds more than {calls} calls: the circuit never opens",
            config.min_calls
        );
        let fix = format!("allowed is 1 to {calls}");
        scope.add(Rule::Contradiction, &["breaker.min_calls", "breaker.window"], message, fix, out);
    }
    if let Some(slow) = config.slow_call {
        if let Window::Time(window) = config.window
            && window < slow.after
        {
            let message = format!(
                "the window of {} is shorter than a slow call, {}: it holds the slow calls of one moment only",
                write_duration(window),
                write_duration(slow.after)
            );
            let fix = "make the window several times as long as a slow call";
            scope.add(
                Rule::WindowTooShort,
                &["breaker.window", "breaker.slow_call.after"],
                message,
                fix,
                out,
            );
        }
        if let Some((after, timeout)) = longer(Some(slow.after), scope.rules.timeout) {
            let message = format!(
                "`slow_call.after` is {after}, and the `timeout` of {timeout} ends every call before that"
            );
            let fix = "a call that times out is a failure already; set it well below the timeout";
            scope.add(
                Rule::TimeNeverReached,
                &["breaker.slow_call.after", "timeout"],
                message,
                fix,
                out,
            );
        }
    }
    if let Some(node) = scope.node("breaker.fallback")
        && scope.is_here(&["breaker.fallback"])
    {
        let key = scope.key("breaker.fallback");
        let answers =
            ["status", "body", "content_type"].into_iter().find(|key| node.get(key).is_some());
        if let (Some(service), Some(other)) = (node.entry("service"), answers)
            && let Some((other, _)) = node.entry(other)
        {
            let message = format!("`fallback` has `service` and `{}`", other.name);
            let fix = "either another service is asked, or an answer stands here; remove one";
            let also = (service.0.span, "and this");
            out.add_with(Rule::Contradiction, other.span, &key, message, fix, also);
        }
        if breaker.fallback.is_some() && matches!(config.mode, Mode::Observe | Mode::Disabled) {
            let message = "`fallback` is never used: in this `mode` the circuit refuses nothing";
            let fix = "it waits for `mode: enforce`; remove it if that is not meant";
            let keys = ["breaker.fallback", "breaker.mode"];
            scope.add(Rule::UnusedKey, &keys, message, fix, out);
        }
        if let Some(Fallback::Service(service)) = &breaker.fallback
            && policy.service.as_ref() == Some(service)
        {
            let message = format!("the fallback of `{service}` is `{service}` itself");
            let fix = "name another service, or give an answer: `{ status: 200, body: \"[]\" }`";
            out.add(Rule::Contradiction, node.span, &key, message, fix);
        }
    }
}
