//! Answers that no honest agent gives: whatever comes, the last good set stays, the class of the
//! trouble is named, and a good answer after it is used.

#![expect(clippy::disallowed_methods, reason = "a test's deadline is on the runtime's clock")]

#[path = "support/fake.rs"]
#[expect(dead_code, reason = "each suite uses a part of it")]
mod fake;

use std::time::Duration;

use fake::Noted;
use outrigger_consul::{AgentAddress, Consul, ConsulConfig};
use outrigger_core::{Freshness, ServiceName};
use outrigger_discovery::{Query, Resolver};
use outrigger_testkit::{HostileAnswer, HostileConsul};

const MS: Duration = Duration::from_millis(1);

fn stock() -> ServiceName {
    "stock".parse().expect("a name")
}

async fn survive(answer: HostileAnswer) {
    let (name, wanted) = (answer.name(), answer.classes());
    let agent = HostileConsul::start(&stock(), answer).await.expect("a port");
    let (noted, observers) = Noted::new();
    let address: AgentAddress = agent.address().to_string().parse().expect("an address");
    let mut config = ConsulConfig::new(address).with_observers(observers);
    config.timeout = 300 * MS;
    config.max_answer = 4 << 20;
    config.max_instances = 100;
    let consul = Consul::new(config).expect("valid");
    let mut watch = consul.watch(&Query::new(stock()));
    let first = watch.next().await.expect("a snapshot");
    assert_eq!(first.instances.len(), 2, "{name}");
    agent.turn_hostile();

    let named = async {
        loop {
            let all = noted.all();
            if wanted.iter().any(|class| all.iter().any(|n| n.ends_with(&format!(" {class}")))) {
                return;
            }
            tokio::time::sleep(20 * MS).await;
        }
    };
    let named = tokio::time::timeout(Duration::from_secs(15), named).await;
    assert!(named.is_ok(), "{name}: none of {wanted:?} in {:?}", noted.all());
    let kept = consul.watched();
    assert_eq!(kept[0].instances.len(), 2, "{name}: the last good set stays");
    assert_eq!(kept[0].freshness, Freshness::Stale, "{name}");

    agent.turn_well();
    let again = async {
        loop {
            let snapshot = watch.next().await.expect("a snapshot");
            if snapshot.instances.len() == 3 && snapshot.freshness == Freshness::Live {
                return;
            }
            assert_eq!(snapshot.instances.len(), 2, "{name}: nothing hostile got in");
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(15), again).await;
    assert!(again.is_ok(), "{name}: a good answer is used again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_answer_is_named_and_survived() {
    let answers = HostileAnswer::all(&stock());
    assert!(answers.len() >= 30, "{}", answers.len());
    let started = tokio::time::Instant::now();
    let before = resident();
    let mut running = tokio::task::JoinSet::new();
    for answer in answers {
        running.spawn(survive(answer));
    }
    let mut failed = Vec::new();
    while let Some(done) = running.join_next().await {
        if let Err(error) = done {
            failed.push(error.to_string());
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(started.elapsed() < Duration::from_secs(30));
    let grown = resident().saturating_sub(before);
    // All of them at once, and the agents beside them in this process.
    assert!(grown < 128 << 20, "{} MiB more than before", grown >> 20);
}

/// Bytes of memory in use, 0 where that is not told.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
