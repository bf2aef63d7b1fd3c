//! Serves the stock, or asks for it: `cargo run -p outrigger-example-tonic -- [ask ID]`.
#![expect(clippy::print_stdout, reason = "this is what was asked for")]

use std::time::Duration;

use outrigger::core::Protocol;
use outrigger_example_tonic::proto::{Article, StockServer};
use outrigger_example_tonic::{Warehouse, stock};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("ask") {
        return ask(args.next().unwrap_or_default().parse()?).await;
    }
    let port: u16 = std::env::var("PORT").map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;

    let fleet = outrigger::builder("stock").protocol(Protocol::Grpc).join().await?;
    let warehouse = Warehouse::new(fleet.clone(), Duration::from_secs(1));
    fleet.serve(listener, StockServer::new(warehouse)).await?;
    Ok(())
}

async fn ask(id: u64) -> Result<(), Box<dyn std::error::Error>> {
    let fleet = outrigger::join("shop").await?;
    let mut stock = stock(&fleet);
    println!("{:?}", stock.get(Article { id }).await?.into_inner());
    let mut told = stock.watch(Article { id }).await?.into_inner();
    while let Some(on_hand) = told.message().await? {
        println!("{on_hand:?}");
    }
    Ok(())
}
