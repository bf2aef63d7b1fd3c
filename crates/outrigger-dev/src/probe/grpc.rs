//! The health protocol of gRPC, over HTTP/2 without TLS: one unary call, written by hand because both
//! messages have one field.
//!
//! *Source*: gRPC's health checking protocol and its mapping onto HTTP/2.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::dial;
use crate::model::Status;

const SERVING: u8 = 1;
const ANSWER_MAX: usize = 1024;

/// Asks `host:port`, or `host:port/service` for one service of several.
pub(super) async fn check(target: &str, tls: bool) -> Result<(Status, String), String> {
    if tls {
        return Err("this development agent runs gRPC checks without TLS only".to_owned());
    }
    let (address, service) = target.split_once('/').unwrap_or((target, ""));
    let question = question(service).ok_or("the name of the gRPC service is too long")?;
    let stream = dial(address).await.map_err(|why| format!("connection error: {why}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
    // It ends when the sender is dropped, which is at the end of this call.
    tokio::spawn(connection);
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "Consul Health Check")
        .body(Full::new(question))
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let head = response.headers().clone();
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await
        .map_err(|e| e.to_string())?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let answer = body.to_bytes();
    match status(&trailers).or_else(|| status(&head)) {
        Some("0") => match health(&answer) {
            SERVING => Ok((Status::Passing, format!("gRPC check {target}: success"))),
            other => Err(format!("gRPC {target} serving status: {}", word(other))),
        },
        code => Err(format!("rpc error: code = {}", code.unwrap_or("unknown"))),
    }
}

fn status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}

/// A `HealthCheckRequest` in its frame: five bytes, then field 1, a text of at most 125 bytes, so that
/// every length fits one byte.
fn question(service: &str) -> Option<Bytes> {
    let length = u8::try_from(service.len()).ok().filter(|length| *length <= 125)?;
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    if length == 0 {
        frame.put_u32(0);
    } else {
        frame.put_u32(u32::from(length) + 2);
        frame.put_u8(0x0a);
        frame.put_u8(length);
        frame.put_slice(service.as_bytes());
    }
    Some(frame.freeze())
}

/// The status in a framed `HealthCheckResponse`, its field 1, a number; 0 when it is left out.
fn health(frame: &[u8]) -> u8 {
    match frame {
        [0, _, _, _, _, 0x08, status, ..] => *status,
        _ => 0,
    }
}

const fn word(status: u8) -> &'static str {
    match status {
        SERVING => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_framed() {
        assert_eq!(question("").as_deref(), Some(&[0, 0, 0, 0, 0][..]));
        assert_eq!(question("db").as_deref(), Some(&b"\0\0\0\0\x04\x0a\x02db"[..]));
        assert_eq!(question(&"x".repeat(126)), None);
    }

    #[test]
    fn a_status_that_is_left_out_is_unknown() {
        assert_eq!(word(health(&[0, 0, 0, 0, 2, 8, 1])), "SERVING");
        assert_eq!(word(health(&[0, 0, 0, 0, 2, 8, 2])), "NOT_SERVING");
        assert_eq!(word(health(&[0, 0, 0, 0, 0])), "UNKNOWN");
        assert_eq!(word(health(&[])), "UNKNOWN");
    }
}
