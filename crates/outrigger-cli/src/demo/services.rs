//! The four services of the demo fleet: what they answer and whom they call.
//!
//! Routes and shapes are those of `docs/contract.md`.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use outrigger::Fleet;
use serde::Deserialize;
use serde_json::{Value, json};

/// One of the demo fleet's services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    Storefront,
    Orders,
    Inventory,
    Pricing,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Storefront => "storefront",
            Self::Orders => "orders",
            Self::Inventory => "inventory",
            Self::Pricing => "pricing",
        }
    }
}

/// What can be made to go wrong in an instance, from outside and while it runs.
#[derive(Debug, Default)]
pub(crate) struct Knobs {
    delay_ms: AtomicU64,
    status: AtomicU16,
    plants: AtomicBool,
}

impl Knobs {
    /// Every answer waits this long first.
    pub(crate) fn set_delay(&self, delay: Duration) {
        self.delay_ms
            .store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Every answer has this status; `None` for honest ones.
    pub(crate) fn set_status(&self, status: Option<StatusCode>) {
        self.status.store(status.map_or(0, |status| status.as_u16()), Ordering::Relaxed);
    }

    /// Whether answers to [`is_planted`] requests differ from those of everybody else.
    pub(crate) fn set_plants(&self, plants: bool) {
        self.plants.store(plants, Ordering::Relaxed);
    }

    async fn obey(&self) -> Result<(), StatusCode> {
        let delay = self.delay_ms.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        match StatusCode::from_u16(self.status.load(Ordering::Relaxed)) {
            Ok(status) => Err(status),
            Err(_) => Ok(()),
        }
    }
}

/// Names, on requests and on answers, the policy that edited them; the contract knows it not.
const UNDER: &str = "x-demo-policy";

/// Whether the stand-ins of another implementation answer this request a little differently: one
/// in ten, for a comparison to find.
pub(crate) const fn is_planted(id: u64) -> bool {
    id % 10 == 7
}

#[derive(Clone, Debug)]
struct Service {
    role: Role,
    instance: Arc<str>,
    fleet: Fleet,
    knobs: Arc<Knobs>,
}

/// The routes of a service, as `instance` serves them.
pub(crate) fn router(role: Role, instance: &str, fleet: Fleet, knobs: Arc<Knobs>) -> Router {
    let service = Service { role, instance: instance.into(), fleet, knobs };
    let routes = match role {
        Role::Storefront => Router::new().route("/checkout/{id}", get(checkout)),
        Role::Orders => {
            Router::new().route("/orders/{id}", get(order)).route("/orders", post(place))
        }
        Role::Inventory => Router::new().route("/stock/{id}", get(stock)),
        Role::Pricing => Router::new().route("/price/{id}", get(price)),
    };
    routes.route("/chaos", post(chaos)).with_state(service)
}

impl Service {
    fn answer(&self, status: StatusCode, mut body: Value) -> Response {
        if let Some(object) = body.as_object_mut() {
            object.insert("served_by".to_owned(), json!(*self.instance));
        }
        self.signed(status, &body)
    }

    /// An answer whose body is as given, and whose head names the instance.
    fn signed(&self, status: StatusCode, body: &Value) -> Response {
        let mut response = (status, Json(body)).into_response();
        if let Ok(value) = HeaderValue::from_str(&self.instance) {
            response.headers_mut().insert("x-served-by", value);
        }
        response
    }

    /// An answer for what came back from below: the refusal or the status, passed on honestly.
    fn broken(&self, below: &Broken) -> Response {
        let status = below.status.unwrap_or(StatusCode::BAD_GATEWAY);
        let mut response = self.answer(status, json!({ "error": below.why }));
        if let Some(attempts) = &below.attempts {
            response.headers_mut().insert("x-outrigger-attempts", attempts.clone());
        }
        response
    }

    async fn fetch(&self, url: &str) -> Result<Value, Broken> {
        Ok(self.fetch_whole(url).await?.0)
    }

    async fn fetch_whole(&self, url: &str) -> Result<(Value, HeaderMap), Broken> {
        let response = self.fleet.get(url).await.map_err(|error| Broken::from_error(&error))?;
        let status = response.status();
        if status != StatusCode::OK {
            let attempts = response.headers().get("x-outrigger-attempts").cloned();
            let below = response.into_body().json::<Value>().await.unwrap_or_default();
            let why = below["error"].as_str().unwrap_or(status.as_str()).to_owned();
            return Err(Broken { status: Some(status), why, attempts });
        }
        let headers = response.headers().clone();
        let body = response.into_body().json().await;
        Ok((body.map_err(|error| Broken::from_error(&error))?, headers))
    }
}

/// Why something below gave no answer.
#[derive(Debug)]
struct Broken {
    status: Option<StatusCode>,
    why: String,
    attempts: Option<HeaderValue>,
}

impl Broken {
    fn from_error(error: &outrigger::Error) -> Self {
        Self {
            status: error.status().and_then(|status| StatusCode::from_u16(status).ok()),
            why: match error.source() {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            },
            attempts: None,
        }
    }
}

async fn checkout(State(service): State<Service>, Path(id): Path<u64>) -> Response {
    if let Err(status) = service.knobs.obey().await {
        return service.answer(status, json!({ "error": "told to fail" }));
    }
    match service.fetch(&format!("http://orders/orders/{id}")).await {
        Ok(order) => service.answer(StatusCode::OK, json!({ "order": order })),
        Err(below) => service.broken(&below),
    }
}

async fn order(State(service): State<Service>, Path(id): Path<u64>) -> Response {
    if let Err(status) = service.knobs.obey().await {
        return service.answer(status, json!({ "error": "told to fail" }));
    }
    let (stock_url, price_url) =
        (format!("http://inventory/stock/{id}"), format!("http://pricing/price/{id}"));
    let (stock, price) = tokio::join!(service.fetch_whole(&stock_url), service.fetch(&price_url));
    match stock {
        // An order without a price is worth more to the visitor than no order: "ask at the desk".
        Ok((mut stock, headers)) => {
            let told = |name| headers.get(name).and_then(|value| value.to_str().ok());
            if let (Some(stock), Some(under)) = (stock.as_object_mut(), told(UNDER)) {
                stock.insert("answered_under".to_owned(), json!(under));
                stock.insert("served_by".to_owned(), json!(told("x-served-by")));
            }
            service.answer(
                StatusCode::OK,
                json!({ "id": id, "stock": stock, "price": price.unwrap_or(Value::Null) }),
            )
        }
        Err(below) => service.broken(&below),
    }
}

async fn place(State(service): State<Service>) -> Response {
    if let Err(status) = service.knobs.obey().await {
        return service.answer(status, json!({ "error": "told to fail" }));
    }
    match service.fetch("http://inventory/stock/1").await {
        Ok(_) => service.answer(StatusCode::CREATED, json!({ "id": fastrand::u32(..) })),
        Err(below) => service.broken(&below),
    }
}

async fn stock(
    State(service): State<Service>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Response {
    if let Err(status) = service.knobs.obey().await {
        return service.answer(status, json!({ "error": "told to fail" }));
    }
    let planted = service.knobs.plants.load(Ordering::Relaxed) && is_planted(id);
    let on_hand = id % 97 + u64::from(planted);
    match headers.get(UNDER).and_then(|value| value.to_str().ok()) {
        None => service.answer(StatusCode::OK, json!({ "id": id, "on_hand": on_hand })),
        // Bodies that are compared do not name who made them; the head does.
        Some(under) => {
            let body = json!({ "id": id, "on_hand": on_hand, "asked_under": under });
            service.signed(StatusCode::OK, &body)
        }
    }
}

async fn price(State(service): State<Service>, Path(id): Path<u64>) -> Response {
    match service.knobs.obey().await {
        Ok(()) => service.answer(StatusCode::OK, json!({ "id": id, "cents": 100 + id % 900 })),
        Err(status) => service.answer(status, json!({ "error": "told to fail" })),
    }
}

/// What `POST /chaos` takes: both optional, absent means honest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chaos {
    delay_ms: Option<u64>,
    status: Option<u16>,
}

async fn chaos(State(service): State<Service>, Json(chaos): Json<Chaos>) -> Response {
    let status = match chaos.status.map(StatusCode::from_u16) {
        None => None,
        Some(Ok(status)) => Some(status),
        Some(Err(_)) => {
            let why = "status: 100 to 999 are allowed";
            return service.answer(StatusCode::BAD_REQUEST, json!({ "error": why }));
        }
    };
    service.knobs.set_delay(Duration::from_millis(chaos.delay_ms.unwrap_or(0)));
    service.knobs.set_status(status);
    let role = service.role.as_str();
    service.answer(
        StatusCode::OK,
        json!({ "service": role, "delay_ms": chaos.delay_ms, "status": chaos.status }),
    )
}
