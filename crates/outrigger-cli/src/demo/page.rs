//! The demo's page: one self-contained document, and the figures it polls.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;

/// What the page shows; asked for on every poll.
pub(crate) trait Show: Send + Sync + 'static {
    /// The figures, in the shape that `page.html` reads.
    fn show(&self) -> Value;
    /// The metrics of every service of the demo, as Prometheus text.
    fn metrics(&self) -> String;
}

/// Serves the page until dropped; returns where.
pub(crate) async fn serve(
    address: SocketAddr,
    show: Arc<dyn Show>,
) -> std::io::Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let routes = Router::new()
        .route("/", get(page))
        .route("/api/v1/demo", get(figures))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn(guard))
        .with_state(show);
    let task = tokio::spawn(async move {
        // Ends only when the listener does; the demo ends it by aborting the task.
        let _ = axum::serve(listener, routes).await;
    });
    Ok((bound, task))
}

/// Refuses hosts that are not this machine's, so that a foreign page cannot read ours by
/// rebinding a name, and says what the document may load: nothing.
async fn guard(headers: HeaderMap, request: Request, next: Next) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
    });
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let ours = bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !ours {
        return (StatusCode::FORBIDDEN, "this page answers to loopback names only\n")
            .into_response();
    }
    let mut response = next.run(request).await;
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}

async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

async fn figures(State(show): State<Arc<dyn Show>>) -> Json<Value> {
    Json(show.show())
}

async fn metrics(State(show): State<Arc<dyn Show>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], show.metrics())
}
