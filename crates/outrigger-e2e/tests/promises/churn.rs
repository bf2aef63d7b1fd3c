//! Instances and services that come and go leave nothing behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger::core::{Instance, ServiceName};
use outrigger_testkit::{InMemoryRegistry, Scripted, Step};
use tokio::time::sleep;

use crate::stage::{ms, turn, until};

/// What of the process is in memory.
///
/// Units: bytes. `None` where the system does not tell it in `/proc`.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1_024)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_instances_come_and_go_and_leave_nothing() {
    let _turn = turn().await;
    let registry = Arc::new(InMemoryRegistry::new());
    let service: ServiceName = "stock".parse().expect("a name");
    let good = Scripted::start([Step::answer(200)]).await.expect("an endpoint");
    let gone = Scripted::start([Step::answer(200)]).await.expect("an endpoint");
    let caller = outrigger::builder("caller")
        .registry(Arc::clone(&registry) as _, None)
        .join()
        .await
        .expect("joined");
    let stays = good.instance("stock").expect("an instance");
    registry.put(stays);

    let instance = |number: u32, address: SocketAddr| {
        let id = format!("stock-{number}").parse().expect("an id");
        Instance::new(id, service.clone(), address)
    };
    let churn = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let comes = instance(number, gone.address());
            let id = comes.id.clone();
            registry.put(comes);
            assert!(registry.remove(&service, &id), "it was there");
            if number % 20 == 0 {
                let answer = caller.get("http://stock/").await.expect("an answer");
                let _body = answer.into_body().bytes().await.expect("a body");
            }
        }
    };
    churn(0..2_000).await;
    let before = resident();
    churn(2_000..12_000).await;
    let after = resident();
    let grown = before.zip(after).map(|(before, after)| after.saturating_sub(before));

    // Whoever has left is not asked any more.
    let only_one = || caller.services().iter().all(|view| view.endpoints.len() == 1);
    let took = until(Duration::from_secs(2), "one endpoint is left", only_one).await;
    let asked = gone.requests();
    for _ in 0..50 {
        let answer = caller.get("http://stock/").await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(gone.requests(), asked, "an endpoint that has left is not used");
    println!(
        "10,000 instances came and went: memory grew by {} KiB, the last one was forgotten after \
         {took:.1?}",
        grown
            .map_or_else(|| "an unknown number of".to_owned(), |bytes| (bytes / 1_024).to_string())
    );
    assert!(grown.is_none_or(|bytes| bytes <= 2 << 20), "{grown:?} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_services_are_forgotten_with_their_fleet() {
    let _turn = turn().await;
    let registry = Arc::new(InMemoryRegistry::new());
    let round = async || {
        // One of its own, since it remembers what it was asked.
        let endpoint = Scripted::start([Step::answer(200)]).await.expect("an endpoint");
        let caller = outrigger::builder("caller")
            .registry(Arc::clone(&registry) as _, None)
            .join()
            .await
            .expect("joined");
        for number in 0..250 {
            let name = format!("service-{number}");
            let instance = endpoint.instance(&name).expect("an instance");
            registry.set(&name.parse().expect("a name"), [instance]);
            let answer = caller.get(&format!("http://{name}/")).await.expect("an answer");
            assert_eq!(answer.status(), 200);
        }
        assert_eq!(caller.services().len(), 250);
        drop(caller);
        let closed = || endpoint.open_connections() == 0;
        until(Duration::from_secs(2), "connections are closed", closed).await;
    };
    for _ in 0..6 {
        round().await;
    }
    sleep(ms(200)).await;
    let before = resident();
    for _ in 0..8 {
        round().await;
    }
    // Their tasks end when somebody runs them.
    sleep(ms(200)).await;
    let grown = before.zip(resident()).map(|(before, after)| after.saturating_sub(before));
    println!(
        "3,500 services called by 14 fleets: memory grew by {} KiB in the last 8",
        grown.map_or(0, |bytes| bytes / 1_024)
    );
    assert!(grown.is_none_or(|bytes| bytes <= 2 << 20), "{grown:?} bytes");
}
