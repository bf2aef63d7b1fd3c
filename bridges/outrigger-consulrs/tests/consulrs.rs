//! The README's list of what consulrs does wrong, seen to be true: an entry whose test fails after
//! an update of consulrs can be struck out, and its guard with it.

use std::io;
use std::time::Duration;

use consulrs::client::{ConsulClient, ConsulClientSettingsBuilder};
use consulrs::service;
use outrigger_dev::Agent;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn client(url: &str, token: &str) -> ConsulClient {
    let settings = ConsulClientSettingsBuilder::default().address(url).token(token).build();
    ConsulClient::new(settings.expect("settings")).expect("a client")
}

/// Answers every request with `answer`, and tells the requests.
async fn recorder(answer: String) -> io::Result<(String, mpsc::UnboundedReceiver<String>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read_buf(&mut request).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            let _ = tell.send(String::from_utf8_lossy(&request).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok((url, told))
}

fn ok() -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into()
}

/// The path that consulrs asks for when it deregisters an id.
async fn path_of(id: &str) -> String {
    let (url, mut told) = recorder(ok()).await.expect("a server");
    service::deregister(&client(&url, ""), id, None).await.expect("an answer");
    let request = told.recv().await.expect("a request");
    request.split(' ').nth(1).expect("a path").trim_end_matches('?').to_owned()
}

#[tokio::test]
async fn a_slash_or_dots_change_the_path_and_specials_are_encoded_twice() {
    assert_eq!(path_of("stock-1").await, "/v1/agent/service/deregister/stock-1");
    assert_eq!(path_of("a/b").await, "/v1/agent/service/deregister/a/b");
    assert_ne!(path_of("..").await, "/v1/agent/service/deregister/..");
    assert_eq!(path_of("a b").await, "/v1/agent/service/deregister/a%2520b");
}

#[tokio::test]
async fn a_bad_token_and_a_strange_header_panic() {
    let (url, _told) = recorder(ok()).await.expect("a server");
    let bad = client(&url, "two\nlines");
    let call = tokio::spawn(async move { service::deregister(&bad, "a", None).await.is_ok() });
    assert!(call.await.expect_err("a panic").is_panic());

    let answer = "HTTP/1.1 200 OK\r\nX-Consul-Index: \u{e9}\r\nContent-Length: 0\r\n\r\n";
    let (url, _told) = recorder(answer.into()).await.expect("a server");
    let plain = client(&url, "");
    let call = tokio::spawn(async move { service::deregister(&plain, "a", None).await.is_ok() });
    assert!(call.await.expect_err("a panic").is_panic());
}

#[tokio::test]
async fn an_address_without_a_scheme_panics() {
    let odd = client("localhost:8500", "");
    let call = tokio::spawn(async move { service::deregister(&odd, "a", None).await.is_ok() });
    assert!(call.await.expect_err("a panic").is_panic());
}

#[tokio::test]
async fn an_everyday_answer_does_not_parse() {
    let agent = Agent::builder().bind(([127, 0, 0, 1], 0).into()).await.expect("started");
    let consulrs = client(&agent.url(), "");
    let mut request = consulrs::api::service::requests::RegisterServiceRequest::builder();
    let request = request.address("10.0.0.1").port(80_u64);
    service::register(&consulrs, "stock", Some(request)).await.expect("registered");
    assert!(service::read(&consulrs, "stock", None).await.is_err(), "`TaggedAddresses`");
}

#[tokio::test]
async fn a_call_has_no_time_limit() {
    let agent = Agent::builder().bind(([127, 0, 0, 1], 0).into()).await.expect("started");
    agent.pause();
    let consulrs = client(&agent.url(), "");
    let call = service::list(&consulrs, None);
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
}

#[tokio::test]
async fn the_token_shows_in_debug_and_follows_a_redirect() {
    let (there, mut told) = recorder(ok()).await.expect("a server");
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {there}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let (here, _) = recorder(answer).await.expect("a server");
    let consulrs = client(&here, "canary");
    assert!(format!("{:?}", consulrs.settings).contains("canary"));
    service::deregister(&consulrs, "a", None).await.expect("an answer");
    let request = told.recv().await.expect("a request of another server");
    assert!(request.to_ascii_lowercase().contains("x-consul-token: canary"), "{request}");
}
