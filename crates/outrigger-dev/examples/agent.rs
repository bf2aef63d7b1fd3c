//! Runs the agent until it is killed: `cargo run -p outrigger-dev --example agent -- 127.0.0.1:8500 [MANAGEMENT_TOKEN]`.
#![expect(clippy::print_stdout, reason = "a program says where it listens")]

use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:8500".to_owned());
    let mut builder = outrigger_dev::Agent::builder();
    if let Some(token) = arguments.next() {
        builder = builder.acl(token);
    }
    let agent = builder.bind(listen.parse()?).await?;
    println!("{}\nlistening on {}", outrigger_dev::BANNER, agent.url());
    std::future::pending::<()>().await;
    drop(agent);
    Ok(())
}
