//! Bounds, queues, expiry.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use outrigger_core::{FailureKind, Protocol, Refusal, Rejected};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::raw::*;

/// Answers each request once a permit is added; counts connections.
fn answer_on_demand(listener: TcpListener) -> (Arc<Count>, Arc<Semaphore>) {
    let (count, go) = (Arc::new(Count::default()), Arc::new(Semaphore::new(0)));
    let (counted, gate) = (Arc::clone(&count), Arc::clone(&go));
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            counted.add();
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                while read_head(&mut tcp).await.is_some() {
                    gate.acquire().await.expect("never closed").forget();
                    write(&mut tcp, OK).await;
                }
            });
        }
    });
    (count, go)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_share_a_bounded_number_of_connections() {
    let (listener, endpoint) = listen().await;
    let connections = answer_all(listener, OK);
    let pool = pool(|config| {
        config.max_connections = 16;
        config.max_pending = 1_000;
    });

    let tasks: Vec<_> = (0..1_000)
        .map(|n| {
            let (pool, endpoint) = (pool.clone(), endpoint.clone());
            tokio::spawn(async move { get(&pool, &endpoint, &format!("/{n}")).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("no panic").expect("answered"), "ok");
    }

    assert!(connections.get() <= 16, "{} connections", connections.get());
    let stats = pool.stats();
    assert_eq!((stats.in_flight, stats.pending, stats.connecting), (0, 0, 0));
    assert_eq!(stats.connections, stats.idle);
}

#[tokio::test]
async fn over_a_full_queue_the_next_is_overloaded_and_never_sent() {
    let (listener, endpoint) = listen().await;
    let (connections, go) = answer_on_demand(listener);
    let pool = pool(|config| {
        config.max_connections = 2;
        config.max_pending = 3;
    });
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let (pool, endpoint) = (pool.clone(), endpoint.clone());
            tokio::spawn(async move { get(&pool, &endpoint, "/").await })
        })
        .collect();
    until("two run and three wait", || {
        let stats = pool.stats();
        (stats.in_flight, stats.pending) == (2, 3)
    })
    .await;

    let failed = get(&pool, &endpoint, "/").await.expect_err("the queue is full");

    assert_eq!(failed.kind, FailureKind::ConnectFailure);
    let Some(Rejected::Overloaded { service, limit, .. }) = Rejected::find(&failed) else {
        panic!("{failed:?} says who refused")
    };
    assert_eq!((service.as_str(), *limit), ("stock", 3));
    assert_eq!(Refusal::of(&failed).expect("ours").reason.as_str(), "overloaded");
    go.add_permits(5);
    for task in tasks {
        task.await.expect("no panic").expect("whoever waited is answered");
    }
    assert_eq!(connections.get(), 2);
    assert_eq!(pool.stats().in_flight, 0);
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_the_queue() {
    let (listener, endpoint) = listen().await;
    let (_, go) = answer_on_demand(listener);
    let pool = pool(|config| {
        config.max_connections = 1;
        config.max_pending = 1;
    });
    let spawn = || {
        let (pool, endpoint) = (pool.clone(), endpoint.clone());
        tokio::spawn(async move { get(&pool, &endpoint, "/").await })
    };
    let first = spawn();
    until("one runs", || pool.stats().in_flight == 1).await;
    for _ in 0..100 {
        let second = spawn();
        until("one waits", || pool.stats().pending == 1).await;
        second.abort();
        assert!(second.await.expect_err("aborted").is_cancelled());
        assert_eq!(pool.stats().pending, 0);
    }
    let third = spawn();
    until("one waits", || pool.stats().pending == 1).await;
    go.add_permits(2);
    first.await.expect("no panic").expect("answered");
    third.await.expect("no panic").expect("answered, past those who gave up");
}

#[tokio::test]
async fn every_waiter_behind_a_refused_port_is_told() {
    let (listener, endpoint) = listen().await;
    drop(listener);
    let pool = pool(|config| {
        config.max_connections = 4;
        config.max_pending = 100;
    });
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (pool, endpoint) = (pool.clone(), endpoint.clone());
            tokio::spawn(async move { get(&pool, &endpoint, "/").await })
        })
        .collect();
    for task in tasks {
        let failed = task.await.expect("no panic").expect_err("nobody listens");
        assert_eq!(failed.kind, FailureKind::ConnectFailure);
    }
    assert_eq!((pool.stats().connections, pool.stats().pending), (0, 0));
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let (listener, endpoint) = listen().await;
    let (connections, go) = answer_on_demand(listener);
    let pool = pool(|config| config.max_idle = 3);
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let (pool, endpoint) = (pool.clone(), endpoint.clone());
            tokio::spawn(async move { get(&pool, &endpoint, "/").await })
        })
        .collect();
    until("all run", || pool.stats().in_flight == 10).await;
    go.add_permits(10);
    for task in tasks {
        task.await.expect("no panic").expect("answered");
    }
    assert_eq!(connections.get(), 10);
    assert_eq!((pool.stats().idle, pool.stats().connections), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_its_time() {
    let (listener, endpoint) = listen().await;
    answer_all(listener, OK);
    let pool = pool(|config| config.idle_timeout = Duration::from_secs(10));
    get(&pool, &endpoint, "/").await.expect("answered");
    assert_eq!(pool.stats().idle, 1);

    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(pool.stats().idle, 1, "not before its time");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(pool.stats().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_keeps_for_less_is_believed() {
    let (listener, endpoint) = listen().await;
    answer_all(
        listener,
        "HTTP/1.1 200 OK\r\nkeep-alive: timeout=5, max=100\r\ncontent-length: 2\r\n\r\nok",
    );
    let pool = pool(|_| {});
    get(&pool, &endpoint, "/").await.expect("answered");
    assert_eq!(pool.stats().idle, 1);

    tokio::time::sleep(Duration::from_millis(4_500)).await;

    assert_eq!(pool.stats().connections, 0, "closed before the endpoint does it");
}

#[tokio::test]
async fn an_endpoint_that_keeps_nothing_is_believed() {
    let (listener, endpoint) = listen().await;
    let connections = answer_all(
        listener,
        "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nok",
    );
    let pool = pool(|_| {});
    for _ in 0..3 {
        get(&pool, &endpoint, "/").await.expect("answered");
    }
    assert_eq!(connections.get(), 3);
    assert_eq!(pool.stats().connections, 0);
}

#[tokio::test]
async fn connections_of_a_removed_endpoint_are_closed() {
    let (one, first) = listen().await;
    let (two, second) = listen().await;
    let (_, go) = answer_on_demand(one);
    answer_all(two, OK);
    let pool = pool(|_| {});
    go.add_permits(1);
    get(&pool, &first, "/").await.expect("answered");
    get(&pool, &second, "/").await.expect("answered");
    let running = {
        let (pool, first) = (pool.clone(), first.clone());
        tokio::spawn(async move { get(&pool, &first, "/").await })
    };
    until("one runs", || pool.stats().in_flight == 1).await;

    pool.retain(|endpoint| *endpoint == second);

    assert_eq!((pool.stats().endpoints, pool.stats().connections), (1, 1));
    go.add_permits(1);
    running.await.expect("no panic").expect("what runs may finish");
    assert_eq!((pool.stats().endpoints, pool.stats().connections), (1, 1), "and is not kept");
}

#[tokio::test]
async fn an_instance_that_comes_back_with_another_protocol_gets_other_connections() {
    let (listener, before) = listen().await;
    answer_all(listener, OK);
    let pool = pool(|_| {});
    get(&pool, &before, "/").await.expect("answered");
    let after = endpoint(before.address(), Protocol::H2c);

    let failed = get(&pool, &after, "/").await.expect_err("it speaks HTTP/1.1 only");

    assert_eq!(failed.kind, FailureKind::ConnectFailure);
    assert_eq!(pool.stats().endpoints, 1);
    assert_eq!(get(&pool, &before, "/").await.expect("and back again"), "ok");
}

#[tokio::test]
async fn the_last_clone_takes_the_connections_with_it() {
    let (listener, endpoint) = listen().await;
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        while read_head(&mut tcp).await.is_some() {
            write(&mut tcp, OK).await;
        }
        let _ = tell.send(());
    });
    let pool = pool(|_| {});
    let response = send(&pool, &endpoint, request("/")).await.expect("answered");
    drop(pool);
    assert_eq!(response.into_body().collect().await.expect("still whole").to_bytes(), "ok");
    told.await.expect("the endpoint sees the connection closed");
}
