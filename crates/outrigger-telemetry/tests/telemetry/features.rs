//! What the features add, against the same small collector.

#[cfg(feature = "gzip")]
mod gzip {
    use std::io::Read;

    use http::StatusCode;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;

    use crate::support::{LIMIT, collector, exporting, serve};

    #[tokio::test(flavor = "multi_thread")]
    async fn messages_of_every_signal_are_packed() {
        let (address, mut got, _) = collector(StatusCode::OK).await;
        let telemetry = exporting(address, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
        serve(&telemetry);
        telemetry.flush(LIMIT).await;
        for _ in 0..2 {
            let message = got.recv().await.expect("a message");
            assert_eq!(message.headers["content-encoding"], "gzip", "{}", message.path);
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&message.body[..]).read_to_end(&mut plain).expect("gzip");
            match message.path.as_str() {
                "/v1/traces" => drop(ExportTraceServiceRequest::decode(&plain[..]).expect("spans")),
                _ => drop(ExportMetricsServiceRequest::decode(&plain[..]).expect("metrics")),
            }
        }
        telemetry.shutdown(LIMIT).await;
    }
}

#[cfg(not(feature = "gzip"))]
#[tokio::test]
async fn packing_without_its_feature_is_refused_at_the_start() {
    use outrigger_telemetry::{BuildError, Telemetry, TelemetryConfig};
    let lookup = |key: &str| (key == "OTEL_EXPORTER_OTLP_COMPRESSION").then(|| "gzip".to_owned());
    let config = TelemetryConfig::from_lookup(lookup).expect("the word is known");
    let built = Telemetry::builder().with_config(config).build(&tokio::runtime::Handle::current());
    assert!(matches!(built, Err(BuildError::NotBuilt { feature: "gzip", .. })));
}

#[cfg(feature = "zipkin")]
mod zipkin {
    use http::StatusCode;

    use crate::support::{LIMIT, collector, exporting, serve};

    #[tokio::test(flavor = "multi_thread")]
    async fn spans_arrive_at_zipkin_as_v2_json() {
        let (address, mut got, _) = collector(StatusCode::ACCEPTED).await;
        let endpoint = format!("http://{address}/api/v2/spans");
        let telemetry = exporting(
            address,
            &[
                ("OTEL_TRACES_EXPORTER", "zipkin"),
                ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", &endpoint),
                ("OTEL_METRICS_EXPORTER", "none"),
            ],
        );
        serve(&telemetry);
        telemetry.flush(LIMIT).await;
        let message = got.recv().await.expect("a message");
        assert_eq!(
            (message.path.as_str(), &message.headers["content-type"]),
            ("/api/v2/spans", &"application/json".parse().expect("a value"))
        );
        let spans: serde_json::Value = serde_json::from_slice(&message.body).expect("JSON");
        assert_eq!(spans[0]["kind"], "SERVER");
        assert_eq!(spans[0]["localEndpoint"]["serviceName"], "orders");
        assert_eq!(spans[0]["tags"]["url.path"], "/stock/42");
        assert_eq!(spans[0]["traceId"].as_str().map(str::len), Some(32));
        telemetry.shutdown(LIMIT).await;
        assert_eq!(telemetry.export_stats().exported, 1);
    }
}

#[cfg(feature = "tls")]
mod tls {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper_util::rt::TokioIo;
    use outrigger_core::Ratio;
    use outrigger_http::ClientTls;
    use outrigger_telemetry::{Telemetry, TelemetryConfig};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use crate::support::{LIMIT, builder, serve};

    /// A collector behind TLS, and the file with the certificate to trust.
    async fn collector() -> (u16, tempdir::Dir) {
        let signed =
            rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a key");
        let dir = tempdir::Dir::new();
        std::fs::write(dir.file(), signed.cert.pem()).expect("written");
        let provider = Arc::clone(
            ClientTls::from_pem(signed.cert.pem().as_bytes(), None)
                .expect("PEM")
                .config()
                .crypto_provider(),
        );
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .expect("fitting");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = hyper::service::service_fn(|_: Request<Incoming>| async {
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                    });
                    let serve = hyper::server::conn::http1::Builder::new();
                    let _ = serve.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        (port, dir)
    }

    /// A folder that goes when it is dropped.
    mod tempdir {
        use std::path::PathBuf;

        pub(super) struct Dir(PathBuf);

        impl Dir {
            pub(super) fn new() -> Self {
                let name = format!("outrigger-telemetry-{:016x}", fastrand::u64(..));
                let path = std::env::temp_dir().join(name);
                std::fs::create_dir(&path).expect("a folder");
                Self(path)
            }

            pub(super) fn file(&self) -> PathBuf {
                self.0.join("ca.pem")
            }
        }

        impl Drop for Dir {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
    }

    fn exporting(port: u16, ca: &str) -> Telemetry {
        let lookup = |key: &str| match key {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(format!("https://localhost:{port}")),
            "OTEL_EXPORTER_OTLP_CERTIFICATE" => Some(ca.to_owned()),
            "OTEL_METRICS_EXPORTER" => Some("none".to_owned()),
            _ => None,
        };
        let config = TelemetryConfig::from_lookup(lookup).expect("valid");
        let runtime = tokio::runtime::Handle::current();
        builder(Ratio::ONE).with_config(config).build(&runtime).expect("an exporter")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_behind_tls_is_reached_when_its_certificate_is_trusted() {
        let (port, dir) = collector().await;
        let telemetry = exporting(port, &dir.file().to_string_lossy());
        serve(&telemetry);
        telemetry.shutdown(LIMIT).await;
        assert_eq!(telemetry.export_stats().exported, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_with_another_certificate_gets_nothing() {
        let (port, _dir) = collector().await;
        let (_, stranger) = collector().await;
        let telemetry = exporting(port, &stranger.file().to_string_lossy());
        serve(&telemetry);
        telemetry.shutdown(Duration::from_secs(10)).await;
        let stats = telemetry.export_stats();
        assert_eq!((stats.exported, stats.failed), (0, 1));
    }
}

#[cfg(feature = "grpc")]
mod grpc {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Request, Response};
    use http_body_util::BodyExt;
    use hyper::body::{Frame, Incoming};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use crate::support::{LIMIT, exporting, serve};

    #[tokio::test(flavor = "multi_thread")]
    async fn spans_arrive_over_grpc() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (tell, mut got) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
                let tell = tell.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    let tenant = request.headers().get("x-tenant").cloned();
                    let body = request.into_body().collect().await?.to_bytes();
                    let _ = tell.send((path, tenant, body));
                    // An empty message, and the verdict behind it.
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    let frames = [
                        Ok::<_, hyper::Error>(Frame::data(Bytes::from_static(&[0; 5]))),
                        Ok(Frame::trailers(trailers)),
                    ];
                    let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
                    let mut answer = Response::new(body);
                    let kind = HeaderValue::from_static("application/grpc");
                    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
                    Ok::<_, hyper::Error>(answer)
                }
            });
            let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = serve.serve_connection(TokioIo::new(stream), answer).await;
        });
        let telemetry = exporting(
            address,
            &[
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=7"),
                ("OTEL_METRICS_EXPORTER", "none"),
            ],
        );
        serve(&telemetry);
        telemetry.flush(LIMIT).await;
        let (path, tenant, body) = got.recv().await.expect("a message");
        assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        assert_eq!(tenant, Some(HeaderValue::from_static("7")));
        let request = ExportTraceServiceRequest::decode(&body[5..]).expect("protobuf");
        assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].name, "GET");
        telemetry.shutdown(LIMIT).await;
        assert_eq!(telemetry.export_stats().exported, 1);
    }
}

#[cfg(feature = "logs")]
mod logs {
    use http::StatusCode;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use outrigger_telemetry::{Inherited, LogLayer, scope};
    use prost::Message;
    use tracing_subscriber::layer::SubscriberExt;

    use crate::support::{LIMIT, collector, exporting, wire_text};

    #[tokio::test(flavor = "multi_thread")]
    async fn events_arrive_as_logs_with_the_trace_they_belong_to() {
        let (address, mut got, _) = collector(StatusCode::OK).await;
        let telemetry = exporting(
            address,
            &[
                ("OTEL_TRACES_EXPORTER", "none"),
                ("OTEL_METRICS_EXPORTER", "none"),
                ("OTEL_BLRP_SCHEDULE_DELAY", "3600000"),
            ],
        );
        let subscriber = tracing_subscriber::registry().with(LogLayer::new(&telemetry));
        let trace = telemetry.root();
        let guard = tracing::subscriber::set_default(subscriber);
        scope(Inherited::new(trace), async {
            tracing::warn!(order = 42, paid = true, "payment is late");
            tracing::info!(target: "hyper::proto", "not ours to send");
        })
        .await;
        drop(guard);
        telemetry.flush(LIMIT).await;
        let message = got.recv().await.expect("a message");
        assert_eq!(message.path, "/v1/logs");
        let request = ExportLogsServiceRequest::decode(message.body).expect("protobuf");
        let records = &request.resource_logs[0].scope_logs[0].log_records;
        assert_eq!(records.len(), 1, "logs of the exporters are left out");
        let record = &records[0];
        assert_eq!((record.severity_text.as_str(), record.severity_number), ("WARN", 13));
        let body = record.body.clone().and_then(|b| b.value);
        assert_eq!(body, Some(Value::StringValue("payment is late".to_owned())));
        assert_eq!(wire_text(&record.attributes, "order").as_deref(), Some("42"));
        assert_eq!(record.trace_id, trace.trace_id.to_be_bytes());
        telemetry.shutdown(LIMIT).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_hangs_makes_no_log_wait_and_drops_are_counted() {
        let hung = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let telemetry = exporting(
            hung.local_addr().expect("bound"),
            &[
                ("OTEL_BLRP_MAX_QUEUE_SIZE", "8"),
                ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "4"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "100"),
                ("OTEL_TRACES_EXPORTER", "none"),
                ("OTEL_METRICS_EXPORTER", "none"),
            ],
        );
        let subscriber = tracing_subscriber::registry().with(LogLayer::new(&telemetry));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..200 {
                tracing::info!(number, "a storm");
            }
        });
        telemetry.shutdown(LIMIT).await;
        let mut page = String::new();
        telemetry.metrics().encode(&mut page);
        let count = |result: &str| -> u64 {
            let name = format!("outrigger_telemetry_logs_total{{outrigger_result=\"{result}\"}} ");
            page.lines()
                .find_map(|l| l.strip_prefix(&name))
                .expect("shown")
                .parse()
                .expect("a number")
        };
        assert_eq!(count("dropped") + count("failed"), 200, "{page}");
        assert!(count("dropped") >= 150 && count("exported") == 0);
    }
}

#[cfg(feature = "tracing-events")]
mod events {
    use http::{Request, Response};
    use http_body_util::Full;
    use outrigger_core::BoxError;
    use outrigger_telemetry::{Inherited, SpanEventLayer, Value, scope};
    use tower::{Layer, ServiceExt, service_fn};
    use tracing_subscriber::layer::SubscriberExt;

    use crate::support::recording;

    #[tokio::test]
    async fn events_inside_of_a_handler_are_events_of_its_span() {
        let (telemetry, kept, _) = recording();
        let subscriber = tracing_subscriber::registry().with(SpanEventLayer::new(&telemetry));
        let _guard = tracing::subscriber::set_default(subscriber);
        let handler = service_fn(|_: Request<Full<bytes::Bytes>>| async {
            tracing::info!(item = 42, "cache missed");
            Ok::<_, BoxError>(Response::new(Full::new(bytes::Bytes::new())))
        });
        let request =
            Request::get("/stock/42").body(Full::new(bytes::Bytes::new())).expect("valid");
        drop(telemetry.server_layer().layer(handler).oneshot(request).await);
        let span = kept.only();
        let event = &span.events[0];
        assert_eq!(event.name, "cache missed");
        let known = |key| event.attributes.iter().find(|a| a.key == key).map(|a| &a.value);
        assert_eq!(known("item"), Some(&Value::Integer(42)));
        assert_eq!(known("level"), Some(&Value::Text("INFO".into())));
    }

    #[tokio::test]
    async fn a_span_keeps_so_many_events_and_counts_the_rest() {
        let (telemetry, kept, _) = recording();
        let subscriber = tracing_subscriber::registry().with(SpanEventLayer::new(&telemetry));
        let _guard = tracing::subscriber::set_default(subscriber);
        let handler = service_fn(|_: Request<Full<bytes::Bytes>>| async {
            for number in 0..200 {
                tracing::info!(number, "again");
            }
            Ok::<_, BoxError>(Response::new(Full::new(bytes::Bytes::new())))
        });
        let request = Request::get("/").body(Full::new(bytes::Bytes::new())).expect("valid");
        drop(telemetry.server_layer().layer(handler).oneshot(request).await);
        let span = kept.only();
        assert_eq!((span.events.len(), span.dropped_events), (128, 72));
        // Outside of a handler, or in one that is not sampled, there is nothing to add to.
        scope(Inherited::new(telemetry.root()), async { tracing::info!("nowhere") }).await;
        assert_eq!(kept.all().len(), 1);
    }
}
