//! Three services of the demo fleet on plain hyper: `orders` calls `inventory` and `pricing`.
//!
//! Calls go through `fleet.get`; all else is as without Outrigger. A handler that passes the error of
//! a call on with `?` is answered with the status and the reason of `docs/contract.md`.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use outrigger::Fleet;
use outrigger::core::BoxError;
use serde_json::{Value, json};

/// Answers a request as the service that this process is.
///
/// # Errors
/// What a call to another service came to; the server turns it into an answer.
pub async fn answer<B>(
    fleet: Fleet,
    request: Request<B>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let path = request.uri().path().trim_matches('/').to_owned();
    let segments: Vec<&str> = path.split('/').collect();
    let (status, body) = match (fleet.service().as_str(), request.method(), &segments[..]) {
        ("inventory", &Method::GET, ["stock", id]) => {
            (StatusCode::OK, json!({ "id": number(id)?, "on_hand": number(id)? % 97 }))
        }
        ("pricing", &Method::GET, ["price", id]) => {
            (StatusCode::OK, json!({ "id": number(id)?, "cents": 100 + number(id)? % 900 }))
        }
        ("orders", &Method::GET, ["orders", id]) => order(&fleet, number(id)?).await?,
        ("orders", &Method::POST, ["orders"]) => place(&fleet).await?,
        _ => (StatusCode::NOT_FOUND, json!({ "error": "no such route" })),
    };
    Ok(respond(&fleet, status, body))
}

/// Both are found by name, balanced, limited, retried and traced.
async fn order(fleet: &Fleet, id: u64) -> Result<(StatusCode, Value), BoxError> {
    let (stock, price) =
        (format!("http://inventory/stock/{id}"), format!("http://pricing/price/{id}"));
    let (stock, price) = tokio::try_join!(fleet.get(&stock), fleet.get(&price))?;
    if let Some(bad) = [stock.status(), price.status()].into_iter().find(|s| !s.is_success()) {
        return Ok((bad, json!({ "error": "a service below failed" })));
    }
    let (stock, price): (Value, Value) =
        tokio::try_join!(stock.into_body().json(), price.into_body().json())?;
    Ok((StatusCode::OK, json!({ "id": id, "stock": stock, "price": price })))
}

async fn place(fleet: &Fleet) -> Result<(StatusCode, Value), BoxError> {
    let stock = fleet.get("http://inventory/stock/1").await?;
    Ok(match stock.status() {
        StatusCode::OK => (StatusCode::CREATED, json!({ "id": 1 })),
        bad => (bad, json!({ "error": "no stock" })),
    })
}

fn number(text: &str) -> Result<u64, BoxError> {
    Ok(text.parse()?)
}

fn respond(fleet: &Fleet, status: StatusCode, mut body: Value) -> Response<Full<Bytes>> {
    let id = fleet.instance_id().map(|id| id.to_string()).unwrap_or_default();
    body["served_by"] = json!(id);
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-served-by", id);
    }
    response
}
