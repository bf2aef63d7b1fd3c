//! Runs the storefront: `cargo run -p outrigger-example-axum`.

use outrigger_example_axum::router;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;

    let fleet = outrigger::join("storefront").await?;
    fleet.serve(listener, router(fleet.clone())).await?;
    Ok(())
}
