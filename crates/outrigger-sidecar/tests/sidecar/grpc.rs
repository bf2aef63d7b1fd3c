//! gRPC through two sidecars: unary and the three streaming kinds, trailers, deadlines, and our own
//! refusals as statuses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger::core::Protocol;
use outrigger_sidecar::Application;
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{Beside, Stage};

type Body = Channel<Bytes, Infallible>;
type Heads = Arc<Mutex<Vec<HeaderMap>>>;

/// A message as gRPC frames it.
fn message(text: &str) -> Bytes {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(text.len()).expect("short").to_be_bytes());
    framed.extend_from_slice(text.as_bytes());
    framed.into()
}

async fn next(body: &mut Incoming) -> Option<Bytes> {
    let frame = tokio::time::timeout(Duration::from_secs(20), body.frame()).await;
    frame.expect("in time")?.expect("a whole frame").into_data().ok()
}

/// Answers by HTTP/2 only: what is said is said back, with the method's end behind it.
async fn application(heads: Heads) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let heads = Arc::clone(&heads);
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                heads.lock().expect("whole").push(request.headers().clone());
                assert_eq!(request.version(), Version::HTTP_2);
                answer(request)
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(tcp), service);
            tokio::spawn(connection);
        }
    });
    at
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    if method == "Slow" {
        std::future::pending::<()>().await;
    }
    let mut asked = request.into_body();
    let (mut say, body) = Channel::new(1);
    tokio::spawn(async move {
        let mut all = 0;
        match method.as_str() {
            "Watch" => {
                while next(&mut asked).await.is_some() {}
                for text in ["one", "two", "three"] {
                    say.send_data(message(text)).await.expect("it is read");
                }
            }
            "Chat" => {
                while let Some(said) = next(&mut asked).await {
                    say.send_data(said).await.expect("it is read");
                }
            }
            _ => {
                while let Some(said) = next(&mut asked).await {
                    all += said.len();
                }
                say.send_data(message(&all.to_string())).await.expect("it is read");
            }
        }
        let (code, text) = if method == "Fail" { ("9", "not now") } else { ("0", "") };
        let trailers = [("grpc-status", code), ("grpc-message", text), ("x-trailer", "kept")];
        let trailers = trailers.map(|(name, value)| {
            (name.parse().expect("a name"), value.parse::<http::HeaderValue>().expect("a value"))
        });
        say.send_trailers(HeaderMap::from_iter(trailers)).await.expect("they are read");
    });
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(body).expect("a response"))
}

struct Caller(SendRequest<Body>);

impl Caller {
    async fn connect(at: SocketAddr) -> Self {
        let tcp = TcpStream::connect(at).await.expect("it listens");
        let (send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
                .await
                .expect("HTTP/2");
        tokio::spawn(connection);
        Self(send)
    }

    async fn begin(
        &mut self,
        service: &str,
        method: &str,
        timeout: Option<&str>,
    ) -> (Sender<Bytes>, impl Future<Output = Response<Incoming>> + use<>) {
        let (say, body) = Channel::new(1);
        let mut request = Request::post(format!("http://{service}/shop.Stock/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let answer = self.0.send_request(request.body(body).expect("a request"));
        (say, async { answer.await.expect("an answer") })
    }

    /// Says these, and reads to the end: messages and trailers, or the head where that is all.
    async fn call(
        &mut self,
        (service, method): (&str, &str),
        said: &[&str],
        timeout: Option<&str>,
    ) -> (Vec<Bytes>, HeaderMap) {
        let (mut say, answer) = self.begin(service, method, timeout).await;
        for text in said {
            // Who is refused at once is not read to the end.
            let _ = say.send_data(message(text)).await;
        }
        drop(say);
        let answer = tokio::time::timeout(Duration::from_secs(20), answer).await.expect("in time");
        assert_eq!(answer.status(), 200, "gRPC tells by its own status: {answer:?}");
        let head = answer.headers().clone();
        let collected = answer.into_body().collect().await.expect("a whole answer");
        let trailers = collected.trailers().cloned();
        (split(&collected.to_bytes()), trailers.unwrap_or(head))
    }
}

/// The messages of a body.
fn split(mut bytes: &[u8]) -> Vec<Bytes> {
    let mut all = Vec::new();
    while let [0, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        all.push(Bytes::copy_from_slice(&rest[..length]));
        bytes = &rest[length..];
    }
    all
}

fn code(trailers: &HeaderMap) -> &str {
    trailers.get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("none")
}

async fn shop(stage: &Stage, heads: &Heads) -> (Beside, Beside) {
    let mut config = stage.config("stock");
    config.application = Some(Application::Tcp(application(Arc::clone(heads)).await));
    config.protocol = Protocol::Grpc;
    let stock = stage.start(config).await;
    stock.running.fleet().registered().await;
    (stock, stage.outbound_only("shop").await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_of_all_four_kinds_goes_through_two_sidecars_with_its_trailers() {
    let (stage, heads) = (Stage::new(), Heads::default());
    let (_stock, shop) = shop(&stage, &heads).await;
    let mut caller = Caller::connect(shop.outbound()).await;

    let (said, end) = caller.call(("stock", "Get"), &["a"], None).await;
    assert_eq!((said, code(&end)), (vec![Bytes::from("6")], "0"), "unary");
    assert_eq!(end["x-trailer"], "kept");
    let (said, end) = caller.call(("stock", "Watch"), &["a"], None).await;
    assert_eq!((said, code(&end)), (vec!["one".into(), "two".into(), "three".into()], "0"));
    let (said, end) = caller.call(("stock", "Count"), &["a", "bb", "ccc"], None).await;
    assert_eq!((said, code(&end)), (vec![Bytes::from("21")], "0"), "a stream of questions");

    // Each answer comes before the next question is asked: nothing waits for an end.
    let (mut say, answer) = caller.begin("stock", "Chat", None).await;
    say.send_data(message("0")).await.expect("it is carried");
    let mut answer = answer.await.into_body();
    for number in 0..100 {
        let back = next(&mut answer).await.expect("said back");
        assert_eq!(back, message(&number.to_string()));
        say.send_data(message(&(number + 1).to_string())).await.expect("it is carried");
    }
    drop(say);
    assert_eq!(next(&mut answer).await, Some(message("100")));
    let end = answer.frame().await.expect("trailers").expect("whole").into_trailers();
    assert_eq!(code(&end.expect("trailers")), "0");

    let (_, end) = caller.call(("stock", "Fail"), &["a"], None).await;
    assert_eq!(
        (code(&end), &end["grpc-message"]),
        ("9", &http::HeaderValue::from_static("not now"))
    );
    let heads = heads.lock().expect("whole");
    assert!(heads.iter().all(|head| head["te"] == "trailers" && head.contains_key("traceparent")));
    assert!(heads.iter().all(|head| head["x-outrigger-caller"] == "shop"));
    println!("gRPC: {} calls of four kinds, 0 failed, trailers kept", heads.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_deadline_falls_on_the_way_and_ends_as_status_4() {
    let (stage, heads) = (Stage::new(), Heads::default());
    let (_stock, shop) = shop(&stage, &heads).await;
    let mut caller = Caller::connect(shop.outbound()).await;
    let begun = outrigger::tower::clock::now();
    let (_, end) = caller.call(("stock", "Slow"), &["a"], Some("300m")).await;
    let took = outrigger::tower::clock::now().saturating_duration_since(begun);
    assert_eq!(code(&end), "4", "{end:?}");
    assert_eq!(end["x-outrigger-reason"], "deadline");
    assert!(took >= Duration::from_millis(250), "{took:?}");
    let head = heads.lock().expect("whole")[0].clone();
    let left = head["grpc-timeout"].to_str().expect("a text");
    let (number, unit) = left.split_at(left.len() - 1);
    let number: u64 = number.parse().expect("a number");
    let micros = match unit {
        "m" => number * 1_000,
        "u" => number,
        "n" => number / 1_000,
        _ => panic!("{left}"),
    };
    assert!((1..=300_000).contains(&micros), "{left}");
    println!("gRPC: of 300 ms the application is told {left}; status 4 after {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_we_refuse_is_a_grpc_status_from_both_halves() {
    let (stage, heads) = (Stage::new(), Heads::default());
    let policy = "version: 1\nservice: stock\nprotocol: grpc\ninbound:\n  rate_limits:\n    - name: \
                  all\n      rate: 1/h\n";
    stage.registry.set_key("outrigger/policy/stock", policy.as_bytes());
    let (stock, shop) = shop(&stage, &heads).await;
    let mut caller = Caller::connect(shop.outbound()).await;
    let (_, end) = caller.call(("stock", "Get"), &["a"], None).await;
    assert_eq!(code(&end), "0");
    let (_, end) = caller.call(("stock", "Get"), &["a"], None).await;
    assert_eq!(
        (code(&end), &end["x-outrigger-reason"]),
        ("14", &"rate_limited".parse().expect("a value"))
    );
    let (_, end) = caller.call(("nobody.service.consul", "Get"), &["a"], None).await;
    assert_eq!(
        (code(&end), &end["x-outrigger-reason"]),
        ("14", &"no_endpoint".parse().expect("a value"))
    );
    let (_, end) = caller.call(("stranger.example", "Get"), &["a"], None).await;
    assert_eq!(
        (code(&end), &end["x-outrigger-reason"]),
        ("7", &"forbidden".parse().expect("a value"))
    );
    let mut direct = Caller::connect(stock.inbound()).await;
    let (_, end) = direct.call(("stock", "%2e%2e%2f"), &[], None).await;
    assert_eq!(
        (code(&end), &end["x-outrigger-reason"]),
        ("3", &"bad_request".parse().expect("a value"))
    );
    assert_eq!(heads.lock().expect("whole").len(), 1, "the application saw none of these");
}
