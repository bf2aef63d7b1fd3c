//! The storefront of the demo fleet on axum: `GET /checkout/{id}` calls `orders`.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use outrigger::Fleet;
use outrigger::core::Refusal;
use serde_json::{Value, json};

/// The storefront's routes.
pub fn router(fleet: Fleet) -> Router {
    Router::new().route("/checkout/{id}", get(checkout)).with_state(fleet)
}

async fn checkout(State(fleet): State<Fleet>, Path(id): Path<u64>) -> Result<Response, Broken> {
    let answer = fleet.get(&format!("http://orders/orders/{id}")).await?;
    if answer.status() != StatusCode::OK {
        // Passed on as it is, with the reason and the number of tries that were made below.
        return Ok(answer.map(Body::new));
    }
    let order: Value = answer.into_body().json().await?;
    let id = fleet.instance_id().map(|id| id.to_string()).unwrap_or_default();
    let mut headers = HeaderMap::new();
    if let Ok(value) = id.parse() {
        headers.insert("x-served-by", value);
    }
    Ok((headers, Json(json!({ "order": order, "served_by": id }))).into_response())
}

/// A call that has no answer, as the answer of this service.
#[derive(Debug)]
struct Broken(outrigger::Error);

impl From<outrigger::Error> for Broken {
    fn from(error: outrigger::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Broken {
    fn into_response(self) -> Response {
        let Some(refusal) = Refusal::of(&self.0) else {
            return StatusCode::BAD_GATEWAY.into_response();
        };
        let (mut head, body) = Response::new(Body::from(refusal.reason.body())).into_parts();
        refusal.write_head(&mut head, false);
        Response::from_parts(head, body)
    }
}
