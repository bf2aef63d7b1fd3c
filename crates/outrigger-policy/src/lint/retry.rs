//! Retries that cannot happen, cannot help, or may harm.

use std::time::Duration;

use outrigger_core::Ratio;
use outrigger_retry::{Condition, Methods, RetryConfig};

use super::Scope;
use super::rules::longer;
use crate::check::Findings;
use crate::finding::Rule;
use crate::scalar::write_duration;
use crate::tree::Node;
use crate::view::first_items;

pub(super) fn check(scope: &Scope<'_>, out: &mut Findings<'_>) {
    let retry = &scope.rules.retry;
    times(scope, retry, out);
    if !scope.path.is_empty() && !scope.is_own("retry") {
        return;
    }
    if retry.backoff.max < retry.backoff.base {
        let message = format!(
            "`backoff.max` is {}, shorter than the `backoff.base` of {}",
            write_duration(retry.backoff.max),
            write_duration(retry.backoff.base)
        );
        let keys = ["retry.backoff.max", "retry.backoff.base"];
        let fix = format!("allowed is {} to 1m", write_duration(retry.backoff.base));
        scope.add(Rule::Contradiction, &keys, message, fix, out);
    }
    methods(scope, retry, out);
    if retry.attempts == 0 {
        return;
    }
    conditions(scope, retry, out);
    budget(scope, retry, out);
    harm(scope, retry, out);
}

fn times(scope: &Scope<'_>, retry: &RetryConfig, out: &mut Findings<'_>) {
    let keys = ["retry.per_try_timeout", "timeout"];
    if !scope.is_here(&["retry.per_try_timeout", "timeout", "retry.attempts"]) {
        return;
    }
    if let Some((one, all)) = longer(retry.per_try_timeout, scope.rules.timeout) {
        let message = format!("`per_try_timeout` is {one}, longer than the `timeout` of {all}");
        let fix =
            format!("allowed is 1ms to {all}: the timeout covers all tries and the waits between");
        scope.add(Rule::PerTryTimeout, &keys, message, fix, out);
        return;
    }
    let (Some(one), Some(all)) = (retry.per_try_timeout, scope.rules.timeout) else { return };
    let tries = u32::from(retry.attempts) + 1;
    let sum = one.saturating_mul(tries);
    if retry.attempts > 0 && sum > all {
        let message = format!(
            "{tries} tries of {} take up to {}, longer than the `timeout` of {}",
            write_duration(one),
            write_duration(sum),
            write_duration(all)
        );
        let fit = u32::try_from(all.as_millis())
            .map_or(one, |ms| Duration::from_millis(u64::from(ms / tries)));
        let fix = format!("the last try is cut short; {} each would fit", write_duration(fit));
        let keys = ["retry.per_try_timeout", "timeout", "retry.attempts"];
        scope.add(Rule::RetriesCutShort, &keys, message, fix, out);
    }
}

/// Whether what a condition names was seen by no endpoint.
const fn is_safe(condition: Condition) -> bool {
    matches!(condition, Condition::ConnectFailure | Condition::RefusedStream)
}

fn methods(scope: &Scope<'_>, retry: &RetryConfig, out: &mut Findings<'_>) {
    let Methods::Listed(names) = &retry.methods else { return };
    let Some(node) = scope.node("retry.methods") else { return };
    let key = scope.key("retry.methods");
    if names.is_empty() && !out.touches(&key) {
        let fix = "list methods, or write `idempotent`";
        out.add(Rule::RetryNever, node.span, &key, "`retry.methods` is an empty list", fix);
    }
    for (at, item) in first_items(node).iter().enumerate() {
        let Some(name) = item.scalar() else { continue };
        let subject = format!("{key}[{at}]");
        if name.contains('/') && !scope.grpc {
            let message = format!("`{name}` is a gRPC method, and the protocol is http");
            let fix = "set `protocol: grpc`, or list HTTP methods";
            out.add(Rule::RetryNever, item.span, &subject, message, fix);
        } else if !name.contains('/') && scope.grpc && name != "POST" {
            let message = format!("`{name}` never comes: every gRPC call is a POST");
            let fix = "list full method names such as stock.Stock/Get";
            out.add(Rule::RetryNever, item.span, &subject, message, fix);
        }
    }
}

fn conditions(scope: &Scope<'_>, retry: &RetryConfig, out: &mut Findings<'_>) {
    let node = scope.node("retry.when");
    let key = scope.key("retry.when");
    if let Some(node) = node
        && !out.touches(&key)
    {
        if retry.when.is_empty() {
            let fix =
                "list conditions such as `[connect_failure, refused_stream]`, or set `attempts: 0`";
            let message = "nothing can trigger the retry: `retry.when` is an empty list";
            out.add(Rule::RetryNever, node.span, &key, message, fix);
        }
        each(scope, retry, node, &key, out);
    }
    let unsafe_ones = retry.when.iter().filter(|condition| !is_safe(**condition)).count();
    if scope.grpc && retry.methods == Methods::Idempotent && unsafe_ones > 0 {
        let message = "no gRPC call is idempotent by its method, so only connect_failure and \
                       refused_stream can trigger the retry";
        let fix = "list the full names of the calls that may run twice in `retry.methods`, or write `all`";
        scope.add(Rule::RetryNever, &["retry.when", "retry.methods"], message, fix, out);
    }
}

fn each(scope: &Scope<'_>, retry: &RetryConfig, node: &Node, key: &str, out: &mut Findings<'_>) {
    let mut seen: Vec<Condition> = Vec::new();
    for (at, item) in first_items(node).iter().enumerate() {
        let Some(Ok(condition)) = item.scalar().map(str::parse::<Condition>) else { continue };
        let subject = format!("{key}[{at}]");
        if seen.contains(&condition) {
            let message = format!("`{condition}` stands twice");
            out.add(Rule::DuplicateName, item.span, &subject, message, "remove one of them");
        }
        seen.push(condition);
        if condition == Condition::Timeout && retry.per_try_timeout.is_none() {
            let message = "`timeout` can never trigger the retry: there is no `per_try_timeout`";
            let fix =
                "add `retry.per_try_timeout`; the whole `timeout` leaves no time for another try";
            out.add(Rule::RetryNever, item.span, &subject, message, fix);
        }
        if let Condition::Grpc(_) = condition
            && !scope.grpc
        {
            let message = format!("`{condition}` is a gRPC status, and the protocol is http");
            let fix = "set `protocol: grpc`, or use a status such as 503";
            out.add(Rule::RetryNever, item.span, &subject, message, fix);
        }
    }
}

fn budget(scope: &Scope<'_>, retry: &RetryConfig, out: &mut Findings<'_>) {
    let budget = &retry.budget;
    let empty = if budget.min_concurrent == 0 {
        "min_concurrent"
    } else if budget.min_per_second == 0 {
        "min_per_second"
    } else {
        ""
    };
    if budget.ratio == Ratio::ZERO && !empty.is_empty() {
        let message = format!(
            "the budget allows no retry: `ratio` and `{empty}` are 0, and `attempts` is {}",
            retry.attempts
        );
        let fix = "set `attempts: 0` to switch retries off, or give the budget something";
        let keys = ["retry.budget.ratio", "retry.budget.min_concurrent", "retry.attempts"];
        scope.add(Rule::BudgetZero, &keys, message, fix, out);
    }
    if budget.ratio > Ratio::HALF && scope.path.is_empty() {
        let message = format!(
            "`budget.ratio` is {}: in trouble, a service gets up to {} times its load",
            budget.ratio,
            1.0 + budget.ratio.get()
        );
        let fix = "0.1 to 0.2 is enough for single failures; more feeds an overload";
        scope.add(Rule::BudgetWide, &["retry.budget.ratio"], message, fix, out);
    }
}

fn harm(scope: &Scope<'_>, retry: &RetryConfig, out: &mut Findings<'_>) {
    if retry.when.iter().all(|condition| is_safe(*condition)) {
        return;
    }
    let named = match &retry.methods {
        Methods::All => "all methods".to_owned(),
        Methods::Listed(names) => {
            let unsafe_ones = ["POST", "PATCH", "CONNECT"];
            match names.iter().find(|name| unsafe_ones.contains(&&***name)) {
                Some(name) => name.to_string(),
                None => return,
            }
        }
        _ => return,
    };
    let message =
        format!("{named} may be delivered twice: an endpoint may have done the work already");
    let fix = "keep it only where the service takes a second delivery without harm, for instance by an \
               idempotency key";
    scope.add(Rule::RetryUnsafe, &["retry.methods"], message, fix, out);
}
