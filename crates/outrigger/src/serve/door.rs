//! What a service accepts, reloaded while it serves.

use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use outrigger_core::{
    BoxError, Clock, Context, Event, Observers, PolicyVersion, Ratio, ServiceName,
};
use outrigger_host::CpuMeter;
use outrigger_limit::{Bound, BoundConfig, CpuShed, RateLimitConfig, ShedConfig};
use outrigger_policy as policy;
use outrigger_policy::{AccessLog, GrpcStatus, InboundPlan, RequestView};
use outrigger_telemetry::{ServerTrace, ServerTraceLayer, Telemetry};
use outrigger_tower::{
    BodyLimitLayer, ConcurrencyLayer, DeadlineLayer, KeyOf, LimitBody, LimitConcurrency,
    LimitRates, LimitedBody, RateRule, RateRules, RateRulesLayer, Shed, ShedLayer, TellRefused,
    TellRefusedLayer, TellServed, TellServedLayer, Tells, Timeout,
};
use tokio::sync::watch;
use tower::util::{Either, Oneshot};
use tower_layer::Layer;
use tower_service::Service;

use super::gate::Gate;
use super::health::{Health, HealthLayer, Ready};
use crate::policy::InForce;
use crate::{Concurrency, Inbound, Per};

type Bounded<S> = LimitConcurrency<LimitRates<S>>;
type Limited<S> = LimitBody<Either<Shed<Bounded<S>>, Bounded<S>>>;
type Inside<S> = ServerTrace<TellServed<TellRefused<Timeout<Health<Gate<Limited<S>>>>>>>;

/// How often the CPU is looked at while load may be shed.
const MEASURE: Duration = Duration::from_millis(250);

/// What a service accepts, as data.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accepts {
    body_limit: Option<u64>,
    rates: Vec<RateRule>,
    bound: BoundConfig,
    shed: Option<ShedConfig>,
    grpc_status: Option<u8>,
}

/// What stands between the server and the application, under one version of the policy.
#[derive(Debug)]
struct Room<S> {
    policy: PolicyVersion,
    inside: Inside<S>,
}

/// Lets in what the inbound rules of now allow; a request runs wholly under one version of them,
/// and is traced and logged under that one.
#[derive(Debug)]
pub(super) struct Door<S> {
    room: Arc<ArcSwap<Room<S>>>,
}

impl<S> Clone for Door<S> {
    fn clone(&self) -> Self {
        Self { room: Arc::clone(&self.room) }
    }
}

/// Who serves, and who is told.
#[derive(Clone, Debug)]
pub(super) struct Doorplate {
    pub(super) service: ServiceName,
    pub(super) observers: Observers,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ready: Ready,
    pub(super) health: HealthLayer,
    pub(super) telemetry: Telemetry,
    pub(super) trace: ServerTraceLayer,
    /// Who serves, for the access log.
    pub(super) endpoint: Arc<str>,
    /// Which requests that tells where no policy says so; `None` where there is no log.
    pub(super) access_log: Option<Tells>,
}

impl Doorplate {
    fn tell_shedding(&self, admits: Ratio, begins: bool) {
        let service = &self.service;
        tracing::info!(%service, begins, admits = admits.get(), "shedding");
        self.observers.emit(&Event::Shedding { service, admits, begins });
    }
}

/// Keeps a [`Door`] as the policy wants it.
#[derive(Debug)]
pub(super) struct Doorkeeper<S> {
    plate: Doorplate,
    app: S,
    settings: Accepts,
    rates: RateRules,
    bound: Bound,
    shed: Option<CpuShed>,
    room: Arc<ArcSwap<Room<S>>>,
}

impl<S: Clone> Doorkeeper<S> {
    /// A door to `app` by the policy in force, or by the settings where there is none.
    ///
    /// # Errors
    /// A value out of its range, of settings that were not validated.
    pub(super) fn start(
        plate: Doorplate,
        settings: &Inbound,
        in_force: &InForce,
        app: S,
    ) -> Result<(Self, Door<S>), BoxError> {
        let settings = Accepts::of_settings(settings)?;
        let accepts = settings.under(in_force);
        let now = plate.clock.now();
        let rates = RateRules::new(accepts.rates.clone(), fastrand::u128(..), now)?;
        let bound = Bound::new(&accepts.bound)?;
        let shed = accepts.shed.map(CpuShed::new).transpose()?;
        let room = room(&plate, in_force, &accepts, (&rates, &bound, shed.as_ref()), app.clone());
        let room = Arc::new(ArcSwap::from_pointee(room));
        let door = Door { room: Arc::clone(&room) };
        Ok((Self { plate, app, settings, rates, bound, shed, room }, door))
    }

    /// Obeys each policy from now on, and measures the CPU while one wants load to be shed.
    ///
    /// Each is shown in `shown` once it is obeyed.
    pub(super) async fn run(
        mut self,
        mut policy: watch::Receiver<InForce>,
        shown: &watch::Sender<Option<InForce>>,
    ) {
        let mut meter = CpuMeter::new();
        let mut ticks = tokio::time::interval(MEASURE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What came between the door's making and now.
        policy.mark_changed();
        loop {
            tokio::select! {
                changed = policy.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let in_force = policy.borrow_and_update().clone();
                    if let Err(error) = self.obey(&in_force) {
                        let (service, version) = (&self.plate.service, in_force.version());
                        tracing::error!(%service, %version, %error, "inbound rules not obeyed");
                    } else {
                        shown.send_replace(Some(in_force));
                    }
                }
                _ = ticks.tick(), if self.shed.is_some() => {
                    let used = meter.look(self.plate.clock.now());
                    if let (Some(used), Some(shed)) = (used, &self.shed)
                        && let Some(change) = shed.on_sample(used)
                    {
                        self.plate.tell_shedding(change.admits, change.begins);
                    }
                }
            }
        }
    }

    fn obey(&mut self, in_force: &InForce) -> Result<(), BoxError> {
        let accepts = self.settings.under(in_force);
        let now = self.plate.clock.now();
        let rates = self.rates.reload(accepts.rates.clone(), now)?;
        let bound = self.bound.reload(&accepts.bound)?;
        self.shed = match (self.shed.take(), accepts.shed) {
            (Some(shed), Some(config)) => {
                shed.reconfigure(config)?;
                Some(shed)
            }
            (before, config) => {
                if before.is_some_and(|shed| shed.is_shedding()) {
                    // Nobody measures any more, so nobody else would say that it is over.
                    self.plate.tell_shedding(Ratio::ONE, false);
                }
                config.map(CpuShed::new).transpose()?
            }
        };
        let state = (&rates, &bound, self.shed.as_ref());
        let room = room(&self.plate, in_force, &accepts, state, self.app.clone());
        (self.rates, self.bound) = (rates, bound);
        self.room.store(Arc::new(room));
        Ok(())
    }
}

fn room<S>(
    plate: &Doorplate,
    in_force: &InForce,
    accepts: &Accepts,
    (rates, bound, shed): (&RateRules, &Bound, Option<&CpuShed>),
    app: S,
) -> Room<S> {
    // Who may call cannot be told, and there is nothing older to go by: nobody may.
    let trouble = in_force.trouble.as_ref().filter(|trouble| trouble.class == "authorize");
    let closed = trouble.filter(|_| in_force.loaded.is_none());
    plate.ready.close(closed.map(|trouble| Arc::clone(&trouble.message)));
    let sample = in_force.loaded.as_ref().map(|loaded| loaded.plan.telemetry.sample);
    plate.telemetry.set_served_ratio(sample);
    let service = plate.service.clone();
    let rates = RateRulesLayer::new(service.clone(), rates.clone())
        .with_headers(true)
        .with_grpc_status(accepts.grpc_status)
        .with_observers(plate.observers.clone());
    let bound = match bound {
        Bound::Adaptive(limit) => ConcurrencyLayer::adaptive(service.clone(), limit.clone()),
        Bound::Fixed(limit) => ConcurrencyLayer::new(service.clone(), limit.clone()),
        _ => {
            ConcurrencyLayer::new(service.clone(), outrigger_limit::ConcurrencyLimit::new(u32::MAX))
        }
    };
    let bounded = bound.layer(rates.layer(app));
    let inside = match shed {
        Some(shed) => {
            let shed = ShedLayer::new(service.clone(), shed.clone());
            Either::Left(shed.with_observers(plate.observers.clone()).layer(bounded))
        }
        None => Either::Right(bounded),
    };
    let limit = accepts.body_limit.unwrap_or(u64::MAX);
    let limited = BodyLimitLayer::new(service.clone(), limit).layer(inside);
    let gate = Gate::new(limited, closed.is_some().then(|| service.clone()));
    // Whoever asks whether a full service lives is not told that it does not.
    let told = DeadlineLayer::new().layer(plate.health.layer(gate));
    let told = TellRefusedLayer::new(plate.observers.clone()).with_service(service).layer(told);
    let inside = plate.trace.layer(served(plate, in_force).layer(told));
    Room { policy: in_force.version(), inside }
}

/// The access log, as the policy in force wants it.
fn served(plate: &Doorplate, in_force: &InForce) -> TellServedLayer {
    let wanted = in_force.loaded.as_ref().map(|loaded| loaded.plan.telemetry.access_log);
    let tells = match (plate.access_log, wanted) {
        (None, _) => Tells::Nothing,
        (Some(tells), None) => tells,
        (_, Some(AccessLog::All)) => Tells::All,
        (_, Some(AccessLog::Errors)) => Tells::Failures,
        _ => Tells::Nothing,
    };
    let layer = TellServedLayer::new(plate.observers.clone(), tells)
        .with_endpoint(Some(Arc::clone(&plate.endpoint)));
    match in_force.loaded.clone() {
        Some(loaded) if loaded.plan.routes.len() > 1 => layer.with_route_of(move |head| {
            let (_, route) = loaded.plan.route(head.method, head.path, head.query, head.headers);
            route.name.clone()
        }),
        _ => layer,
    }
}

impl Accepts {
    fn of_settings(inbound: &Inbound) -> Result<Self, BoxError> {
        let mut rates = Vec::with_capacity(inbound.rate_limits.len());
        for (at, rate) in inbound.rate_limits.iter().enumerate() {
            let mut limit = RateLimitConfig::new(rate.rate);
            limit.burst = rate.burst;
            let per = match &rate.per {
                Per::Service => None,
                Per::Caller => Some(KeyOf::Caller),
                Per::ClientAddress => Some(KeyOf::ClientAddress),
                Per::Header(name) => Some(KeyOf::Header(name.parse()?)),
                Per::Path => Some(KeyOf::Path),
            };
            let name = format!("limit-{}", at + 1);
            rates.push(RateRule::new(name.into(), limit).with_per(per));
        }
        let bound = inbound.concurrency.as_ref().map_or_else(BoundConfig::default, |concurrency| {
            let Concurrency { max_in_flight, adaptive } = concurrency;
            BoundConfig::new(*max_in_flight).with_adaptive(adaptive.clone())
        });
        Ok(Self { rates, bound, ..Self::default() })
    }

    /// What is accepted under a policy; these settings where there is none.
    fn under(&self, in_force: &InForce) -> Self {
        match &in_force.loaded {
            None => self.clone(),
            Some(loaded) => loaded.plan.inbound.as_ref().map(Self::of_plan).unwrap_or_default(),
        }
    }

    pub(crate) fn of_plan(plan: &InboundPlan) -> Self {
        let rates = plan.rate_limits.iter().map(|rate| {
            let rule = RateRule::new(Arc::clone(&rate.name), rate.limit.clone())
                .with_per(key_of(&rate.per));
            if rate.matcher.wanted().is_any() {
                return rule;
            }
            let matcher = rate.matcher.clone();
            rule.with_matches(move |head| {
                let (method, path, query, headers) =
                    (head.method, head.path, head.query, head.headers);
                matcher.is_match(&RequestView { method, path, query, headers })
            })
        });
        let bound = plan.concurrency.as_ref().map_or_else(BoundConfig::default, |concurrency| {
            BoundConfig::new(concurrency.max_in_flight).with_adaptive(concurrency.adaptive.clone())
        });
        let shed = plan.shed.map(|shed| {
            let mut config = ShedConfig::default();
            config.cpu_above = shed.cpu_above;
            config
        });
        let grpc_status = match plan.grpc_status {
            GrpcStatus::Unavailable => None,
            other => Some(other.code()),
        };
        Self { body_limit: plan.body_limit, rates: rates.collect(), bound, shed, grpc_status }
    }
}

fn key_of(per: &policy::Per) -> Option<KeyOf> {
    Some(match per {
        policy::Per::Caller => KeyOf::Caller,
        policy::Per::ClientAddress => KeyOf::ClientAddress,
        policy::Per::Header(name) => KeyOf::Header(name.clone()),
        policy::Per::Query(name) => KeyOf::Query(name.to_string()),
        policy::Per::Path => KeyOf::Path,
        _ => return None,
    })
}

impl<S, B, RB> Service<Request<B>> for Door<S>
where
    S: Service<Request<LimitedBody<B>>, Response = Response<RB>, Error = BoxError> + Clone,
    B: Body<Error: Into<BoxError>>,
    RB: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Response = <Inside<S> as Service<Request<B>>>::Response;
    type Error = BoxError;
    type Future = Oneshot<Inside<S>, Request<B>>;

    fn poll_ready(&mut self, _cx: &mut Task<'_>) -> Poll<Result<(), BoxError>> {
        // The application of the version that the request will run under is asked with it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let room = self.room.load();
        if let Some(context) = request.extensions_mut().get_mut::<Context>() {
            context.policy = room.policy;
        }
        Oneshot::new(room.inside.clone(), request)
    }
}
