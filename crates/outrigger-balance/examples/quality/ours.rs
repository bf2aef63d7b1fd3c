//! Our set, driven by the simulation.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outrigger_balance::{
    Algorithm, BalanceConfig, Completion, EjectConfig, EndpointSet, Members, Pick, PickRequest,
    SetOptions,
};
use outrigger_core::{Endpoint, Instance, InstanceId, ServiceName};

use crate::sim::{Balancer, Time};

/// An [`EndpointSet`] on virtual time.
pub(crate) struct Ours {
    set: EndpointSet,
    origin: Instant,
    rng: fastrand::Rng,
    picks: HashMap<u64, Pick>,
}

impl Ours {
    pub(crate) fn new(
        algorithm: Algorithm,
        eject: Option<EjectConfig>,
        endpoints: usize,
        seed: u64,
    ) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin")]
        let origin = Instant::now();
        let service = ServiceName::new("simulated").expect("a valid name");
        let mut balance = BalanceConfig::default();
        balance.algorithm = algorithm;
        let options = SetOptions::new(service.clone())
            .with_balance(balance)
            .with_eject(eject)
            .with_seed(seed);
        let set = EndpointSet::new(options, origin).expect("valid settings");
        let endpoint = |index: usize| {
            let id = InstanceId::new(&format!("simulated-{index}")).expect("a valid id");
            let instance = Instance::new(id, service.clone(), address(index));
            Endpoint::new(Arc::new(instance), address(index))
        };
        set.update(Members::new(1, (0..endpoints).map(endpoint).collect()), origin);
        Self { set, origin, rng: fastrand::Rng::with_seed(seed), picks: HashMap::new() }
    }
}

impl Balancer for Ours {
    fn advance(&mut self, _now: Time) {}

    fn pick(&mut self, id: u64, avoid: &[usize], now: Time) -> usize {
        let tried: Vec<SocketAddr> = avoid.iter().map(|&index| address(index)).collect();
        let request = PickRequest::new(self.origin + now).with_avoid(&tried);
        let pick = self.set.pick(&request, &mut self.rng).expect("endpoints");
        let index = usize::from(pick.endpoint().address().port()) - 1;
        self.picks.insert(id, pick);
        index
    }

    fn done(&mut self, id: u64, _endpoint: usize, ok: bool, now: Time) {
        let pick = self.picks.remove(&id).expect("picked before");
        let status = if ok { 200 } else { 500 };
        // The virtual clock counts nanoseconds, as the real one does.
        let now = self.origin + Duration::from_nanos(now.as_nanos() as u64);
        drop(pick.complete(&Completion::status(now, status)));
    }
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], index as u16 + 1))
}
