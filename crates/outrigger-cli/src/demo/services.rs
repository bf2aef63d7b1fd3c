//! The four services of the demo fleet: what they answer and whom they call.
//!
//! Routes and shapes are those of `docs/contract.md`.

use std::convert::Infallible;
use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use outrigger::{Body, Fleet, RequestBody};
use serde::Deserialize;
use serde_json::{Value, json};

type Response = http::Response<Body>;

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

/// One instance of a service, as `instance` serves it.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    role: Role,
    instance: Arc<str>,
    fleet: Fleet,
    knobs: Arc<Knobs>,
}

impl tower_service::Service<Request<RequestBody>> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.serve(request).await) })
    }
}

/// What a path asks for, whatever the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Checkout(u64),
    Order(u64),
    Place,
    Stock(u64),
    Price(u64),
    Chaos,
}

impl Route {
    /// What `path` is with a service of this role; an error where the number in it is none.
    fn of(role: Role, path: &str) -> Option<Result<Self, std::num::ParseIntError>> {
        let numbered: (&str, fn(u64) -> Self) = match (role, path) {
            (_, "/chaos") => return Some(Ok(Self::Chaos)),
            (Role::Orders, "/orders") => return Some(Ok(Self::Place)),
            (Role::Storefront, _) => ("/checkout/", Self::Checkout),
            (Role::Orders, _) => ("/orders/", Self::Order),
            (Role::Inventory, _) => ("/stock/", Self::Stock),
            (Role::Pricing, _) => ("/price/", Self::Price),
        };
        let id = path.strip_prefix(numbered.0).filter(|id| !id.is_empty() && !id.contains('/'))?;
        Some(id.parse().map(numbered.1))
    }

    const fn method(self) -> Method {
        match self {
            Self::Place | Self::Chaos => Method::POST,
            _ => Method::GET,
        }
    }
}

impl Service {
    pub(crate) fn new(role: Role, instance: &str, fleet: Fleet, knobs: Arc<Knobs>) -> Self {
        Self { role, instance: instance.into(), fleet, knobs }
    }

    async fn serve(&self, request: Request<RequestBody>) -> Response {
        let route = match Route::of(self.role, request.uri().path()) {
            Some(Ok(route)) => route,
            Some(Err(error)) => return self.refusal(StatusCode::BAD_REQUEST, &error.to_string()),
            None => return self.refusal(StatusCode::NOT_FOUND, "there is nothing here"),
        };
        let (method, allowed) = (request.method(), route.method());
        if *method != allowed && !(*method == Method::HEAD && allowed == Method::GET) {
            let why = format!("{allowed} is allowed");
            let mut response = self.refusal(StatusCode::METHOD_NOT_ALLOWED, &why);
            if let Ok(allowed) = HeaderValue::from_str(allowed.as_str()) {
                response.headers_mut().insert(header::ALLOW, allowed);
            }
            return response;
        }
        // What goes wrong can be ended while it does.
        if route != Route::Chaos
            && let Err(status) = self.knobs.obey().await
        {
            return self.refusal(status, "told to fail");
        }
        match route {
            Route::Chaos => self.chaos(request.into_body()).await,
            Route::Checkout(id) => self.checkout(id).await,
            Route::Order(id) => self.order(id).await,
            Route::Place => self.place().await,
            Route::Stock(id) => self.stock(id, request.headers()),
            Route::Price(id) => {
                self.answer(StatusCode::OK, json!({ "id": id, "cents": 100 + id % 900 }))
            }
        }
    }

    fn refusal(&self, status: StatusCode, why: &str) -> Response {
        self.answer(status, json!({ "error": why }))
    }

    fn answer(&self, status: StatusCode, mut body: Value) -> Response {
        if let Some(object) = body.as_object_mut() {
            object.insert("served_by".to_owned(), json!(*self.instance));
        }
        self.signed(status, &body)
    }

    /// An answer whose body is as given, and whose head names the instance.
    fn signed(&self, status: StatusCode, body: &Value) -> Response {
        let mut response = Response::new(body.to_string().into());
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
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

    async fn checkout(&self, id: u64) -> Response {
        match self.fetch(&format!("http://orders/orders/{id}")).await {
            Ok(order) => self.answer(StatusCode::OK, json!({ "order": order })),
            Err(below) => self.broken(&below),
        }
    }

    async fn order(&self, id: u64) -> Response {
        let (stock_url, price_url) =
            (format!("http://inventory/stock/{id}"), format!("http://pricing/price/{id}"));
        let (stock, price) = tokio::join!(self.fetch_whole(&stock_url), self.fetch(&price_url));
        match stock {
            // An order without a price is worth more to the visitor than no order: "ask at the desk".
            Ok((mut stock, headers)) => {
                let told = |name| headers.get(name).and_then(|value| value.to_str().ok());
                if let (Some(stock), Some(under)) = (stock.as_object_mut(), told(UNDER)) {
                    stock.insert("answered_under".to_owned(), json!(under));
                    stock.insert("served_by".to_owned(), json!(told("x-served-by")));
                }
                self.answer(
                    StatusCode::OK,
                    json!({ "id": id, "stock": stock, "price": price.unwrap_or(Value::Null) }),
                )
            }
            Err(below) => self.broken(&below),
        }
    }

    async fn place(&self) -> Response {
        match self.fetch("http://inventory/stock/1").await {
            Ok(_) => self.answer(StatusCode::CREATED, json!({ "id": fastrand::u32(..) })),
            Err(below) => self.broken(&below),
        }
    }

    fn stock(&self, id: u64, headers: &HeaderMap) -> Response {
        let planted = self.knobs.plants.load(Ordering::Relaxed) && is_planted(id);
        let on_hand = id % 97 + u64::from(planted);
        match headers.get(UNDER).and_then(|value| value.to_str().ok()) {
            None => self.answer(StatusCode::OK, json!({ "id": id, "on_hand": on_hand })),
            // Bodies that are compared do not name who made them; the head does.
            Some(under) => {
                let body = json!({ "id": id, "on_hand": on_hand, "asked_under": under });
                self.signed(StatusCode::OK, &body)
            }
        }
    }

    /// What goes wrong from now on, as the body says.
    async fn chaos(&self, body: RequestBody) -> Response {
        let chaos: Chaos = match Limited::new(body, CHAOS_LEN).collect().await {
            Ok(body) => match serde_json::from_slice(&body.to_bytes()) {
                Ok(chaos) => chaos,
                Err(error) => return self.refusal(StatusCode::BAD_REQUEST, &error.to_string()),
            },
            Err(error) => return self.refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let status = match chaos.status.map(StatusCode::from_u16) {
            None => None,
            Some(Ok(status)) => Some(status),
            Some(Err(_)) => {
                return self.refusal(StatusCode::BAD_REQUEST, "status: 100 to 999 are allowed");
            }
        };
        self.knobs.set_delay(Duration::from_millis(chaos.delay_ms.unwrap_or(0)));
        self.knobs.set_status(status);
        let role = self.role.as_str();
        self.answer(
            StatusCode::OK,
            json!({ "service": role, "delay_ms": chaos.delay_ms, "status": chaos.status }),
        )
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

/// What `POST /chaos` takes: both optional, absent means honest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chaos {
    delay_ms: Option<u64>,
    status: Option<u16>,
}

/// The longest body that `POST /chaos` reads.
const CHAOS_LEN: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_its_own_routes_and_no_other() {
        assert_eq!(Route::of(Role::Inventory, "/stock/7"), Some(Ok(Route::Stock(7))));
        assert_eq!(Route::of(Role::Orders, "/orders"), Some(Ok(Route::Place)));
        assert_eq!(Route::of(Role::Orders, "/orders/7"), Some(Ok(Route::Order(7))));
        assert_eq!(Route::of(Role::Pricing, "/chaos"), Some(Ok(Route::Chaos)));
        for path in ["/", "/stock", "/stock/", "/stock/7/", "/stock/7/8", "/orders/7"] {
            assert_eq!(Route::of(Role::Inventory, path), None, "{path}");
        }
        assert!(matches!(Route::of(Role::Inventory, "/stock/many"), Some(Err(_))));
    }
}
