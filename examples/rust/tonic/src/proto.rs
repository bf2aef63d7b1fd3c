//! What tonic's code generator writes for `proto/stock.proto`, by hand, so that the example builds
//! without protoc. In a service of yours it stands in `tonic::include_proto!`.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::uri::PathAndQuery;
use http::{Request as HttpRequest, Response as HttpResponse};
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::server::{ServerStreamingService, UnaryService};
use tonic::{GrpcMethod, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// Which article.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Article {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// What is there of an article.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OnHand {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// How many.
    #[prost(uint64, tag = "2")]
    pub on_hand: u64,
    /// The instance that answered.
    #[prost(string, tag = "3")]
    pub served_by: String,
}

/// `service Stock`, for whoever implements it.
#[tonic::async_trait]
pub trait Stock: Send + Sync + 'static {
    /// `rpc Get(Article) returns (OnHand)`
    async fn get(&self, request: Request<Article>) -> Result<Response<OnHand>, Status>;

    /// What [`Stock::watch`] answers with.
    type WatchStream: Stream<Item = Result<OnHand, Status>> + Send + 'static;

    /// `rpc Watch(Article) returns (stream OnHand)`
    async fn watch(&self, request: Request<Article>)
    -> Result<Response<Self::WatchStream>, Status>;
}

const GET: &str = "/outrigger.example.Stock/Get";
const WATCH: &str = "/outrigger.example.Stock/Watch";

/// Serves a [`Stock`] over HTTP/2.
#[derive(Debug)]
pub struct StockServer<T> {
    inner: Arc<T>,
}

impl<T> StockServer<T> {
    /// Serves `inner`.
    pub fn new(inner: T) -> Self {
        Self { inner: Arc::new(inner) }
    }
}

impl<T> Clone for StockServer<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Get<T>(Arc<T>);

impl<T: Stock> UnaryService<Article> for Get<T> {
    type Response = OnHand;
    type Future = BoxFuture<Response<OnHand>, Status>;

    fn call(&mut self, request: Request<Article>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.get(request).await })
    }
}

struct Watch<T>(Arc<T>);

impl<T: Stock> ServerStreamingService<Article> for Watch<T> {
    type Response = OnHand;
    type ResponseStream = T::WatchStream;
    type Future = BoxFuture<Response<T::WatchStream>, Status>;

    fn call(&mut self, request: Request<Article>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.watch(request).await })
    }
}

impl<T, B> Service<HttpRequest<B>> for StockServer<T>
where
    T: Stock,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                GET => grpc.unary(Get(inner), request).await,
                WATCH => grpc.server_streaming(Watch(inner), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// Calls a [`Stock`].
#[derive(Clone, Debug)]
pub struct StockClient<T> {
    inner: tonic::client::Grpc<T>,
}

impl<T> StockClient<T>
where
    T: tonic::client::GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: tonic::codegen::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <T::ResponseBody as tonic::codegen::Body>::Error: Into<StdError> + Send,
{
    /// Calls the service at `origin` over any tower service.
    pub fn with_origin(inner: T, origin: http::Uri) -> Self {
        Self { inner: tonic::client::Grpc::with_origin(inner, origin) }
    }

    /// `rpc Get(Article) returns (OnHand)`
    ///
    /// # Errors
    /// The service's status, or what the call came to.
    pub async fn get(&mut self, article: Article) -> Result<Response<OnHand>, Status> {
        self.ready().await?;
        let mut request = Request::new(article);
        request.extensions_mut().insert(GrpcMethod::new("outrigger.example.Stock", "Get"));
        let path = PathAndQuery::from_static(GET);
        self.inner.unary(request, path, ProstCodec::default()).await
    }

    /// `rpc Watch(Article) returns (stream OnHand)`
    ///
    /// # Errors
    /// As [`StockClient::get`].
    pub async fn watch(&mut self, article: Article) -> Result<Response<Streaming<OnHand>>, Status> {
        self.ready().await?;
        let mut request = Request::new(article);
        request.extensions_mut().insert(GrpcMethod::new("outrigger.example.Stock", "Watch"));
        let path = PathAndQuery::from_static(WATCH);
        self.inner.server_streaming(request, path, ProstCodec::default()).await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.inner.ready().await.map_err(|error| Status::from_error(error.into()))
    }
}
