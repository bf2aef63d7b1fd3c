//! The orders of the five-language fleet: each asks inventory (Go), pricing (Python) and billing
//! (Java), all by name.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use outrigger::Fleet;
use outrigger::core::Refusal;
use serde_json::{Value, json};

/// The routes of orders.
pub fn router(fleet: Fleet) -> Router {
    Router::new()
        .route("/orders/{id}", get(order))
        .route("/orders", post(place))
        .route("/whoami", get(whoami))
        .route("/ask/{service}", get(ask))
        .with_state(fleet)
}

async fn order(State(fleet): State<Fleet>, Path(id): Path<u64>) -> Result<Response, Broken> {
    let (stock, price, invoice) = (
        format!("http://inventory/stock/{id}"),
        format!("http://pricing/price/{id}"),
        format!("http://billing/invoices/{id}"),
    );
    let (stock, price, invoice) =
        tokio::join!(fetch(&fleet, &stock), fetch(&fleet, &price), fetch(&fleet, &invoice));
    // An order without a price is worth more than no order; one without stock is none.
    let (price, invoice) = (price.unwrap_or(Value::Null), invoice.unwrap_or(Value::Null));
    let order = json!({ "id": id, "stock": stock?, "price": price, "invoice": invoice });
    Ok(signed(&fleet, StatusCode::OK, order))
}

async fn place(State(fleet): State<Fleet>) -> Result<Response, Broken> {
    let stock = fetch(&fleet, "http://inventory/stock/1").await?;
    Ok(signed(&fleet, StatusCode::CREATED, json!({ "id": stock["id"] })))
}

async fn whoami(State(fleet): State<Fleet>) -> Response {
    signed(&fleet, StatusCode::OK, json!({ "service": "orders" }))
}

async fn ask(State(fleet): State<Fleet>, Path(service): Path<String>) -> Result<Response, Broken> {
    let answer = fleet.get(&format!("http://{service}/whoami")).await?;
    let by = answer.headers().get("x-served-by").and_then(|by| by.to_str().ok()).map(str::to_owned);
    if answer.status() != StatusCode::OK {
        return Err(Broken::Answer(Box::new(answer.map(Body::new))));
    }
    // Read to its end, so that the connection serves the next call.
    answer.into_body().bytes().await?;
    Ok(signed(&fleet, StatusCode::OK, json!({ "service": service, "answered_by": by })))
}

async fn fetch(fleet: &Fleet, url: &str) -> Result<Value, Broken> {
    let answer = fleet.get(url).await?;
    if answer.status() != StatusCode::OK {
        return Err(Broken::Answer(Box::new(answer.map(Body::new))));
    }
    Ok(answer.into_body().json().await?)
}

fn signed(fleet: &Fleet, status: StatusCode, mut body: Value) -> Response {
    let id = fleet.instance_id().map(|id| id.to_string()).unwrap_or_default();
    body["served_by"] = json!(id);
    let mut headers = HeaderMap::new();
    if let Ok(value) = id.parse() {
        headers.insert("x-served-by", value);
    }
    (status, headers, Json(body)).into_response()
}

/// Why this service has no answer of its own.
#[derive(Debug)]
enum Broken {
    /// A service below said no: passed on as it is, with the reason and the number of tries.
    Answer(Box<Response>),
    /// A call has no answer.
    Call(outrigger::Error),
}

impl From<outrigger::Error> for Broken {
    fn from(error: outrigger::Error) -> Self {
        Self::Call(error)
    }
}

impl IntoResponse for Broken {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Answer(answer) => return *answer,
            Self::Call(error) => error,
        };
        let Some(refusal) = Refusal::of(&error) else {
            return StatusCode::BAD_GATEWAY.into_response();
        };
        let (mut head, body) = Response::new(Body::from(refusal.reason.body())).into_parts();
        refusal.write_head(&mut head, false);
        Response::from_parts(head, body)
    }
}
