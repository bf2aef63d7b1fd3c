//! Connections: accepted, counted, and turned into requests.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue, VARY};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::task::JoinSet;

use crate::listen::{Io, Listen};
use crate::reply::{Refusal, Reply};
use crate::request::{Query, Request};
use crate::routes;
use crate::routes::kv;
use crate::shared::Shared;
use crate::signal::Gate;

/// Bound of bodies that are not values: the largest registration is a few kilobytes.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// What a path may hold unescaped in a redirect.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

/// The answer to a connection above the limit.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Accepts connections until it is dropped; dropping it closes all of them at once.
pub(crate) async fn serve(
    mut listener: impl Listen,
    shared: Arc<Shared>,
    limit: usize,
    gate: Gate,
) {
    let mut connections = JoinSet::new();
    let clients = Arc::new(Clients { open: Mutex::default(), limit });
    loop {
        gate.pass().await;
        let accepted = tokio::select! {
            biased;
            // A pause while nobody knocks: wait at the gate, not at the door.
            () = gate.paused() => continue,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => match Clients::admit(&clients, peer) {
                Some(seat) => {
                    connections.spawn(connection(stream, shared.clone(), gate.clone(), seat));
                }
                None => {
                    // Best effort: the client learns the same from the closed connection.
                    refuse(stream);
                }
            },
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}

fn refuse(mut stream: impl Io) {
    let mut cx = Context::from_waker(Waker::noop());
    let _sent = Pin::new(&mut stream).poll_write(&mut cx, TOO_MANY);
}

async fn connection(stream: impl Io, shared: Arc<Shared>, gate: Gate, _seat: Seat) {
    let service = service_fn(move |request| {
        let (shared, gate) = (shared.clone(), gate.clone());
        async move {
            gate.pass().await;
            let response = respond(shared, request).await;
            gate.pass().await;
            Ok::<_, Infallible>(response)
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "connection ended");
    }
}

async fn respond(shared: Arc<Shared>, request: http::Request<Incoming>) -> Response<Full<Bytes>> {
    let mut reply = match read(request).await {
        Ok((path, request)) => routes::answer(shared, &path, request).await,
        Err(reply) => reply,
    };
    reply.set(VARY, HeaderValue::from_static("Accept-Encoding"));
    reply.into_response()
}

/// Reads a request whole; the path comes back decoded.
async fn read(request: http::Request<Incoming>) -> Result<(String, Request), Reply> {
    let (head, body) = request.into_parts();
    let Ok(path) = percent_decode_str(head.uri.path()).decode_utf8() else {
        return Err(Reply::text(StatusCode::BAD_REQUEST, "the path is not UTF-8"));
    };
    let raw_query = head.uri.query().unwrap_or_default();
    let clean = clean(&path);
    if clean != path {
        let query = if raw_query.is_empty() { String::new() } else { format!("?{raw_query}") };
        return Err(Reply::redirect(&format!("{}{query}", utf8_percent_encode(&clean, PATH))));
    }
    let is_value = path.starts_with("/v1/kv/") && head.method == http::Method::PUT;
    let announced = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<usize>().ok());
    // A value that is too large is still read, in bounds, so that the refusal reaches its sender.
    let body = match Limited::new(body, BODY_MAX).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(match announced {
                Some(size) if is_value => kv::too_large(size).into(),
                _ => Refusal::TooLarge(format!(
                    "Request body too large. Max allowed is {BODY_MAX} bytes."
                ))
                .into(),
            });
        }
        Err(_) => return Err(Reply::text(StatusCode::BAD_REQUEST, "the body is cut off")),
    };
    let request = Request {
        method: head.method.as_str().to_owned(),
        rest: String::new(),
        query: Query::parse(raw_query),
        headers: head.headers,
        body,
    };
    Ok((path.into_owned(), request))
}

/// A path without empty and dotted segments, its last slash kept.
fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    let slash = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{slash}", kept.join("/"))
}

/// How many connections each address has open.
#[derive(Debug)]
struct Clients {
    open: Mutex<HashMap<IpAddr, usize>>,
    limit: usize,
}

impl Clients {
    fn admit(clients: &Arc<Self>, peer: SocketAddr) -> Option<Seat> {
        let mut open = clients.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer.ip()).or_default();
        if *count >= clients.limit {
            return None;
        }
        *count += 1;
        Some(Seat { clients: clients.clone(), address: peer.ip() })
    }
}

/// One connection's place in the count, given back when it ends.
#[derive(Debug)]
struct Seat {
    clients: Arc<Clients>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.clients.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_and_empty_segments_are_removed() {
        for (path, wanted) in [
            ("/v1/kv/a/", "/v1/kv/a/"),
            ("/v1/kv//lead", "/v1/kv/lead"),
            ("/v1/kv/a/../b", "/v1/kv/b"),
            ("/../..", "/"),
            ("/", "/"),
        ] {
            assert_eq!(clean(path), wanted);
        }
    }
}
