//! The surface over real sockets on loopback.

#[path = "surface/ask.rs"]
mod ask;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outrigger_admin::{
    AdminError, Events, MAX_STREAMS, MetricsFormat, Reach, Readiness, Serving, Source, Surface,
};
use tokio::net::TcpListener;

use ask::{Answer, ask, get, listen};

#[derive(Debug)]
struct Fixed {
    readiness: Readiness,
    state: Option<&'static str>,
}

impl Source for Fixed {
    fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    fn state(&self) -> Option<Vec<u8>> {
        self.state.map(Into::into)
    }

    fn metrics(&self, format: MetricsFormat) -> String {
        match format {
            MetricsFormat::OpenMetrics => "# EOF\n".to_owned(),
            _ => "up 1\n".to_owned(),
        }
    }
}

fn ready() -> Fixed {
    Fixed { readiness: Readiness::ready(), state: Some("{\"services\":{}}") }
}

fn surface(source: Fixed) -> (Surface, Arc<Events>) {
    let events = Events::new(SystemTime::UNIX_EPOCH + Duration::from_millis(0xf00));
    (Surface::new(Arc::new(source), Arc::clone(&events)), events)
}

async fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

async fn serve(source: Fixed) -> (Serving, Arc<Events>) {
    let (surface, events) = surface(source);
    (surface.serve(loopback().await, Reach::Loopback).expect("it serves"), events)
}

#[tokio::test]
async fn every_path_answers_and_carries_the_headers_that_shut_others_out() {
    let (serving, _) = serve(ready()).await;
    for (path, status, kind) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/page.js", 200, "text/javascript; charset=utf-8"),
        ("/page.css", 200, "text/css; charset=utf-8"),
        ("/healthz", 200, "application/json"),
        ("/readyz", 200, "application/json"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/api/v1/state", 200, "application/json"),
        ("/api/v1/openapi.json", 200, "application/json"),
        ("/nothing", 404, "application/json"),
        ("/api/v1/state/", 404, "application/json"),
    ] {
        let answer = get(serving.address(), path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn the_page_names_no_other_place_and_brings_no_code_in_its_markup() {
    let (serving, _) = serve(ready()).await;
    let mut whole = 0;
    for path in ["/", "/page.js", "/page.css"] {
        let text = get(serving.address(), path).await.body;
        whole += text.len();
        // The one name is that of a format, which nobody fetches.
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http:", "https:", "//cdn", "@import", "url(", "innerHTML", "eval("] {
            assert!(!text.contains(foreign), "{path} has {foreign}");
        }
    }
    let page = get(serving.address(), "/").await.body;
    for inline in ["<style", "style=", "onclick", "onload", "<script>"] {
        assert!(!page.contains(inline), "the policy would refuse {inline}");
    }
    println!("the page: {whole} bytes");
    assert!(whole < 60_000, "{whole}");
}

#[tokio::test]
async fn who_is_not_ready_says_why_and_is_healthy_all_the_same() {
    let readiness = Readiness::ready().because("draining", "it leaves").because("closed", "full");
    let (serving, _) = serve(Fixed { readiness, state: None }).await;
    let answer = get(serving.address(), "/readyz").await;
    assert_eq!(answer.status, 503);
    let said: serde_json::Value = answer.json();
    assert_eq!(said["status"], "not_ready");
    assert_eq!(said["reasons"][0]["code"], "draining");
    assert_eq!(said["reasons"][1]["text"], "full");
    assert_eq!(get(serving.address(), "/healthz").await.status, 200);
    let ended = get(serving.address(), "/api/v1/state").await;
    assert_eq!((ended.status, ended.json()["error"]["code"].as_str()), (503, Some("ended")));
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let (serving, _) = serve(ready()).await;
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
    let answer = ask(serving.address(), "GET", "/metrics", &[("accept", accept)]).await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((answer.header("content-type"), &*answer.body), (Some(kind), "# EOF\n"));
    assert_eq!(get(serving.address(), "/metrics").await.body, "up 1\n");
}

#[tokio::test]
async fn it_is_for_reading_only() {
    let (serving, _) = serve(ready()).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"] {
        for path in ["/", "/api/v1/state", "/metrics", "/nothing"] {
            let answer = ask(serving.address(), method, path, &[("content-length", "0")]).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
    }
    let head = ask(serving.address(), "HEAD", "/api/v1/state", &[]).await;
    assert_eq!((head.status, &*head.body), (200, ""));
    assert_eq!(head.header("content-length"), Some("15"), "as GET would say");
    let head = ask(serving.address(), "HEAD", "/api/v1/events", &[]).await;
    assert_eq!(head.status, 200, "and no stream is begun");
}

#[tokio::test]
async fn a_foreign_name_or_page_gets_nothing_but_the_reason() {
    let (serving, _) = serve(ready()).await;
    let rebound = "evil.example:15990";
    for path in ["/", "/api/v1/state", "/api/v1/events", "/metrics", "/healthz"] {
        let answer = ask(serving.address(), "GET", path, &[("host", rebound)]).await;
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.body.contains("foreign page"), "{path}: {}", answer.body);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let site = ("sec-fetch-site", "cross-site");
        assert_eq!(ask(serving.address(), "GET", path, &[site]).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn it_does_not_listen_where_others_reach_it_unless_it_is_told_to() {
    let (surface, _) = surface(ready());
    let everywhere = || async { TcpListener::bind("0.0.0.0:0").await.expect("a port") };
    let refused = surface.serve(everywhere().await, Reach::Loopback).expect_err("refused");
    assert!(matches!(refused, AdminError::NotLoopback { .. }), "{refused}");
    assert!(refused.to_string().contains("allowed is a loopback address"), "{refused}");

    let serving = surface.serve(everywhere().await, Reach::Anywhere).expect("told so");
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], serving.address().port()));
    assert_eq!(get(here, "/api/v1/state").await.status, 200);
    serving.stop().await;
}

#[tokio::test]
async fn a_probe_listener_has_health_and_metrics_alone_under_any_name() {
    let (surface, _) = surface(ready());
    let probe = surface.serve_probe(loopback().await).expect("it serves");
    let host = ("host", "10.0.0.7:8080");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(probe.address(), "GET", path, &[host]).await.status, 200, "{path}");
    }
    for path in ["/", "/page.js", "/api/v1/state", "/api/v1/events", "/api/v1/openapi.json"] {
        assert_eq!(ask(probe.address(), "GET", path, &[host]).await.status, 404, "{path}");
    }
    assert_eq!(ask(probe.address(), "POST", "/readyz", &[host]).await.status, 405);
}

#[tokio::test]
async fn events_come_as_they_happen_and_resume_where_a_reader_stopped() {
    let (serving, events) = serve(ready()).await;
    events.note(SystemTime::UNIX_EPOCH, "test", "first");
    let mut stream = listen(serving.address(), None).await;
    assert_eq!(stream.head.header("content-type"), Some("text/event-stream"));
    let first = stream.until("\n\nid: f00-1\n").await;
    assert!(first.contains("\"text\":\"first\""), "{first}");
    events.note(SystemTime::UNIX_EPOCH, "test", "second");
    stream.until("id: f00-2\n").await;
    drop(stream);

    events.note(SystemTime::UNIX_EPOCH, "test", "third");
    let mut again = listen(serving.address(), Some("f00-2")).await;
    let said = again.until("\"text\":\"third\"").await;
    assert!(!said.contains("second"), "{said}");
}

#[tokio::test]
async fn no_more_than_so_many_read_at_a_time_and_a_place_comes_back() {
    let (serving, _) = serve(ready()).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_STREAMS {
        let stream = listen(serving.address(), None).await;
        assert_eq!(stream.head.status, 200);
        streams.push(stream);
    }
    let refused = get(serving.address(), "/api/v1/events").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert_eq!(get(serving.address(), "/readyz").await.status, 200, "others are served");

    drop(streams.pop());
    let freed = async {
        while listen(serving.address(), None).await.head.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), freed).await.expect("a place is free again");
}

#[tokio::test]
async fn a_surface_that_stops_ends_its_streams_and_gives_its_port_back() {
    let (serving, _) = serve(ready()).await;
    let address = serving.address();
    let mut stream = listen(address, None).await;
    stream.until("retry: 2000").await;
    let stopped = tokio::time::timeout(Duration::from_secs(5), serving.stop());
    stopped.await.expect("streams do not hold it");
    assert!(stream.rest().await.is_empty(), "the stream was ended, not left");
    TcpListener::bind(address).await.expect("the port is free");
}

#[tokio::test]
async fn what_is_sent_is_described() {
    let (serving, _) = serve(ready()).await;
    let document: Answer = get(serving.address(), "/api/v1/openapi.json").await;
    let paths = document.json()["paths"].as_object().expect("paths").clone();
    for path in paths.keys().filter(|path| *path != "/api/v1/events") {
        assert_eq!(get(serving.address(), path).await.status, 200, "{path} is described");
    }
}
