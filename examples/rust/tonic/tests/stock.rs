//! Unary and streaming calls by name, over real sockets and the dev agent.

use std::num::NonZeroU32;
use std::time::Duration;

use outrigger::core::{Protocol, Rate, Rejected};
use outrigger::http::Drained;
use outrigger::{Fleet, Inbound, InboundRate, ServeError};
use outrigger_dev::Agent;
use outrigger_example_tonic::proto::{Article, StockServer};
use outrigger_example_tonic::{Warehouse, stock};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;

struct Running {
    fleet: Fleet,
    end: oneshot::Sender<()>,
    serving: JoinHandle<Result<Drained, ServeError>>,
}

impl Running {
    async fn start(agent: &Agent, inbound: Inbound) -> Self {
        let builder = outrigger::builder("stock").protocol(Protocol::Grpc).consul(agent.url());
        let builder = builder.notice(Duration::from_millis(300)).inbound(inbound);
        let fleet = builder.join().await.expect("joined");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (end, ended) = oneshot::channel();
        let service = StockServer::new(Warehouse::new(fleet.clone(), Duration::from_millis(100)));
        let serving = tokio::spawn({
            let fleet = fleet.clone();
            let end = async { ended.await.unwrap_or_default() };
            async move { fleet.serve_until(listener, service, end).await }
        });
        fleet.registered().await;
        Self { fleet, end, serving }
    }

    async fn stop(self) -> Drained {
        let _ = self.end.send(());
        self.serving.await.expect("no panic").expect("served")
    }
}

async fn agent() -> Agent {
    Agent::builder().bind(([127, 0, 0, 1], 0).into()).await.expect("the dev agent starts")
}

async fn shop(agent: &Agent) -> Fleet {
    outrigger::builder("shop").consul(agent.url()).join().await.expect("joined")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unary_and_a_streaming_call_find_the_service_by_its_name() {
    let agent = agent().await;
    let running = Running::start(&agent, Inbound::default()).await;
    let id = running.fleet.instance_id().expect("registered").to_string();
    let mut stock = stock(&shop(&agent).await);

    let on_hand = stock.get(Article { id: 7 }).await.expect("an answer").into_inner();
    assert_eq!((on_hand.id, on_hand.on_hand), (7, 7));
    assert_eq!(on_hand.served_by, id);

    let mut told = stock.watch(Article { id: 7 }).await.expect("an answer").into_inner();
    let mut left = Vec::new();
    while let Some(on_hand) = told.message().await.expect("a message") {
        left.push(on_hand.on_hand);
    }
    assert_eq!(left, [7, 6, 5, 4, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_the_service_is_unavailable_with_its_reason() {
    let agent = agent().await;
    let mut inbound = Inbound::default();
    let once_an_hour = Rate::new(NonZeroU32::MIN, Duration::from_secs(3600)).expect("a rate");
    inbound.rate_limits.push(InboundRate::new(once_an_hour));
    let _running = Running::start(&agent, inbound).await;
    let mut stock = stock(&shop(&agent).await);
    stock.get(Article { id: 7 }).await.expect("the one that is allowed");
    let status = stock.get(Article { id: 7 }).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unavailable);
    let reason = status.metadata().get("x-outrigger-reason").expect("a reason");
    assert_eq!(reason, "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_before_any_endpoint_saw_it_is_found_in_the_status() {
    let agent = agent().await;
    let mut stock = stock(&shop(&agent).await);
    let status = stock.get(Article { id: 7 }).await.expect_err("nobody serves it");
    let rejected = Rejected::find(&status).expect("our own refusal");
    assert!(matches!(rejected, Rejected::NoEndpoint { .. }), "{rejected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_runs_is_finished_while_its_service_drains() {
    let agent = agent().await;
    let first = Running::start(&agent, Inbound::default()).await;
    let mut stock = stock(&shop(&agent).await);
    let mut told = stock.watch(Article { id: 7 }).await.expect("an answer").into_inner();
    assert!(told.message().await.expect("a message").is_some());

    let second = Running::start(&agent, Inbound::default()).await;
    let stopping = tokio::spawn(first.stop());
    let mut messages = 1;
    while told.message().await.expect("the stream is not cut").is_some() {
        messages += 1;
    }
    assert_eq!(messages, 5, "to the end");
    assert_eq!(stopping.await.expect("no panic").cut, 0);

    let answer = stock.get(Article { id: 7 }).await.expect("the other one serves");
    let id = second.fleet.instance_id().expect("registered").to_string();
    assert_eq!(answer.into_inner().served_by, id);
}
