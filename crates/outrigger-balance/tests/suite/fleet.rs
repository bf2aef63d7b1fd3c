//! A set of endpoints on an explicit clock, with an observer that writes down what it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outrigger_balance::{
    Completion, EndpointSet, EndpointView, Members, NoEndpoint, Pick, PickRequest, SetOptions,
};
use outrigger_core::{Endpoint, Event, Instance, InstanceId, Observe, Observers, ServiceName};

pub(crate) struct Fleet {
    pub(crate) set: EndpointSet,
    pub(crate) now: Instant,
    pub(crate) rng: fastrand::Rng,
    pub(crate) log: Arc<Log>,
    version: u64,
}

/// What happened, in words.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Vec<String>>);

impl Log {
    /// What happened since this was last asked.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no test panics with the log locked"))
    }
}

impl Log {
    /// Whether something that begins like this happened and was not taken.
    pub(crate) fn contains(&self, beginning: &str) -> bool {
        let log = self.0.lock().expect("no test panics with the log locked");
        log.iter().any(|line| line.starts_with(beginning))
    }
}

impl Observe for Log {
    fn observe(&self, event: &Event<'_>) {
        let text = match event {
            Event::Ejected { endpoint, cause, span, .. } => {
                format!("{} ejected for {span:?} by {}", endpoint.instance().id, cause.as_str())
            }
            Event::Returned { endpoint, .. } => format!("{} returned", endpoint.instance().id),
            Event::Panicking { begins, .. } => format!("panicking {begins}"),
            Event::SetChanged { version, instances, usable, .. } => {
                format!("set {version}: {usable} of {instances} usable")
            }
            other => format!("{other:?}"),
        };
        self.0.lock().expect("no test panics with the log locked").push(text);
    }
}

impl Fleet {
    /// Endpoints `e0`, `e1`, … with what the options say.
    pub(crate) fn of(size: usize, options: SetOptions) -> Self {
        let mut fleet = Self::empty(options);
        fleet.put((0..size).map(instance).collect());
        fleet.log.take();
        fleet
    }

    pub(crate) fn empty(options: SetOptions) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin")]
        let now = Instant::now();
        let log = Arc::new(Log::default());
        let observers = Observers::none().with(Arc::clone(&log) as Arc<dyn Observe>);
        let set = EndpointSet::new(options.with_observers(observers), now).expect("valid options");
        Self { set, now, rng: fastrand::Rng::with_seed(1), log, version: 0 }
    }

    /// A new set of instances.
    pub(crate) fn put(&mut self, instances: Vec<Instance>) -> outrigger_balance::Change {
        self.version += 1;
        let endpoints = instances.into_iter().map(endpoint).collect();
        self.set.update(Members::new(self.version, endpoints), self.now)
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn try_pick(&mut self) -> Result<Pick, NoEndpoint> {
        self.set.pick(&PickRequest::new(self.now), &mut self.rng)
    }

    pub(crate) fn pick(&mut self) -> Pick {
        self.try_pick().expect("an endpoint")
    }

    /// A pick of this endpoint, by avoiding all others.
    pub(crate) fn pick_of(&mut self, index: usize) -> Pick {
        let view = self.set.view(self.now);
        let addresses = view.endpoints.iter().map(|e| e.endpoint.address());
        let others: Vec<_> = addresses.filter(|&other| other != address(index)).collect();
        let request = PickRequest::new(self.now).with_avoid(&others);
        let pick = self.set.pick(&request, &mut self.rng).expect("an endpoint");
        assert_eq!(index_of(&pick), index, "it can be picked");
        pick
    }

    /// One whole request: which endpoint it went to.
    pub(crate) fn call(&mut self, status: u16) -> usize {
        let pick = self.pick();
        let index = index_of(&pick);
        drop(pick.complete(&Completion::status(self.now, status)));
        index
    }

    /// `times` answers of `index` with this status, one after the other.
    pub(crate) fn answer(&mut self, index: usize, status: u16, times: usize) {
        for _ in 0..times {
            drop(self.pick_of(index).complete(&Completion::status(self.now, status)));
        }
    }

    /// How `calls` requests that succeed are spread over `size` endpoints.
    pub(crate) fn spread(&mut self, size: usize, calls: usize) -> Vec<usize> {
        let mut spread = vec![0; size];
        for _ in 0..calls {
            spread[self.call(200)] += 1;
        }
        spread
    }

    pub(crate) fn view(&self, index: usize) -> EndpointView {
        let id = format!("e{index}");
        let view = self.set.view(self.now);
        let found = view.endpoints.into_iter().find(|e| e.endpoint.instance().id.as_str() == id);
        found.expect("a member")
    }

    pub(crate) fn ejected(&self) -> usize {
        let view = self.set.view(self.now);
        view.endpoints.iter().filter(|endpoint| endpoint.ejected_by.is_some()).count()
    }
}

pub(crate) fn options() -> SetOptions {
    SetOptions::new(service())
}

pub(crate) fn service() -> ServiceName {
    ServiceName::new("stock").expect("valid")
}

pub(crate) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, (index >> 8) as u8, (index & 255) as u8], 8080))
}

pub(crate) fn instance(index: usize) -> Instance {
    let id = InstanceId::new(&format!("e{index}")).expect("valid");
    Instance::new(id, service(), address(index))
}

pub(crate) fn endpoint(instance: Instance) -> Endpoint {
    let outrigger_core::Address::Socket(address) = instance.address else {
        panic!("test instances have addresses")
    };
    Endpoint::new(Arc::new(instance), address)
}

pub(crate) fn index_of(pick: &Pick) -> usize {
    pick.endpoint().instance().id.as_str()[1..].parse().expect("e and a number")
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
