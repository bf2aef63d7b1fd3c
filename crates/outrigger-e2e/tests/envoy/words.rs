//! Envoy's words for a policy in ours.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cases::Case;

/// More than any load asks for: Istio sets Envoy's thresholds to their maximum.
const PLENTY: &str = "{ ratio: 1, min_concurrent: 10000, min_per_second: 100000 }";

/// The policy of `stock` that says what the case says to Envoy.
pub(crate) fn outbound(case: &Case) -> String {
    let mut text = "version: 1\nservice: stock\n".to_owned();
    if let Some(timeout) = case.time("timeout") {
        line(&mut text, &format!("timeout: {}", millis(timeout)));
    }
    line(&mut text, &retry(case));
    let lb = case.policy["lb"].as_str().unwrap_or("ROUND_ROBIN").to_lowercase();
    let panic = ["healthy_panic_threshold", "panic"].iter().find_map(|key| case.number(key));
    // Plain Envoy knows neither slow start nor zones until it is told of them.
    line(
        &mut text,
        &format!(
            "balance: {{ algorithm: {lb}, slow_start: none, locality: none, panic_below: {} }}",
            panic.unwrap_or(0.0) / 100.0
        ),
    );
    line(&mut text, &eject(case));
    capacity(&mut text, case);
    fault(&mut text, case);
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

pub(crate) fn millis(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

fn retry(case: &Case) -> String {
    let Some(attempts) = case.number("num_retries") else {
        return "retry: { attempts: 0 }".to_owned();
    };
    let mut when = Vec::new();
    for word in case.policy["retry_on"].as_str().unwrap_or_default().split(',') {
        match word {
            "5xx" => when.push("5xx".to_owned()),
            "gateway-error" => when.push("gateway_error".to_owned()),
            "reset" => when.push("reset".to_owned()),
            // Before any byte was written, which is what we call a connect failure.
            "connect-failure" | "reset-before-request" => when.push("connect_failure".to_owned()),
            "refused-stream" => when.push("refused_stream".to_owned()),
            // gRPC's codes, which a policy of HTTP does not take.
            "unavailable" | "cancelled" => {}
            "retriable-status-codes" => {
                let listed = case.policy["retriable_status_codes"].as_array();
                when.extend(listed.into_iter().flatten().map(ToString::to_string));
            }
            other => panic!("{}: nobody knows {other}", case.id),
        }
    }
    when.dedup();
    let budget = match (case.number("max_retries"), case.number("budget_percent")) {
        (Some(most), _) => {
            format!("{{ ratio: 0, min_concurrent: {most}, min_per_second: 100000 }}")
        }
        (_, Some(percent)) => {
            let least = case.number("min_retry_concurrency").expect("beside the percentage");
            let ratio = percent / 100.0;
            format!("{{ ratio: {ratio}, min_concurrent: {least}, min_per_second: 100000 }}")
        }
        _ => PLENTY.to_owned(),
    };
    let mut text = format!(
        "retry: {{ attempts: {attempts}, when: [{}], methods: all, budget: {budget}",
        when.join(", ")
    );
    if let Some(base) = case.policy["base_interval"].as_str() {
        // `25ms (default)`, and ten times as much at most.
        let base = base.split(' ').next().expect("a word");
        let tenfold = 10 * base.trim_end_matches("ms").parse::<u32>().expect("milliseconds");
        write!(text, ", backoff: {{ base: {base}, max: {tenfold}ms }}").expect("a text");
    }
    if let Some(one) = case.time("per_try_timeout")
        && case.policy["hedge_on_per_try_timeout"] != true
    {
        write!(text, ", per_try_timeout: {}", millis(one)).expect("a text");
    }
    text + " }"
}

fn eject(case: &Case) -> String {
    let (errors, count) =
        match (case.number("consecutive_5xx"), case.number("consecutive_gateway_failure")) {
            (_, Some(count)) => ("gateway", count),
            (Some(count), None) => ("server", count),
            (None, None) => return "eject: none".to_owned(),
        };
    let most = case.number("max_ejection_percent").unwrap_or(100.0) / 100.0;
    let mut text =
        format!("eject: {{ errors: {errors}, consecutive_errors: {count}, max_ejected: {most:?}");
    for (theirs, ours) in [("interval", "interval"), ("base_ejection_time", "base_time")] {
        if let Some(time) = case.time(theirs) {
            write!(text, ", {ours}: {}", millis(time)).expect("a text");
        }
    }
    text + " }"
}

fn capacity(text: &mut String, case: &Case) {
    let (requests, connections, pending) = (
        case.number("max_requests"),
        case.number("max_connections"),
        case.number("max_pending_requests"),
    );
    if (requests, connections, pending) == (None, None, None) {
        return;
    }
    // A limit of nothing cannot be said; whoever runs such a case fills the one place.
    let requests = requests.unwrap_or(1_048_576.0).max(1.0);
    let (connections, pending) = (connections.unwrap_or(65_536.0), pending.unwrap_or(1_048_576.0));
    line(
        text,
        &format!(
            "capacity: {{ max_requests: {requests}, max_connections: {connections}, max_pending: {pending} }}"
        ),
    );
}

fn fault(text: &mut String, case: &Case) {
    let fault = &case.policy["fault"];
    let what = if let Some(status) = fault["abort"].as_u64() {
        format!("abort: {{ ratio: 1, status: {status} }}")
    } else if let Some(delay) = fault["delay"].as_str() {
        let secs = delay.trim_end_matches('s').parse().expect("seconds");
        format!("delay: {{ ratio: 1, for: {} }}", millis(Duration::from_secs_f64(secs)))
    } else {
        return;
    };
    line(text, &everything(&format!("fault: {{ {what} }}")));
}

/// A route for every request that does this.
pub(crate) fn everything(what: &str) -> String {
    format!("routes: [ {{ name: all, match: {{ path_prefix: / }}, {what} }} ]")
}
