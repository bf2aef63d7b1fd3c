//! What the access log is told.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full};
use outrigger_core::{BoxError, Event, Observe, Observers, Rejected, RouteName, header};
use outrigger_tower::{InboundLayer, RefuseLayer, ServedBody, TellServed, TellServedLayer, Tells};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::kit::*;

/// `(path, route, status, grpc status, reason, attempts, bytes)`.
type Told = (String, String, Option<u16>, Option<u8>, Option<&'static str>, u8, u64);

#[derive(Debug, Default)]
struct Log(Mutex<Vec<Told>>);

impl Log {
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.0.lock().expect("no panic within"))
    }
}

impl Observe for Log {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Served {
            context, path, status, grpc_status, reason, attempts, bytes, ..
        } = *event
        {
            let route = context.route.as_str().to_owned();
            let told = (path.to_owned(), route, status, grpc_status, reason, attempts, bytes);
            self.0.lock().expect("no panic within").push(told);
        }
    }
}

fn layer(tells: Tells) -> (TellServedLayer, Arc<Log>) {
    let log = Arc::new(Log::default());
    let observers = Observers::none().with(Arc::clone(&log) as Arc<dyn Observe>);
    (TellServedLayer::new(observers, tells), log)
}

fn request(path: &str) -> Req {
    let mut request = get();
    *request.uri_mut() = path.parse().expect("a path");
    request
}

fn text(status: u16, text: &'static str) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from(text)).expect("a response")
}

/// Asks, and reads the whole answer.
async fn ask<S, B>(service: S, request: Req)
where
    S: Service<Req, Response = Response<ServedBody<B>>, Error = BoxError>,
    B: http_body::Body<Data = Bytes>,
{
    if let Ok(response) = service.oneshot(request).await {
        // One that breaks off is told as well.
        let _ = response.into_body().collect().await;
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_those_of_the_service_and_our_refusals() {
    let (layer, log) = layer(Tells::Failures);
    let handler = service_fn(|request: Req| async move {
        match request.uri().path() {
            "/refused" => Err(BoxError::from(Rejected::Overloaded {
                service: stock(),
                limit: 1,
                retry_after: None,
            })),
            "/foreign" => Err("password=hunter2".into()),
            path => Ok(text(path[1..].parse().expect("a status"), "text")),
        }
    });
    for path in ["/200", "/404", "/429", "/500", "/503", "/refused", "/foreign?secret=1"] {
        ask(layer.layer(handler), request(path)).await;
    }
    let told = log.take();
    let seen: Vec<_> = told.iter().map(|t| (t.0.as_str(), t.2, t.4)).collect();
    assert_eq!(
        seen,
        [
            ("/500", Some(500), None),
            ("/503", Some(503), None),
            ("/refused", Some(503), Some("overloaded")),
            ("/foreign", Some(500), None),
        ]
    );
    assert!(told[2].6 > 0, "the refusal's own text is counted");
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_with_its_body_however_that_ends() {
    let (layer, log) = layer(Tells::All);
    let whole = service_fn(|_: Req| async {
        Ok::<_, BoxError>(Response::new(Script::of(&[Piece::Data("abc"), Piece::Data("de")])))
    });
    let broken = service_fn(|_: Req| async {
        Ok::<_, BoxError>(Response::new(Script::of(&[Piece::Data("abc"), Piece::Break])))
    });

    let response = layer.layer(whole).oneshot(request("/a")).await.expect("a head");
    assert!(log.take().is_empty(), "the head is not the end");
    response.into_body().collect().await.expect("whole");
    ask(layer.layer(broken), request("/b")).await;
    drop(layer.layer(whole).oneshot(request("/c")).await.expect("a head"));
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let mut hangs = layer.layer(mock);
    drop(start(&mut hangs, request("/d")).await);
    drop(next(&mut handle).await);
    let mut head = request("/e");
    *head.method_mut() = http::Method::HEAD;
    drop(layer.layer(whole).oneshot(head).await.expect("a head"));

    let seen: Vec<_> = log.take().into_iter().map(|t| (t.0, t.2, t.4, t.6)).collect();
    let told = |path: &str, status, reason, bytes| (path.to_owned(), status, reason, bytes);
    assert_eq!(
        seen,
        [
            told("/a", Some(200), None, 5),
            told("/b", Some(200), Some("broken"), 3),
            told("/c", Some(200), Some("cancelled"), 0),
            told("/d", None, Some("cancelled"), 0),
            told("/e", Some(200), None, 0),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_grpc_answer_is_judged_by_its_code_wherever_it_stands() {
    let (layer, log) = layer(Tells::Failures);
    let handler = service_fn(|request: Req| async move {
        let code = request.uri().path()[1..].to_owned();
        let mut trailers = HeaderMap::new();
        trailers.insert(header::GRPC_STATUS, code.parse().expect("a code"));
        let body = Script::of(&[Piece::Data("x")]);
        Ok::<_, BoxError>(Response::new(body.with_trailers(async { Some(Ok(trailers)) })))
    });
    for path in ["/0", "/5", "/13", "/14"] {
        ask(layer.layer(handler), request(path)).await;
    }
    let seen: Vec<_> = log.take().into_iter().map(|t| (t.2, t.3)).collect();
    assert_eq!(seen, [(Some(200), Some(13)), (Some(200), Some(14))]);
}

#[tokio::test(start_paused = true)]
async fn tries_below_and_the_route_are_told() {
    let (layer, log) = layer(Tells::All);
    let layer = layer.with_route_of(|head| {
        RouteName::new(if head.path == "/v2/x" { "v2" } else { "default" }).expect("a name")
    });
    let handler = service_fn(|_: Req| async {
        let mut response = text(200, "x");
        response.headers_mut().insert(header::ATTEMPTS, "3".parse().expect("a number"));
        Ok::<_, BoxError>(response)
    });
    let server = ServiceBuilder::new()
        .layer(RefuseLayer::new())
        .layer(InboundLayer::new(stock()))
        .layer(layer)
        .service(handler);
    for path in ["/v2//x?y=1", "/w"] {
        let response = server.clone().oneshot(request(path)).await.expect("always an answer");
        response.into_body().collect().await.expect("whole");
    }
    let seen: Vec<_> = log.take().into_iter().map(|t| (t.0, t.1, t.5)).collect();
    let told = |path: &str, route: &str| (path.to_owned(), route.to_owned(), 3);
    assert_eq!(seen, [told("/v2//x", "v2"), told("/w", "default")]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_where_nothing_is_wanted() {
    let (layer, log) = layer(Tells::Nothing);
    let service: TellServed<_> =
        layer.layer(service_fn(|_: Req| async { Ok::<_, BoxError>(text(500, "")) }));
    ask(service, request("/")).await;
    assert!(log.take().is_empty());
}
