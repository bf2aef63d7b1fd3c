//! One pool, several runtimes.

use tokio::runtime::{Builder, Runtime};
use tower::Service;

use crate::raw::*;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn a_connection_is_used_only_on_the_runtime_that_opened_it() {
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    let (endpoint, connections) = servers.block_on(async {
        let (listener, endpoint) = listen().await;
        (endpoint, answer_all(listener, OK))
    });
    let pool = pool(|_| {});
    let (one, two) = (runtime(), runtime());

    // `one` is not driven while `two` runs: a connection of its own would hang there.
    for _ in 0..3 {
        for runtime in [&one, &two] {
            let answer = runtime.block_on(get(&pool, &endpoint, "/"));
            assert_eq!(answer.expect("answered"), "ok");
        }
    }
    assert_eq!(connections.get(), 2, "one connection each");

    drop(one);
    let three = runtime();
    for runtime in [&two, &three] {
        assert_eq!(runtime.block_on(get(&pool, &endpoint, "/")).expect("answered"), "ok");
    }
    assert_eq!(connections.get(), 3);
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn idle_connections_of_another_runtime_make_room() {
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    let (endpoint, _) = servers.block_on(async {
        let (listener, endpoint) = listen().await;
        (endpoint, answer_all(listener, OK))
    });
    let pool = pool(|config| config.max_connections = 1);
    let (one, two) = (runtime(), runtime());
    for runtime in [&one, &two, &one, &two] {
        assert_eq!(runtime.block_on(get(&pool, &endpoint, "/")).expect("answered"), "ok");
        assert_eq!(pool.stats().connections, 1);
    }
}

#[test]
fn a_runtime_that_stops_in_the_middle_takes_nothing_with_it() {
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    let endpoint = servers.block_on(async {
        let (listener, endpoint) = listen_for(outrigger_core::Protocol::H2c).await;
        // Accepts and never speaks, so that opening takes its whole time.
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok(accepted) = listener.accept().await {
                open.push(accepted);
            }
        });
        endpoint
    });
    let pool = pool(|_| {});
    let one = runtime();
    let (cloned, asked) = (pool.clone(), endpoint.clone());
    one.block_on(async {
        tokio::spawn(async move { get(&cloned, &asked, "/").await });
        until("it is being opened", || pool.stats().connecting == 1).await;
    });

    drop(one);

    let stats = pool.stats();
    assert_eq!((stats.connecting, stats.connections, stats.pending), (0, 0, 0));
}

#[test]
fn who_waits_on_a_runtime_that_stops_is_told() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = silent.local_addr().expect("bound");
    let endpoint = endpoint(address, outrigger_core::Protocol::H2c);
    let mut pool = pool(|_| {});
    let one = runtime();
    // Made within the runtime, and held outside of it.
    let (future,) = one.block_on(async {
        let future = pool.call(dispatch(&endpoint, request("/")));
        until("it is being opened", || pool.stats().connecting == 1).await;
        (future,)
    });

    drop(one);

    let failed = runtime().block_on(future).expect_err("nothing comes any more");
    assert_eq!(failed.kind, outrigger_core::FailureKind::ConnectFailure);
    let stats = pool.stats();
    assert_eq!((stats.connecting, stats.connections, stats.pending), (0, 0, 0));
}
