//! What the DNS names among the addresses of a set stand for.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::{Address, Snapshot};
use tokio::task::JoinSet;

/// What is asked for the addresses of a name.
pub(crate) type Lookup = Arc<
    dyn Fn(Address) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>
        + Send
        + Sync,
>;

/// Look-ups at once: each holds a thread of the runtime's blocking pool.
const AT_ONCE: usize = 8;
/// A look-up that takes longer has failed; what the name stood for before stays.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the DNS names among the addresses of a set stand for, asked for beside the set's own loop.
pub(crate) struct Names {
    lookup: Lookup,
    // An empty list: asked, and nothing came of it yet.
    known: HashMap<Address, Vec<SocketAddr>>,
    waiting: VecDeque<Address>,
    asking: JoinSet<(Address, io::Result<Vec<SocketAddr>>)>,
    asked: HashSet<Address>,
}

impl Names {
    pub(crate) fn new(lookup: Lookup) -> Self {
        Self {
            lookup,
            known: HashMap::new(),
            waiting: VecDeque::new(),
            asking: JoinSet::new(),
            asked: HashSet::new(),
        }
    }

    /// By the system's resolver.
    pub(crate) fn system() -> Self {
        Self::new(Arc::new(|name| {
            Box::pin(async move { outrigger_consul::addresses(&name).await })
        }))
    }

    /// Asks for the names of these snapshots that were not asked for yet, and forgets all others.
    pub(crate) fn want<'a>(&mut self, snapshots: impl Iterator<Item = &'a Snapshot>) {
        let instances = snapshots.flat_map(|snapshot| snapshot.instances.iter());
        let names = instances.map(|instance| &instance.address);
        let wanted: HashSet<&Address> = names.filter(|a| matches!(a, Address::Name(..))).collect();
        self.known.retain(|name, _| wanted.contains(name));
        self.waiting.retain(|name| wanted.contains(name));
        for name in wanted {
            if !self.known.contains_key(name)
                && !self.asked.contains(name)
                && !self.waiting.contains(name)
            {
                self.waiting.push_back(name.clone());
            }
        }
        self.start();
    }

    /// Asks for everything once more.
    pub(crate) fn renew(&mut self) {
        for name in self.known.keys() {
            if !self.asked.contains(name) && !self.waiting.contains(name) {
                self.waiting.push_back(name.clone());
            }
        }
        self.start();
    }

    /// What a name stands for; `None` until its first look-up has ended.
    pub(crate) fn of(&self, name: &Address) -> Option<&[SocketAddr]> {
        self.known.get(name).map(Vec::as_slice)
    }

    /// Completes when a name stands for something else than before, or for nothing at its first
    /// look-up; never while nothing is asked.
    ///
    /// # Cancel safety
    /// Safe: a look-up goes on, and its end is taken by the next call.
    pub(crate) async fn changed(&mut self) {
        loop {
            let Some(ended) = self.asking.join_next().await else {
                return std::future::pending().await;
            };
            let Ok((name, found)) = ended else { continue };
            self.asked.remove(&name);
            let news = self.note(name, found);
            self.start();
            if news {
                return;
            }
        }
    }

    fn note(&mut self, name: Address, found: io::Result<Vec<SocketAddr>>) -> bool {
        match found {
            Ok(found) => self.known.insert(name, found.clone()).as_ref() != Some(&found),
            Err(error) => {
                tracing::debug!(%error, address = %name, "name not resolved");
                let first = !self.known.contains_key(&name);
                self.known.entry(name).or_default();
                first
            }
        }
    }

    fn start(&mut self) {
        while self.asking.len() < AT_ONCE {
            let Some(name) = self.waiting.pop_front() else { return };
            self.asked.insert(name.clone());
            let looking = (self.lookup)(name.clone());
            self.asking.spawn(async move {
                let found = tokio::time::timeout(PATIENCE, looking).await;
                (name, found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;

    use outrigger_core::Instance;
    use tokio::time::Instant;

    use super::*;

    fn name(host: &str) -> Address {
        Address::Name(host.into(), 80)
    }

    fn snapshot(hosts: &[&str]) -> Snapshot {
        let service: outrigger_core::ServiceName = "stock".parse().expect("a name");
        let instances = hosts.iter().map(|host| {
            let id = host.parse().expect("an id");
            Arc::new(Instance::new(id, service.clone(), name(host)))
        });
        Snapshot::new(service.clone(), 1, instances.collect(), SystemTime::UNIX_EPOCH)
    }

    fn one() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 80))
    }

    /// Names that begin with `slow` take a minute, those that begin with `no` do not resolve.
    fn resolver(most: &Arc<AtomicUsize>) -> Names {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::clone(most));
        Names::new(Arc::new(move |name| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            Box::pin(async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let text = name.to_string();
                let pause = if text.starts_with("slow") { 60_000 } else { 10 };
                tokio::time::sleep(Duration::from_millis(pause)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                if text.starts_with("no") {
                    return Err(io::ErrorKind::NotFound.into());
                }
                Ok(vec![one()])
            })
        }))
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "a test reads the runtime's paused clock")]
    async fn a_slow_name_holds_back_no_other() {
        let most = Arc::new(AtomicUsize::new(0));
        let mut names = resolver(&most);
        let set = snapshot(&["slow.example", "quick.example"]);
        names.want([&set].into_iter());
        let started = Instant::now();
        names.changed().await;
        assert_eq!(names.of(&name("quick.example")), Some(&[one()][..]));
        assert_eq!(names.of(&name("slow.example")), None, "still asked");
        assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
        names.changed().await;
        assert_eq!(names.of(&name("slow.example")), Some(&[][..]), "given up, and known as such");
        assert!(started.elapsed() <= PATIENCE + Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_names_are_asked_for_eight_at_a_time() {
        let most = Arc::new(AtomicUsize::new(0));
        let mut names = resolver(&most);
        let hosts: Vec<String> = (0..1_000).map(|n| format!("h{n}.example")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        names.want([&snapshot(&hosts)].into_iter());
        for _ in 0..1_000 {
            names.changed().await;
        }
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
        assert!(hosts.iter().all(|host| names.of(&name(host)).is_some()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_name_stood_for_is_kept_and_who_has_left_is_forgotten() {
        let most = Arc::new(AtomicUsize::new(0));
        let mut names = resolver(&most);
        let (a, b) = (snapshot(&["a.example", "no.example"]), snapshot(&["no.example"]));
        names.want([&a].into_iter());
        names.changed().await;
        names.changed().await;
        assert_eq!(names.of(&name("no.example")), Some(&[][..]));
        // The same once more is no news.
        names.renew();
        let news = tokio::time::timeout(Duration::from_secs(60), names.changed()).await;
        assert!(news.is_err(), "nothing changed");
        assert_eq!(names.of(&name("a.example")), Some(&[one()][..]));
        names.want([&b].into_iter());
        assert_eq!(names.of(&name("a.example")), None);
    }
}
