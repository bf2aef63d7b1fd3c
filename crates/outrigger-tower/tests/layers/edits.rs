use http::{HeaderName, HeaderValue, header};
use outrigger_tower::{HeaderEditLayer, HeaderEdits};
use tower::Layer;

use crate::kit::*;

const TEAM: HeaderName = HeaderName::from_static("x-team");

const fn value(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}

#[tokio::test(start_paused = true)]
async fn a_request_and_its_answer_are_changed_in_the_order_remove_set_add() {
    let request = HeaderEdits::new()
        .add(TEAM, value("third"))
        .and_then(|edits| edits.set(TEAM, value("second")))
        .and_then(|edits| edits.remove(header::COOKIE))
        .expect("these may be changed");
    let response = HeaderEdits::new().remove(header::SERVER).expect("it may be changed");
    let (mock, mut handle) = tower_test::mock::pair::<Req, Res>();
    let mut service = HeaderEditLayer::new(request, response).layer(mock);

    let mut sent = get();
    sent.headers_mut().insert(TEAM, value("first"));
    sent.headers_mut().insert(header::COOKIE, value("a=1"));
    let flight = tokio::spawn(start(&mut service, sent).await);
    let (seen, reply) = next(&mut handle).await;
    let teams: Vec<_> = seen.headers().get_all(TEAM).iter().collect();
    assert_eq!(teams, ["second", "third"]);
    assert!(!seen.headers().contains_key(header::COOKIE));
    let mut response = answer(200);
    response.headers_mut().insert(header::SERVER, value("stock/1"));
    reply.send_response(response);
    let response = flight.await.expect("no panic").expect("answered");
    assert!(!response.headers().contains_key(header::SERVER));
}

#[test]
fn what_frames_routes_or_is_ours_cannot_be_changed() {
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "proxy-authorization",
        "host",
        "content-length",
        "expect",
        "grpc-timeout",
        "x-envoy-expected-rq-timeout-ms",
        "traceparent",
        "tracestate",
        "b3",
        "x-b3-traceid",
        "x-outrigger-caller",
        "x-outrigger-attempt",
    ] {
        let name: HeaderName = name.parse().expect("a name");
        assert!(HeaderEdits::new().remove(name.clone()).is_err(), "{name}");
        assert!(HeaderEdits::new().add(name.clone(), value("x")).is_err(), "{name}");
        let error = HeaderEdits::new().set(name.clone(), value("x")).expect_err("refused");
        assert_eq!(error.name, name);
        assert!(error.to_string().starts_with(&format!("`{name}` cannot be changed: ")));
    }
    for name in [header::COOKIE, header::AUTHORIZATION, TEAM] {
        assert!(HeaderEdits::new().remove(name).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn the_three_drops_leave_nothing() {
    let edits = || HeaderEdits::new().set(TEAM, value("stock")).expect("it may be changed");
    the_three_drops::<_, _, Req, _>(HeaderEditLayer::new(edits(), edits()), get, 0, || 0).await;
}
