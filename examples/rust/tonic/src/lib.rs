//! A gRPC service on tonic, and its caller: unary and server-streaming.

pub mod proto;

use std::time::Duration;

use outrigger::Fleet;
use proto::{Article, OnHand, Stock, StockClient};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// What is in the warehouse.
#[derive(Debug)]
pub struct Warehouse {
    fleet: Fleet,
    pause: Duration,
}

impl Warehouse {
    /// Tells what is there five times, with a pause between.
    #[must_use]
    pub const fn new(fleet: Fleet, pause: Duration) -> Self {
        Self { fleet, pause }
    }

    fn look(fleet: &Fleet, id: u64, sold: u64) -> OnHand {
        let served_by = fleet.instance_id().map(|id| id.to_string()).unwrap_or_default();
        OnHand { id, on_hand: (id % 97).saturating_sub(sold), served_by }
    }
}

#[tonic::async_trait]
impl Stock for Warehouse {
    async fn get(&self, request: Request<Article>) -> Result<Response<OnHand>, Status> {
        Ok(Response::new(Self::look(&self.fleet, request.get_ref().id, 0)))
    }

    type WatchStream = ReceiverStream<Result<OnHand, Status>>;

    async fn watch(
        &self,
        request: Request<Article>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (fleet, pause, id) = (self.fleet.clone(), self.pause, request.get_ref().id);
        let (tell, told) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for sold in 0..5 {
                // The caller is gone: nobody is told any more.
                if tell.send(Ok(Self::look(&fleet, id, sold))).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(told)))
    }
}

/// A client of the service that is called `stock`: found, balanced and retried as any other.
#[must_use]
pub fn stock(fleet: &Fleet) -> StockClient<outrigger::Client> {
    StockClient::with_origin(fleet.client(), http::Uri::from_static("http://stock"))
}
