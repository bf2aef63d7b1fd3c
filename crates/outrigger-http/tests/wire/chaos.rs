//! Everything at once, at random: whatever happens, answers belong to their questions and nothing
//! is left over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use outrigger_testkit::{Scripted, Step, with_seed};

use crate::raw::*;

/// Does what the path says, and answers with the path.
fn step(path: &str) -> Step {
    let echo = Step::answer(200).with_body(path.to_owned());
    match path.split('-').nth(1) {
        Some("reset") => Step::reset(),
        Some("close") => Step::close(),
        Some("half") => Step::half_close(),
        Some("break") => echo.breaking_off(),
        Some("slow") => echo.after(Duration::from_millis(20)),
        Some("trickle") => echo.trickling(Duration::from_micros(50)),
        Some("last") => echo.with_header("connection", "close"),
        Some("short") => echo.with_header("keep-alive", "timeout=1"),
        Some("extra") => {
            let length = path.len();
            Step::raw(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{path}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
            ))
        }
        Some("stall") => Step::stall(),
        _ => echo,
    }
}

#[test]
fn every_answer_belongs_to_its_question_and_nothing_is_left_over() {
    with_seed(|seed| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(chaos(seed));
    });
}

async fn chaos(seed: u64) {
    let server = Scripted::start_with(|seen| step(&seen.path)).await.expect("a port");
    let endpoint = server.endpoint("stock").expect("a valid name");
    let pool = pool(|config| {
        config.max_connections = 20;
        config.max_pending = 40;
        config.max_idle = 10;
    });
    let answered = Arc::new(AtomicU64::new(0));
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut tasks = Vec::new();
    for n in 0..3_000 {
        let kind = match rng.u8(..100) {
            0..5 => "reset",
            5..10 => "close",
            10..13 => "half",
            13..18 => "break",
            18..28 => "slow",
            28..33 => "trickle",
            33..40 => "last",
            40..43 => "short",
            43..48 => "extra",
            48..52 => "stall",
            _ => "echo",
        };
        match rng.u16(..1_000) {
            0 => server.reset_connections(),
            1 => pool.retain(|_| false),
            _ => {}
        }
        let path = format!("/{n}-{kind}");
        let patience = match (kind, rng.u8(..10)) {
            ("stall" | "half", _) => Duration::from_millis(rng.u64(1..30)),
            (_, 0) => Duration::from_micros(rng.u64(0..3_000)),
            _ => Duration::from_secs(20),
        };
        let reads = rng.u8(..10) > 0;
        let (pool, endpoint, answered) = (pool.clone(), endpoint.clone(), Arc::clone(&answered));
        tasks.push(tokio::spawn(async move {
            let asked = tokio::time::timeout(patience, async {
                let response = send(&pool, &endpoint, request(&path)).await?;
                if reads {
                    let body = response.into_body().collect().await?.to_bytes();
                    assert_eq!(body, path, "an answer to somebody else's question");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<_, outrigger_core::Failed>(())
            });
            // Failures and timeouts are what this is about.
            let _ = asked.await;
        }));
        if n % 40 == 0 {
            tokio::time::sleep(Duration::from_millis(rng.u64(0..8))).await;
        }
    }
    for task in tasks {
        task.await.expect("no answer was somebody else's");
    }
    assert!(answered.load(Ordering::SeqCst) > 300, "seed {seed}: most of it works all the same");
    until("nothing is in flight", || {
        let stats = pool.stats();
        (stats.in_flight, stats.pending, stats.connecting) == (0, 0, 0)
    })
    .await;
    let stats = pool.stats();
    assert!(stats.idle <= 10 && stats.connections == stats.idle, "seed {seed}: {stats:?}");
    pool.retain(|_| false);
    until("every connection is closed", || server.open_connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_ids_at_one_address_neither_hang_nor_grow_the_pool() {
    let server = Scripted::start_with(|seen| step(&seen.path)).await.expect("a port");
    let pool = pool(|_| {});
    let endpoints: Vec<_> = (0..300)
        .map(|number| {
            let id = format!("stock-{number}").parse().expect("an id");
            let name = "stock".parse().expect("a name");
            let instance = outrigger_core::Instance::new(id, name, server.address());
            outrigger_core::Endpoint::new(Arc::new(instance), server.address())
        })
        .collect();
    let asking = async {
        for endpoint in &endpoints {
            get(&pool, endpoint, "/a").await.expect("answered");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asking).await.expect("a map that ends");
    assert_eq!(pool.stats().endpoints, 300);
    pool.retain(|endpoint| *endpoint == endpoints[7]);
    assert_eq!(pool.stats().endpoints, 1);
}
