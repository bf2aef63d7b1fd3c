//! What all routes of a service share, and what outlives a reload.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use outrigger_balance::{EndpointSet, SetOptions, Subset};
use outrigger_breaker::Breaker;
use outrigger_core::{BoxError, Observers, RouteName, ServiceName};
use outrigger_http::{ClientTls, PoolConfig};
use outrigger_limit::{Bound, BoundConfig, RateLimit, RateLimitConfig};
use outrigger_policy::Tls;
use outrigger_retry::Budget;
use outrigger_telemetry::Telemetry;
use outrigger_tower::{ConcurrencyLayer, Mirrored, RateLimitLayer};

use super::pools::Pools;
use super::spec::{RouteSpec, Spec, hash_on};
use super::{Table, Way};
use crate::client::Link;
use crate::stack::{Circuit, Ingredients, build};
use crate::{Capacity, Rules};

/// What all routes of a service share, over all versions of its policy.
///
/// A reload compares part by part: what did not change keeps its very state, what changed takes
/// its state with it.
#[derive(Debug)]
pub(crate) struct Shared {
    service: ServiceName,
    caller: ServiceName,
    telemetry: Telemetry,
    observers: Observers,
    set: EndpointSet,
    options: SetOptions,
    budget: Arc<Budget>,
    limits: Vec<Arc<RateLimit>>,
    capacity: Option<Bound>,
    breakers: BTreeMap<RouteName, Breaker>,
    mirrored: BTreeMap<RouteName, Arc<Mirrored>>,
    link: Link,
    /// The builder's, where the policy has nothing to say.
    own_tls: Option<ClientTls>,
    /// The policy's: what was written, and what connections are made by.
    tls: Option<(Tls, ClientTls)>,
    pool_config: PoolConfig,
    pools: Arc<Pools>,
    subsets: Vec<Key>,
    next_key: u64,
}

/// A subset that the endpoint set knows: for as long as a request may ask for it.
///
/// A request runs wholly under one version, so the subsets of the version before must be there
/// until the last of its requests has chosen its last endpoint.
#[derive(Debug)]
struct Key {
    labels: Subset,
    /// The text that the set has; requests hold another allocation of it.
    text: Arc<str>,
    asked_for: Weak<str>,
}

/// Who calls, and by what means.
pub(crate) struct Means {
    pub(crate) service: ServiceName,
    pub(crate) caller: ServiceName,
    pub(crate) telemetry: Telemetry,
    pub(crate) observers: Observers,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) link: Link,
}

impl Shared {
    /// What `spec` needs, and its table. `options` says who calls; the rest of it is the spec's.
    pub(crate) fn start(
        means: Means,
        options: SetOptions,
        spec: &Spec,
        now: Instant,
    ) -> Result<(Self, Table), BoxError> {
        let rules = &spec.last().rules;
        let options = options.with_balance(rules.balance.clone()).with_eject(rules.eject.clone());
        let pool_config = rules.pool_config();
        let mut shared = Self {
            service: means.service,
            caller: means.caller,
            telemetry: means.telemetry,
            observers: means.observers,
            set: EndpointSet::new(options.clone(), now)?,
            options,
            budget: Budget::new(&rules.retry.budget, now),
            limits: Vec::new(),
            capacity: None,
            breakers: BTreeMap::new(),
            mirrored: BTreeMap::new(),
            link: means.link,
            tls: None,
            pools: Arc::new(Pools::new(pool_config.clone(), means.tls.clone())),
            own_tls: means.tls,
            pool_config,
            subsets: Vec::new(),
            next_key: 0,
        };
        let table = shared.reload(spec, now)?;
        Ok((shared, table))
    }

    pub(crate) const fn set(&self) -> &EndpointSet {
        &self.set
    }

    pub(crate) const fn pools(&self) -> &Arc<Pools> {
        &self.pools
    }

    /// Takes over what `spec` says of everything that is shared, and makes its table.
    ///
    /// # Errors
    /// None of a policy that was read, or of rules that were validated.
    pub(crate) fn reload(&mut self, spec: &Spec, now: Instant) -> Result<Table, BoxError> {
        let rules = &spec.last().rules;
        self.budget.reconfigure(&rules.retry.budget);
        self.reload_limits(rules, now)?;
        self.reload_capacity(rules.capacity.as_ref())?;
        self.reload_pools(rules, spec.tls.as_ref());
        let names = self.reload_set(rules, &spec.subsets, now)?;
        let mut ways = Vec::with_capacity(spec.routes.len());
        for route in &spec.routes {
            ways.push(self.way(route, spec, &names, now)?);
        }
        let is_named = |name: &RouteName| spec.routes.iter().any(|route| route.name == *name);
        self.breakers.retain(|name, _| is_named(name));
        self.mirrored.retain(|name, _| is_named(name));
        Ok(Table { version: spec.version, loaded: spec.loaded.clone(), ways: ways.into() })
    }

    /// Forgets subsets that no request asks for any more.
    pub(crate) fn tidy(&mut self, now: Instant) -> Result<(), BoxError> {
        let before = self.subsets.len();
        self.subsets.retain(|key| key.asked_for.strong_count() > 0);
        if self.subsets.len() != before {
            self.options.subsets = self.known_subsets();
            self.set.reconfigure(self.options.clone(), now)?;
        }
        Ok(())
    }

    fn reload_limits(&mut self, rules: &Rules, now: Instant) -> Result<(), BoxError> {
        self.limits = follow(&self.limits, &rules.rate_limits, now)?;
        Ok(())
    }

    fn reload_capacity(&mut self, capacity: Option<&Capacity>) -> Result<(), BoxError> {
        let Some(Capacity { max_requests, adaptive, .. }) = capacity else {
            self.capacity = None;
            return Ok(());
        };
        let config = BoundConfig::new(*max_requests).with_adaptive(adaptive.clone());
        let bound = match &self.capacity {
            Some(bound) => bound.reload(&config)?,
            None => Bound::new(&config)?,
        };
        self.capacity = Some(bound);
        Ok(())
    }

    fn capacity(&self) -> Option<ConcurrencyLayer> {
        let service = self.service.clone();
        let layer = match self.capacity.as_ref()? {
            Bound::Adaptive(limit) => ConcurrencyLayer::adaptive(service, limit.clone()),
            Bound::Fixed(limit) => ConcurrencyLayer::new(service, limit.clone()),
            // A kind that is newer than this crate: no bound.
            _ => return None,
        };
        Some(layer.with_name("capacity"))
    }

    fn reload_pools(&mut self, rules: &Rules, tls: Option<&(Tls, ClientTls)>) {
        let config = rules.pool_config();
        let written = |tls: Option<&(Tls, ClientTls)>| tls.map(|(written, _)| written.clone());
        let is_same_tls = written(tls) == written(self.tls.as_ref());
        if config != self.pool_config || !is_same_tls {
            if !is_same_tls {
                self.tls = tls.cloned();
            }
            let tls = self.tls.as_ref().map(|(_, tls)| tls.clone());
            let tls = tls.or_else(|| self.own_tls.clone());
            self.pools = Arc::new(Pools::new(config.clone(), tls));
            self.pool_config = config;
        }
    }

    /// Verifies endpoints by other roots from now on; connections that are there stay.
    pub(crate) fn renew_tls(&self, renewed: &ClientTls) {
        if let Some((_, tls)) = &self.tls {
            tls.replace(renewed);
        }
    }

    /// Sees to it that the set knows the subsets, and says under which key it knows each.
    fn reload_set(
        &mut self,
        rules: &Rules,
        subsets: &[(Arc<str>, Subset)],
        now: Instant,
    ) -> Result<BTreeMap<Arc<str>, Arc<str>>, BoxError> {
        let mut names = BTreeMap::new();
        for (name, labels) in subsets {
            let known = self.subsets.iter().find(|key| key.labels == *labels);
            let present = known.and_then(|key| key.asked_for.upgrade());
            let key = present.unwrap_or_else(|| {
                self.next_key += 1;
                let text: Arc<str> = format!("{name}#{}", self.next_key).into();
                let asked_for: Arc<str> = Arc::from(&*text);
                let labels = labels.clone();
                self.subsets.push(Key { labels, text, asked_for: Arc::downgrade(&asked_for) });
                asked_for
            });
            names.insert(Arc::clone(name), key);
        }
        self.subsets.retain(|key| key.asked_for.strong_count() > 0);
        let subsets = self.known_subsets();
        let is_same = self.options.balance == rules.balance
            && self.options.eject == rules.eject
            && self.options.subsets == subsets;
        if !is_same {
            self.options.balance = rules.balance.clone();
            self.options.eject = rules.eject.clone();
            self.options.subsets = subsets;
            self.set.reconfigure(self.options.clone(), now)?;
        }
        Ok(names)
    }

    fn known_subsets(&self) -> Vec<(Arc<str>, Subset)> {
        self.subsets.iter().map(|key| (Arc::clone(&key.text), key.labels.clone())).collect()
    }

    fn way(
        &mut self,
        route: &RouteSpec,
        spec: &Spec,
        names: &BTreeMap<Arc<str>, Arc<str>>,
        now: Instant,
    ) -> Result<Way, BoxError> {
        let circuit = self.circuit(route, now)?;
        let plan = route.plan.as_deref();
        let has_mirror = plan.is_some_and(|plan| plan.mirror.is_some());
        let mirrored =
            has_mirror.then(|| Arc::clone(self.mirrored.entry(route.name.clone()).or_default()));
        let breaker = plan.and_then(|plan| plan.breaker.as_ref());
        let falls_back = breaker.is_some_and(|breaker| breaker.fallback.is_some());
        let build = |link| {
            let limits = self.limits.iter().enumerate().map(|(at, limit)| {
                let named = spec.rate_names.get(at).and_then(Option::clone);
                let name = named.unwrap_or_else(|| format!("limit-{}", at + 1).into());
                RateLimitLayer::new(self.service.clone(), Arc::clone(limit))
                    .with_observers(name, self.observers.clone())
                    .with_grpc_status(spec.grpc_status)
            });
            let with = Ingredients {
                service: &self.service,
                caller: &self.caller,
                set: self.set.clone(),
                telemetry: &self.telemetry,
                observers: &self.observers,
                route: &route.name,
                policy: spec.version,
                budget: &self.budget,
                limits: limits.collect(),
                capacity: self.capacity(),
                circuit: circuit.as_ref(),
                pools: &self.pools,
                hash_on: plan.and_then(|plan| hash_on(plan.hash_on.as_ref()?)),
                subsets: names,
                plan,
                mirrored: mirrored.clone(),
                link,
            };
            build(&route.rules, with)
        };
        let stack = build(Some(&self.link))?;
        let last_resort = if falls_back { Some(build(None)?) } else { None };
        let timeout = route.rules.timeout;
        let name = route.name.clone();
        Ok(Way { route: name, stack, last_resort, circuit, mirrored, timeout })
    }

    /// The circuit of a route: the one it had, under the rules it has now.
    fn circuit(&mut self, route: &RouteSpec, now: Instant) -> Result<Option<Circuit>, BoxError> {
        let Some(config) = &route.rules.breaker else {
            self.breakers.remove(&route.name);
            return Ok(None);
        };
        let breaker = match self.breakers.get(&route.name) {
            Some(breaker) => {
                if breaker.config() != *config {
                    breaker.reconfigure(config.clone(), now)?;
                }
                breaker.clone()
            }
            None => {
                let service = self.service.clone();
                let breaker = Breaker::builder(config.clone())
                    .seed(fastrand::u64(..))
                    .observers(self.observers.clone(), service, route.name.clone())
                    .build(now)?;
                self.breakers.insert(route.name.clone(), breaker.clone());
                breaker
            }
        };
        Ok(Some(Circuit::new(breaker, route.name.clone())))
    }
}

/// The limits that follow these: one that stays has the very bucket that it had, wherever it stands
/// now, or one that is taken out before it would have it filled from another's.
fn follow(
    limits: &[Arc<RateLimit>],
    wanted: &[RateLimitConfig],
    now: Instant,
) -> Result<Vec<Arc<RateLimit>>, BoxError> {
    let mut left: Vec<_> = limits.iter().map(Some).collect();
    let same: Vec<_> = wanted
        .iter()
        .map(|config| {
            let is_same = |old: &&Arc<RateLimit>| old.config() == *config;
            left.iter_mut().find(|old| old.as_ref().is_some_and(is_same)).and_then(Option::take)
        })
        .collect();
    let mut next = Vec::with_capacity(wanted.len());
    for (at, (config, same)) in wanted.iter().zip(same).enumerate() {
        // What changed is the one in the same place, if that is not another's by now.
        let changed = || left.get_mut(at).and_then(Option::take);
        next.push(match (same, same.is_none().then(changed).flatten()) {
            (Some(same), _) => Arc::clone(same),
            (None, Some(old)) => {
                old.reconfigure(config.clone(), now)?;
                Arc::clone(old)
            }
            (None, None) => Arc::new(RateLimit::new(config.clone(), now)?),
        });
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rate: &str) -> RateLimitConfig {
        RateLimitConfig::new(rate.parse().expect("a rate"))
    }

    #[test]
    fn a_limit_that_stays_keeps_its_bucket_when_one_before_it_goes() {
        let now = outrigger_tower::clock::now();
        let limits = follow(&[], &[config("1000/s"), config("1/h")], now).expect("valid");
        limits[1].try_acquire(now).expect("its only token");

        let limits = follow(&limits, &[config("1/h")], now).expect("valid");
        assert!(limits[0].try_acquire(now).is_err(), "a reload gives nothing away");

        let limits = follow(&limits, &[config("2/h"), config("1/h")], now).expect("valid");
        assert!(limits[0].try_acquire(now).is_ok(), "a new one is full");
        assert!(limits[1].try_acquire(now).is_err(), "and takes nobody else's place");

        let limits = follow(&limits, &[config("2/h"), config("3/h")], now).expect("valid");
        assert!(limits[1].try_acquire(now).is_err(), "what changed takes over what is left");
    }
}
