//! Runs one of the three services: `cargo run -p outrigger-example-hyper -- orders`.

use outrigger_example_hyper::answer;
use tokio::net::TcpListener;
use tower::service_fn;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let role = std::env::args().nth(1).unwrap_or_else(|| "orders".into());
    let port: u16 = std::env::var("PORT").map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;

    let fleet = outrigger::join(&role).await?;
    let service = service_fn({
        let fleet = fleet.clone();
        move |request| answer(fleet.clone(), request)
    });
    fleet.serve(listener, service).await?;
    Ok(())
}
