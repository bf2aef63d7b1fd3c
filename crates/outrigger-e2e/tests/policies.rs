//! Policies in the keys of a real Consul, obeyed by the facade.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use outrigger::tower::clock;
use outrigger::{Fleet, PolicySource, PolicyView};
use outrigger_e2e::consul::{RealConsul, Version};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const KEY: &str = "/v1/kv/outrigger/policy/stock";

/// Aborts every request with a status that tells which policy it was.
fn aborts(status: u16) -> String {
    format!(
        "version: 1\nservice: stock\nroutes: [ {{ name: all, match: {{ path_prefix: / }}, \
         fault: {{ abort: {{ ratio: 1, status: {status} }} }} }} ]\n"
    )
}

async fn join(name: &str, consul: &RealConsul, saved: Option<&std::path::Path>) -> Fleet {
    let mut builder =
        outrigger::builder(name).consul(consul.url()).notice(Duration::from_millis(50));
    if let Some(saved) = saved {
        builder = builder.snapshots(saved);
    }
    builder.join().await.expect("valid settings")
}

async fn serve(fleet: Fleet) -> oneshot::Sender<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (end, ended) = oneshot::channel::<()>();
    let serving = fleet.clone();
    tokio::spawn(async move {
        let app = tower::service_fn(|_: Request<outrigger::RequestBody>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let end = async {
            let _ = ended.await;
        };
        serving.serve_until(listener, app, end).await.expect("it serves");
    });
    fleet.registered().await;
    end
}

async fn status(caller: &Fleet) -> u16 {
    match caller.get("http://stock/").await {
        Ok(response) => response.status().as_u16(),
        Err(error) => error.status().expect("a refusal"),
    }
}

fn view(caller: &Fleet) -> PolicyView {
    caller.services().into_iter().next().expect("stock was called").policy
}

/// How long it takes until the view is as wanted.
async fn sees(caller: &Fleet, wanted: impl Fn(&PolicyView) -> bool) -> Duration {
    let started = clock::now();
    let seen = async {
        while !wanted(&view(caller)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
    assert!(seen.is_ok(), "still {:?}", view(caller));
    started.elapsed()
}

fn put(consul: &RealConsul, text: &str) {
    let answer = consul.ask("PUT", KEY, text.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200);
}

async fn check(version: Version) {
    let Some(builder) = RealConsul::builder(version) else { return };
    let mut consul = builder.start().expect("the agent starts");
    let saved = tempfile::tempdir().expect("a folder");
    put(&consul, &aborts(418));
    let end = serve(join("stock", &consul, None).await).await;
    let caller = join("orders", &consul, Some(saved.path())).await;
    assert_eq!(status(&caller).await, 418, "the first call already obeys");
    assert_eq!(view(&caller).source, PolicySource::Kv);

    for code in [451, 452, 453] {
        // A change a second is what a watch of Consul follows; this is one.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let text = aborts(code);
        let before = view(&caller).version;
        put(&consul, &text);
        let took = sees(&caller, |view| view.version != before).await;
        assert!(took < Duration::from_secs(1), "obeyed after {took:?}");
        assert_eq!(status(&caller).await, code);
    }

    put(&consul, "version: 1\nservice: stock\ntiemout: 1s\n");
    sees(&caller, |view| view.error.as_deref().is_some_and(|e| e.contains("tiemout"))).await;
    assert_eq!(status(&caller).await, 453, "the last good one");
    put(&consul, "");
    sees(&caller, |view| view.error.as_deref().is_some_and(|e| e.contains("empty"))).await;
    let long = consul.ask("PUT", KEY, &vec![b'#'; 600 << 10]).expect("an answer");
    assert_eq!(long.status, 413, "the registry does not take it");
    assert_eq!(consul.ask("DELETE", KEY, b"").expect("an answer").status, 200);
    sees(&caller, |view| view.error.as_deref().is_some_and(|e| e.contains("not there"))).await;
    assert_eq!(status(&caller).await, 453, "a key that vanishes removes nothing");
    put(&consul, "version: 1\nremoved: true\n");
    sees(&caller, |view| view.source == PolicySource::Settings).await;
    assert_eq!(status(&caller).await, 200, "a tombstone does");

    put(&consul, &aborts(418));
    sees(&caller, |view| view.source == PolicySource::Kv && view.error.is_none()).await;
    let file = saved.path().join("stock.policy");
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    caller.shutdown(Duration::from_secs(5)).await;
    consul.stop();
    sees(&caller, |view| view.error.is_some()).await;
    assert_eq!(status(&caller).await, 418, "the registry is away, the rules are not");
    let cold = join("orders", &consul, Some(saved.path())).await;
    assert_eq!(status(&cold).await, 418, "a cold start without the registry");
    assert_eq!(view(&cold).source, PolicySource::Snapshot);
    drop(end);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_agent_s_keys_are_obeyed_within_a_second() {
    check(Version::Old).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_agent_s_keys_are_obeyed_within_a_second() {
    check(Version::New).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_without_the_key_s_right_leaves_the_settings_and_says_so() {
    let Some(builder) = RealConsul::builder(Version::New) else { return };
    let consul = builder.acl().start().expect("the agent starts");
    put(&consul, &aborts(418));
    // No token at all: anonymous may read nothing.
    let caller = outrigger::builder("orders")
        .consul(consul.url())
        .endpoints("stock", ["127.0.0.1:9".parse::<std::net::SocketAddr>().expect("an address")])
        .expect("a name")
        .join()
        .await
        .expect("valid settings");
    assert_eq!(status(&caller).await, 503, "nobody listens there");
    sees(&caller, |view| view.error.as_deref().is_some_and(|e| e.contains("denied"))).await;
    assert_eq!(view(&caller).source, PolicySource::Settings);
}
