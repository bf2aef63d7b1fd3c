//! Three Consul servers lose their leader, then their quorum, and get both back: nobody who
//! watches loses an instance or an update.
#![expect(clippy::print_stdout, reason = "each prints its figure")]
#![expect(clippy::disallowed_methods, reason = "foreign processes run on real time")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger::consul::{AgentAddress, Consul, ConsulConfig, Kv, KvStream};
use outrigger::core::{Freshness, RegistrationState, ServiceName, Snapshot, Status};
use outrigger::discovery::{
    Query, Registered, Registrar as _, Registration, Resolver as _, SnapshotStream,
};
use outrigger_e2e::cluster::{Cluster, SERVERS};
use outrigger_e2e::consul::Version;
use tokio::task::JoinHandle;

/// An election takes a second or two; with a busy machine, and the client's own pace.
const BACK_WITHIN: Duration = Duration::from_secs(15);
const KEY: &str = "outrigger/count";

fn stock() -> ServiceName {
    "stock".parse().expect("a name")
}

/// Counts up under a key, and never goes on before the last number was taken for written.
struct Writer {
    acknowledged: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(kv: Kv) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&acknowledged);
        let task = tokio::spawn(async move {
            for number in 1.. {
                // A write without a leader fails; whether it was done after all is not known, so
                // the same number is written again.
                while kv.put(KEY, number.to_string()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                count.store(number, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { acknowledged, task }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a watch of the service and one of the key have seen.
#[derive(Default)]
struct Seen {
    newest: Mutex<Option<Arc<Snapshot>>>,
    fewest: AtomicU64,
    number: AtomicU64,
    backwards: AtomicU64,
}

impl Seen {
    fn start(mut watch: SnapshotStream, mut key: KvStream) -> (Arc<Self>, [JoinHandle<()>; 2]) {
        let seen = Arc::new(Self { fewest: AtomicU64::new(u64::MAX), ..Self::default() });
        let (of_set, of_key) = (Arc::clone(&seen), Arc::clone(&seen));
        let set = tokio::spawn(async move {
            while let Some(snapshot) = watch.next().await {
                of_set.fewest.fetch_min(snapshot.instances.len() as u64, Ordering::SeqCst);
                let mut newest = of_set.newest.lock().unwrap_or_else(PoisonError::into_inner);
                *newest = Some(snapshot);
            }
        });
        let key = tokio::spawn(async move {
            while let Some(state) = key.next().await {
                let text = state.value().and_then(|value| std::str::from_utf8(value).ok());
                let number = text.and_then(|text| text.parse().ok()).unwrap_or(0);
                if of_key.number.swap(number, Ordering::SeqCst) > number {
                    of_key.backwards.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        (seen, [set, key])
    }

    fn is(&self, fits: impl Fn(&Snapshot) -> bool) -> bool {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().is_some_and(|snapshot| fits(snapshot))
    }

    fn describe(&self) -> String {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let set = newest.as_ref().map(|snapshot| {
            let states: Vec<_> = snapshot.instances.iter().map(|i| (&i.id, i.status)).collect();
            format!("{:?} {states:?}", snapshot.freshness)
        });
        format!("{set:?}, number {}", self.number.load(Ordering::SeqCst))
    }
}

/// Waits until it is so; how long that took.
async fn within(what: &str, told: impl Fn() -> String, is_so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < BACK_WITHIN, "{what}: not within {BACK_WITHIN:?}; {}", told());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

async fn register(consul: &Consul, port: u16) -> Registered {
    let registration = Registration::new(stock(), port).with_address([127, 0, 0, 1].into());
    consul.register(registration).await.expect("valid")
}

async fn nothing_is_lost_with_the_leader_or_the_quorum(version: Version) {
    let Some(mut cluster) = Cluster::start(version).expect("the servers start") else { return };
    let leader = cluster.leader().expect("a leader");
    // The agent that we talk to lives through it all, as a client's own agent would.
    let (ours, other) = ((leader + 1) % SERVERS, (leader + 2) % SERVERS);
    let address: AgentAddress = cluster.address(ours).to_string().parse().expect("an address");
    let consul = Consul::new(ConsulConfig::new(address)).expect("valid");

    let mut handles = Vec::new();
    for port in [1, 2, 3] {
        handles.push(register(&consul, port).await);
    }
    let writer = Writer::start(consul.kv());
    let all = |wanted: usize| {
        move |s: &Snapshot| {
            s.freshness == Freshness::Live
                && s.instances.len() == wanted
                && s.instances.iter().all(|i| i.status == Status::Passing)
        }
    };
    let mut first = consul.watch(&Query::new(stock()));
    let ready = async { while !first.next().await.is_some_and(|s| all(3)(&s)) {} };
    tokio::time::timeout(BACK_WITHIN, ready).await.expect("three instances, passing");
    let key = consul.kv().watch(KEY).expect("a key");
    let (seen, tasks) = Seen::start(consul.watch(&Query::new(stock())), key);
    let told = || seen.describe();
    let caught_up = |number: u64| seen.number.load(Ordering::SeqCst) >= number;
    within("the first number", told, || caught_up(1)).await;

    // The leader dies; an update is made in the election.
    cluster.kill(leader);
    let reported = handles[0].report(Status::Warning, "in an election").await;
    let number = writer.acknowledged() + 5;
    let election = within("writes without the old leader", told, || {
        writer.acknowledged() >= number && caught_up(number)
    })
    .await;
    reported.expect("the agent takes a report without a leader");
    let update = within("the update of the election", told, || {
        seen.is(|s| s.instances.iter().any(|i| i.status == Status::Warning))
    })
    .await;
    handles[0].report(Status::Passing, "").await.expect("told");
    within("all passing again", told, || seen.is(all(3))).await;

    // The quorum goes: one server is left, which can neither write nor vouch for what it reads.
    let before = writer.acknowledged();
    cluster.kill(other);
    // What was known by then stays true: nothing can be written without a quorum. So a question
    // that waits for a change goes on waiting, and the set need not become stale.
    let fourth = register(&consul, 4).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(cluster.leader().is_none(), "one of three is no quorum");
    assert!(seen.is(|s| s.instances.len() == 3), "kept while nobody knows better: {}", told());
    assert!(handles.iter().all(|h| h.state() != RegistrationState::Deregistered));

    // Both come back, with what is on their disks.
    for server in [leader, other] {
        cluster.start_server(server).expect("started");
    }
    let back = Instant::now();
    assert!(cluster.wait_for_leader(Duration::from_secs(20)).is_some(), "{}", cluster.log(ours));
    let elected = back.elapsed();
    within("everybody, the newcomer too", told, || seen.is(all(4))).await;
    let number = writer.acknowledged().max(before) + 1;
    within("writes go on", told, || writer.acknowledged() >= number).await;
    let last = writer.acknowledged();
    within("the last number that was acknowledged", told, || caught_up(last)).await;
    let fresh = back.elapsed().saturating_sub(elected);

    println!(
        "consul {}: leader killed: writes and watches went on after {election:.1?}, an update made \
         meanwhile seen {update:.1?} later; quorum lost for 4 s: set kept; back: \
         {fresh:.1?} after the election; {last} writes, 0 lost",
        version.number()
    );
    assert_eq!(seen.fewest.load(Ordering::SeqCst), 3, "the set was whole at every moment");
    assert_eq!(seen.backwards.load(Ordering::SeqCst), 0, "no watch went back in time");
    for task in tasks {
        task.abort();
    }
    fourth.deregister().await.expect("taken back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_the_newest_consul_lose_leader_and_quorum_and_nobody_an_update() {
    nothing_is_lost_with_the_leader_or_the_quorum(Version::New).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_the_oldest_consul_lose_leader_and_quorum_and_nobody_an_update() {
    nothing_is_lost_with_the_leader_or_the_quorum(Version::Old).await;
}
