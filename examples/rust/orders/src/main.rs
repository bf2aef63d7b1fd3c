//! Runs orders: `cargo run -p outrigger-example-orders`.

use outrigger_example_orders::router;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".into());
    let port: u16 = std::env::var("PORT").map_or(Ok(8081), |port| port.parse())?;
    let listener = TcpListener::bind((host.as_str(), port)).await?;

    let fleet = outrigger::builder("orders").version(env!("CARGO_PKG_VERSION")).join().await?;
    fleet.serve(listener, router(fleet.clone())).await?;
    Ok(())
}
