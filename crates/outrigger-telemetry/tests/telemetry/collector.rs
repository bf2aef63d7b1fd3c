//! Collectors that work, hang, refuse, crawl, or are not there.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use outrigger_core::{Event, Observe, Outcome, RouteName};
use prost::Message;
use tokio::net::TcpListener;

use crate::support::{LIMIT, collector, endpoint, exporting, serve, service, wire_text};

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_as_otlp_with_resource_scope_and_headers() {
    let (address, mut got, connections) = collector(StatusCode::OK).await;
    let telemetry = exporting(
        address,
        &[
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,service.version=9"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ],
    );
    serve(&telemetry);
    telemetry.flush(LIMIT).await;
    let message = got.recv().await.expect("a message");
    assert_eq!(message.path, "/v1/traces");
    assert_eq!(message.headers["authorization"], "Bearer abc");
    assert_eq!(message.headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(message.body).expect("protobuf");
    let resource = &request.resource_spans[0];
    let who = &resource.resource.as_ref().expect("a resource").attributes;
    assert_eq!(wire_text(who, "service.name").as_deref(), Some("orders"));
    assert_eq!(wire_text(who, "service.version").as_deref(), Some("1.2.3"), "code wins");
    assert_eq!(wire_text(who, "deployment.environment").as_deref(), Some("test"));
    let scope = &resource.scope_spans[0];
    assert_eq!(scope.scope.as_ref().expect("a scope").name, "outrigger-telemetry");
    let span = &scope.spans[0];
    assert_eq!((span.name.as_str(), span.kind), ("GET", 2));
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
    assert!(span.parent_span_id.is_empty() && span.end_time_unix_nano >= span.start_time_unix_nano);
    assert_eq!(wire_text(&span.attributes, "url.path").as_deref(), Some("/stock/42"));
    assert_eq!(wire_text(&span.attributes, "http.response.status_code").as_deref(), Some("200"));

    serve(&telemetry);
    telemetry.flush(LIMIT).await;
    got.recv().await.expect("another message");
    assert_eq!(connections.load(Ordering::Relaxed), 1, "the connection is kept");
    assert_eq!(telemetry.export_stats().exported, 2);
    telemetry.shutdown(LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_sends_what_waits_and_later_spans_are_let_go() {
    let (address, mut got, _) = collector(StatusCode::OK).await;
    let telemetry = exporting(address, &[("OTEL_METRICS_EXPORTER", "none")]);
    for _ in 0..3 {
        serve(&telemetry);
    }
    telemetry.shutdown(LIMIT).await;
    let request = ExportTraceServiceRequest::decode(got.recv().await.expect("sent").body);
    assert_eq!(request.expect("protobuf").resource_spans[0].scope_spans[0].spans.len(), 3);
    serve(&telemetry);
    telemetry.shutdown(LIMIT).await;
    let stats = telemetry.export_stats();
    assert_eq!((stats.exported, stats.queued, stats.dropped), (3, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_current_thread_runtime_exports_as_well() {
    // The batch processor's own thread has no reactor; the client must use the runtime's.
    let work = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (address, mut got, _) = collector(StatusCode::OK).await;
            let telemetry = exporting(address, &[]);
            serve(&telemetry);
            telemetry.shutdown(LIMIT).await;
            assert!(got.recv().await.is_some());
            assert_eq!(telemetry.export_stats().exported, 1);
        });
    });
    work.join().expect("no panic");
}

/// Ends 200 spans with room for 16 and a message at most 8; tells what became of them.
async fn flood(address: SocketAddr) -> outrigger_telemetry::ExportStats {
    let telemetry = exporting(
        address,
        &[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "150"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ],
    );
    let mut most = 0;
    for _ in 0..200 {
        serve(&telemetry);
        most = most.max(telemetry.export_stats().queued);
    }
    assert!(most <= 16, "the queue is bounded: {most}");
    telemetry.shutdown(LIMIT).await;
    let stats = telemetry.export_stats();
    assert_eq!(stats.exported + stats.dropped + stats.failed + stats.queued, 200, "{stats:?}");
    stats
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_no_request_anything() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let stats = flood(gone).await;
    assert_eq!(stats.exported, 0, "{stats:?}");
    assert!(stats.failed > 0 && stats.queued == 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_no_request_anything() {
    // Accepted by the kernel and never answered.
    let hung = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let stats = flood(hung.local_addr().expect("bound")).await;
    assert!(stats.exported == 0 && stats.failed > 0, "{stats:?}");
    assert!(stats.dropped >= 200 - 16 - 2 * 8, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_crawls_costs_no_request_anything() {
    let slow = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = slow.local_addr().expect("bound");
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = slow.accept().await {
            tokio::spawn(async move {
                for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" {
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
    });
    let stats = flood(address).await;
    assert!(stats.exported == 0 && stats.failed > 0, "an answer that takes 2 s is late: {stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_is_counted() {
    let (address, _got, _) = collector(StatusCode::FORBIDDEN).await;
    let stats = flood(address).await;
    assert!(stats.exported == 0 && stats.failed > 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_arrive_as_otlp_with_true_histograms() {
    let (address, mut got, _) = collector(StatusCode::OK).await;
    let telemetry = exporting(address, &[("OTEL_TRACES_EXPORTER", "none")]);
    let (service, route, endpoint) =
        (service("inventory"), RouteName::default(), endpoint("inventory", 80));
    for ms in [3, 7, 7, 20_000] {
        telemetry.metrics().observe(&Event::Finished {
            service: &service,
            route: &route,
            method: "GET",
            status: Some(200),
            outcome: Outcome::Success,
            elapsed: Duration::from_millis(ms),
            tries: 1,
        });
    }
    telemetry.metrics().observe(&Event::Tried {
        service: &service,
        endpoint: &endpoint,
        attempt: 0,
        status: Some(200),
        failure: None,
        outcome: Outcome::Success,
        elapsed: Duration::from_millis(3),
    });
    telemetry.flush(LIMIT).await;
    let message = got.recv().await.expect("a message");
    assert_eq!(message.path, "/v1/metrics");
    let request = ExportMetricsServiceRequest::decode(message.body).expect("protobuf");
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let find = |name: &str| metrics.iter().find(|m| m.name == name).expect("exported");

    let duration = find("http.client.request.duration");
    assert_eq!(duration.unit, "s");
    let Some(Data::Histogram(histogram)) = &duration.data else { panic!("a histogram") };
    let point = &histogram.data_points[0];
    assert_eq!(point.count, 4);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), 4);
    assert_eq!(
        (point.bucket_counts[0], point.bucket_counts[1], point.bucket_counts[14]),
        (1, 2, 1)
    );
    assert_eq!(point.explicit_bounds.len() + 1, point.bucket_counts.len());
    assert!((point.sum.expect("told") - 20.017).abs() < 1e-9);
    assert_eq!(wire_text(&point.attributes, "server.address").as_deref(), Some("inventory"));
    assert_eq!(wire_text(&point.attributes, "http.response.status_code").as_deref(), Some("200"));
    assert!(point.start_time_unix_nano > 0 && point.time_unix_nano >= point.start_time_unix_nano);

    let Some(Data::Sum(tries)) = &find("outrigger.tries").data else { panic!("a sum") };
    assert!(tries.is_monotonic);
    telemetry.shutdown(LIMIT).await;
}
