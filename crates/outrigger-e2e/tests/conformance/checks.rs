//! Checks: reported by the instance, or run by the agent.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use crate::run::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a fresh TTL check is critical until it is reported", script: ttl_fresh },
    Case { name: "a TTL check goes through all states", script: ttl_states },
    Case { name: "a TTL check that is not reported turns critical", script: ttl_expires },
    Case { name: "a check is updated with a body", script: update },
    Case { name: "unknown checks cannot be reported", script: unknown },
    Case { name: "only TTL checks can be reported", script: not_ttl },
    Case { name: "an HTTP check follows the status it gets", script: http },
    Case { name: "a TCP check follows the listener", script: tcp },
    Case { name: "a refused HTTP check is critical", script: http_refused },
    Case { name: "a gRPC check follows the health it gets", script: grpc },
    Case { name: "a check is registered by itself", script: by_itself },
    Case { name: "a node check counts for every service", script: node_check },
    Case { name: "the agent tells health by id and name", script: agent_health },
    Case { name: "impossible checks are refused", script: impossible },
];

const STATUS: &str = "/v1/health/checks/web";

fn is(status: &str) -> impl Fn(&outrigger_e2e::raw::Answer) -> bool {
    let status = status.to_owned();
    move |answer| {
        answer.json().is_some_and(|checks| {
            checks.as_array().is_some_and(|all| all.iter().any(|c| c["Status"] == status.as_str()))
        })
    }
}

fn ttl_fresh(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Check": {"TTL": "1h"}}));
    run.get(STATUS).has("/0/Status", "critical").done();
    run.get("/v1/health/service/web?passing=1").is(json!([])).done();
    run.get("/v1/health/service/web?passing=false").counts(1).done();
    run.register(&json!({"Name": "born", "Check": {"TTL": "1h", "Status": "passing"}}));
    run.get("/v1/health/service/born?passing").counts(1).done();
}

fn ttl_states(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Check": {"TTL": "1h"}}));
    for (verb, status) in [("pass", "passing"), ("warn", "warning"), ("fail", "critical")] {
        run.put(&format!("/v1/agent/check/{verb}/service:web?note=n%20{verb}"), &Value::Null)
            .says(200, "");
        run.get("/v1/agent/checks").has("/service:web/Output", format!("n {verb}")).done();
        run.until(STATUS, is(status)).has("/0/Status", status).done();
        run.get(&format!("/v1/health/state/{status}")).status(200).done();
    }
}

fn ttl_expires(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Check": {"TTL": "300ms"}}));
    run.put("/v1/agent/check/pass/service:web?note=fine", &Value::Null).says(200, "");
    run.await_answer(STATUS, is("passing"));
    run.until(STATUS, is("critical"))
        .has("/0/Output", "TTL expired (last output before timeout follows): fine")
        .done();
}

fn update(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "Check": {"TTL": "1h"}}));
    let to = |status: &str| json!({"Status": status, "Output": "said so"});
    run.put("/v1/agent/check/update/service:web", &to("warning")).says(200, "");
    run.until(STATUS, is("warning")).has("/0/Output", "said so").done();
    run.put("/v1/agent/check/update/service:web", &to("fine"))
        .says(400, "Invalid check status: 'fine'");
    run.put_raw("/v1/agent/check/update/service:web", "").says(400, "Request decode failed: EOF");
}

fn unknown(run: &mut Run<'_>) {
    let why = "Unknown check ID \"nope\". Ensure that the check ID is passed, not the check name.";
    for verb in ["pass", "warn", "fail"] {
        run.put(&format!("/v1/agent/check/{verb}/nope"), &Value::Null).says(404, why);
    }
    run.put("/v1/agent/check/update/nope", &json!({"Status": "passing"})).says(404, why);
    run.put("/v1/agent/check/deregister/nope", &Value::Null).says(404, why);
}

fn not_ttl(run: &mut Run<'_>) {
    let check = json!({"TCP": "127.0.0.1:1", "Interval": "1h"});
    run.register(&json!({"Name": "web", "Check": check}));
    run.put("/v1/agent/check/pass/service:web", &Value::Null)
        .says(500, "CheckID \"service:web\" does not have associated TTL");
}

/// A server whose answers have whatever status is set.
struct Server {
    address: SocketAddr,
    status: Arc<AtomicU16>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let status = Arc::new(AtomicU16::new(200));
        let shown = status.clone();
        // It ends with the test process; there is one per case that needs it.
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(mut socket) = socket else { return };
                let _read = socket.read(&mut [0; 4096]);
                let status = shown.load(Ordering::SeqCst);
                let reason = match status {
                    200 => "OK",
                    429 => "Too Many Requests",
                    _ => "Internal Server Error",
                };
                let head = format!(
                    "HTTP/1.1 {status} {reason}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
                );
                let _sent = socket.write_all(head.as_bytes());
            }
        });
        Self { address, status }
    }
}

fn http(run: &mut Run<'_>) {
    let server = Server::start();
    let url = format!("http://{}/health", server.address);
    let check = json!({"HTTP": url, "Interval": "1s", "Timeout": "1s"});
    run.register(&json!({"Name": "web", "Check": check}));
    run.until(STATUS, is("passing"))
        .has("/0/Output", format!("HTTP GET {url}: 200 OK Output: ok"))
        .done();
    server.status.store(429, Ordering::SeqCst);
    run.until(STATUS, is("warning")).has("/0/Status", "warning").done();
    server.status.store(500, Ordering::SeqCst);
    run.until(STATUS, is("critical")).has("/0/Status", "critical").done();
}

fn tcp(run: &mut Run<'_>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    run.register(&json!({"Name": "web", "Check": {"TCP": address, "Interval": "1s"}}));
    run.until(STATUS, is("passing"))
        .has("/0/Output", format!("TCP connect {address}: Success"))
        .done();
    drop(listener);
    run.until(STATUS, is("critical"))
        .has("/0/Output", format!("dial tcp {address}: connect: connection refused"))
        .done();
}

fn http_refused(run: &mut Run<'_>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    run.register(
        &json!({"Name": "web", "Check": {"HTTP": url, "Interval": "1s", "Status": "passing"}}),
    );
    run.until(STATUS, is("critical")).status(200).done();
}

/// Answers calls of gRPC's health protocol with a status until the runtime is dropped.
async fn serve_health(listener: tokio::net::TcpListener, status: Arc<AtomicU16>) {
    while let Ok((socket, _)) = listener.accept().await {
        let status = status.clone();
        let answer = move |_request| {
            let health = u8::try_from(status.load(Ordering::SeqCst)).unwrap_or(0);
            async move {
                let message = bytes::Bytes::from(vec![0, 0, 0, 0, 2, 8, health]);
                let trailers = http::HeaderMap::from_iter([(
                    http::HeaderName::from_static("grpc-status"),
                    http::HeaderValue::from_static("0"),
                )]);
                let body = http_body_util::Full::new(message);
                let body =
                    http_body_util::BodyExt::with_trailers(body, async { Some(Ok(trailers)) });
                http::Response::builder().header("content-type", "application/grpc").body(body)
            }
        };
        tokio::spawn(
            hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                .serve_connection(
                    hyper_util::rt::TokioIo::new(socket),
                    hyper::service::service_fn::<_, hyper::body::Incoming, _>(answer),
                ),
        );
    }
}

fn grpc(run: &mut Run<'_>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener =
        runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let status = Arc::new(AtomicU16::new(1));
    runtime.spawn(serve_health(listener, status.clone()));
    run.register(&json!({"Name": "web", "Check": {"GRPC": address, "Interval": "1s"}}));
    run.until(STATUS, is("passing"))
        .has("/0/Output", format!("gRPC check {address}: success"))
        .done();
    status.store(2, Ordering::SeqCst);
    run.until(STATUS, is("critical"))
        .has("/0/Output", format!("gRPC {address} serving status: NOT_SERVING"))
        .done();
}

fn by_itself(run: &mut Run<'_>) {
    let check = |id: &str, service: &str| json!({"ID": id, "Name": "alone", "ServiceID": service, "TTL": "1h", "Status": "passing", "Notes": "n"});
    run.put("/v1/agent/check/register", &check("c1", "nope"))
        .says(404, "ServiceID \"nope\" does not exist");
    run.register(&json!({"Name": "web", "ID": "web-1"}));
    run.put("/v1/agent/check/register", &check("c1", "web-1")).says(200, "");
    run.put(
        "/v1/agent/check/register",
        &json!({"Name": "of the node", "TTL": "1h", "Status": "passing"}),
    )
    .says(200, "");
    run.get("/v1/agent/checks").counts(2).has("/c1/ServiceName", "web").done();
    run.until(STATUS, |a| a.text().contains("c1")).counts(1).done();
    run.put("/v1/agent/check/deregister/c1", &Value::Null).says(200, "");
    run.until(STATUS, |a| !a.text().contains("c1")).is(json!([])).done();
    run.get("/v1/agent/checks").counts(1).done();
}

fn node_check(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web"}));
    run.put("/v1/agent/check/register", &json!({"ID": "disk", "Name": "disk", "TTL": "1h"}))
        .says(200, "");
    run.until("/v1/health/service/web", |a| a.text().contains("disk"))
        .has("/0/Checks/0/CheckID", "disk")
        .done();
    run.get("/v1/health/service/web?passing").is(json!([])).done();
    run.put("/v1/agent/check/pass/disk", &Value::Null).says(200, "");
    run.until("/v1/health/service/web?passing", |a| a.text().contains("disk")).counts(1).done();
}

fn agent_health(run: &mut Run<'_>) {
    run.register(&json!({"Name": "web", "ID": "a", "Check": {"TTL": "1h", "Status": "passing"}}));
    run.get("/v1/agent/health/service/id/a").has("/AggregatedStatus", "passing").done();
    run.register(&json!({"Name": "web", "ID": "b", "Check": {"TTL": "1h", "Status": "warning"}}));
    run.get("/v1/agent/health/service/id/b").status(429).done();
    run.get("/v1/agent/health/service/name/web").status(429).done();
    run.get("/v1/agent/health/service/name/web?format=text").says(429, "warning");
    run.put("/v1/agent/check/fail/service:a", &Value::Null).says(200, "");
    run.get("/v1/agent/health/service/id/a?format=text").says(503, "critical");
    run.get("/v1/agent/health/service/id/nope").status(404).done();
    run.get("/v1/agent/health/service/name/nope").status(404).done();
}

fn impossible(run: &mut Run<'_>) {
    let mut refused = |check: Value, status: u16, why: &str| {
        let body = json!({"Name": "web", "Check": check});
        run.put("/v1/agent/service/register", &body).says(status, why);
    };
    refused(
        json!({"TTL": "1s", "Interval": "1s"}),
        400,
        "Invalid check: Interval and TTL cannot both be specified",
    );
    refused(json!({"Interval": "1s"}), 400, "Invalid check: TTL must be > 0 for TTL checks");
    refused(json!({"TTL": "soon"}), 400, "Request decode failed: time: invalid duration \"soon\"");
    refused(
        json!({"TTL": "1s", "Status": "fine"}),
        400,
        "Status for checks must 'passing', 'warning', 'critical'",
    );
    refused(
        json!({"Args": ["true"], "Interval": "1s"}),
        500,
        "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
    );
    refused(
        json!({"HTTP": "http://127.0.0.1:1/"}),
        400,
        "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
    );
    run.get("/v1/agent/services").is(json!({})).done();
}
