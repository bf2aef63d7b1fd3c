//! The connections of one endpoint: who has which, and who waits for one.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use outrigger_core::{Endpoint, Failed, FailureKind, Protocol, Rejected};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use super::connection::Leased;
use super::multiplexed::{Multiplexed, Stream};
use super::single::Single;
use super::{Common, OutboundBody, PoolStats, Shared, dial, may_be_http2};
use crate::hygiene::OwnName;

/// What a request that waits is handed.
pub(crate) type Handed<B> = Result<Leased<B>, Failed>;

/// What asking for a connection comes to.
pub(crate) enum Checkout<B: OutboundBody> {
    /// One is there.
    Ready(Leased<B>),
    /// One will be handed over.
    Wait(oneshot::Receiver<Handed<B>>),
    /// Too many wait already.
    Overloaded(Failed),
}

/// The connections of one endpoint.
pub(crate) struct EndpointPool<B: OutboundBody> {
    endpoint: Endpoint,
    protocol: Protocol,
    pub(crate) own_name: OwnName,
    pub(crate) common: Arc<Common>,
    pub(crate) pool: Weak<Shared<B>>,
    state: Mutex<State<B>>,
}

#[expect(clippy::vec_box, reason = "what is handed from hand to hand per request is the pointer")]
struct State<B: OutboundBody> {
    /// Last in, first out: the rest may age and be closed.
    idle: Vec<Box<Single<B>>>,
    multiplexed: Vec<Arc<Multiplexed<B>>>,
    waiters: VecDeque<Waiter<B>>,
    /// Idle, multiplexed, in use and being opened.
    total: usize,
    connecting: usize,
    speaks: Speaks,
    /// Nothing is kept any more: the endpoint has left the set.
    is_retired: bool,
    /// Sweeps in a row that found nothing.
    empty_sweeps: u32,
    opened: u64,
    reused: u64,
}

/// What the endpoint is known to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    /// TLS, and ALPN has not been heard yet.
    Undecided,
    Http1,
    Http2,
}

struct Waiter<B: OutboundBody> {
    tell: oneshot::Sender<Handed<B>>,
    runtime: Handle,
}

/// A place among the connections, held while one is opened.
pub(crate) struct Dialing<B: OutboundBody> {
    /// `None` once it has been filled.
    home: Option<Arc<EndpointPool<B>>>,
    /// Where it is opened.
    runtime: runtime::Id,
}

impl<B: OutboundBody> EndpointPool<B> {
    pub(crate) fn new(endpoint: &Endpoint, shared: &Arc<Shared<B>>) -> Self {
        let protocol = endpoint.protocol();
        let speaks = match protocol {
            _ if protocol.is_http2_only() => Speaks::Http2,
            _ if may_be_http2(protocol) => Speaks::Undecided,
            _ => Speaks::Http1,
        };
        Self {
            endpoint: endpoint.clone(),
            protocol,
            own_name: OwnName::new(endpoint.instance().service.as_str()),
            common: Arc::clone(&shared.common),
            pool: Arc::downgrade(shared),
            state: Mutex::new(State {
                idle: Vec::new(),
                multiplexed: Vec::new(),
                waiters: VecDeque::new(),
                total: 0,
                connecting: 0,
                speaks,
                is_retired: false,
                empty_sweeps: 0,
                opened: 0,
                reused: 0,
            }),
        }
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    pub(crate) fn failed(&self, kind: FailureKind) -> Failed {
        Failed::new(kind).with_endpoint(self.address())
    }

    // No code between `lock` and unlock can panic with a half-made change: a poisoned state is as
    // good as any.
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> u32 {
        self.common.tick.load(Ordering::Relaxed)
    }

    /// Keeps nothing from now on. Requests that wait still get their connection.
    pub(crate) fn retire(&self) {
        let mut state = self.lock();
        state.is_retired = true;
        state.total -= state.idle.len() + state.multiplexed.len();
        let closed = (std::mem::take(&mut state.idle), std::mem::take(&mut state.multiplexed));
        drop(state);
        drop(closed);
    }

    pub(crate) fn add_to(&self, stats: &mut PoolStats) {
        let state = self.lock();
        let streams: usize = state.multiplexed.iter().map(|conn| conn.streams()).sum();
        let unused = state.multiplexed.iter().filter(|conn| conn.streams() == 0).count();
        let singles = state.total - state.idle.len() - state.multiplexed.len() - state.connecting;
        stats.connections += state.total;
        stats.idle += state.idle.len() + unused;
        stats.connecting += state.connecting;
        stats.pending += state.waiters.iter().filter(|waiter| !waiter.tell.is_closed()).count();
        stats.in_flight += singles + streams;
        stats.opened += state.opened;
        stats.reused += state.reused;
    }
}

impl<B: OutboundBody> EndpointPool<B> {
    /// Takes a connection of this runtime, or a place in the queue for one.
    ///
    /// With `fresh` no idle connection is taken: one was just found to be closed.
    pub(crate) fn checkout(self: &Arc<Self>, fresh: bool) -> Checkout<B> {
        let Ok(runtime) = Handle::try_current() else {
            let failed = self.failed(FailureKind::ConnectFailure);
            return Checkout::Overloaded(
                failed.with_cause("not called from within a tokio runtime"),
            );
        };
        let mut state = self.lock();
        if !fresh && let Some(mut single) = state.take_idle(runtime.id(), self.tick()) {
            state.reused += 1;
            drop(state);
            single.wake_up(self.tick());
            single.home = Some(Arc::clone(self));
            return Checkout::Ready(Leased::Single(single));
        }
        if let Some(stream) = state.take_stream(runtime.id(), self.max_streams(), self.tick()) {
            state.reused += 1;
            return Checkout::Ready(Leased::Stream(stream));
        }
        if state.queued(self.max_streams()) >= self.common.config.max_pending as usize
            && !self.may_dial(&mut state)
        {
            state.waiters.retain(|waiter| !waiter.tell.is_closed());
            if state.queued(self.max_streams()) >= self.common.config.max_pending as usize {
                return Checkout::Overloaded(self.overloaded());
            }
        }
        let (tell, told) = oneshot::channel();
        state.waiters.push_back(Waiter { tell, runtime });
        let dials = self.plan(&mut state);
        drop(state);
        self.launch(dials);
        Checkout::Wait(told)
    }

    #[cold]
    fn overloaded(&self) -> Failed {
        let service = self.endpoint.instance().service.clone();
        let limit = self.common.config.max_pending;
        let rejected = Rejected::Overloaded { service, limit, retry_after: None };
        self.failed(FailureKind::ConnectFailure).with_cause(rejected)
    }

    fn keep_secs(&self) -> u32 {
        keep_secs(self.common.config.idle_timeout, None)
    }

    fn max_streams(&self) -> usize {
        self.common.config.max_streams as usize
    }

    /// Whether another connection may be opened, if need be in the place of one that is of no use.
    fn may_dial(&self, state: &mut State<B>) -> bool {
        if state.total < self.common.config.max_connections as usize {
            return true;
        }
        let before = state.total;
        let tick = self.tick();
        state.sweep(tick, self.keep_secs());
        if state.total == before && !state.idle.is_empty() {
            // Whoever waits cannot use these: they belong to other runtimes.
            state.idle.remove(0);
            state.total -= 1;
        }
        state.total < before
    }

    /// Books the connections that the queue asks for; they are opened once the lock is given back,
    /// since a runtime that is shut down drops the task, and with it its place, within `spawn`.
    fn plan(self: &Arc<Self>, state: &mut State<B>) -> Vec<(Handle, Dialing<B>)> {
        let mut dials = Vec::new();
        while state.waiters.front().is_some_and(|waiter| waiter.tell.is_closed()) {
            state.waiters.pop_front();
        }
        loop {
            let wanted = match state.speaks {
                Speaks::Http1 => state.waiters.len(),
                Speaks::Http2 => {
                    state.waiters.len().div_ceil(state.streams_each(self.max_streams()))
                }
                // One tells what the rest will be.
                Speaks::Undecided => state.waiters.len().min(1),
            };
            if state.connecting >= wanted || !self.may_dial(state) {
                return dials;
            }
            let at = state.connecting.min(state.waiters.len() - 1);
            let runtime = state.waiters[at].runtime.clone();
            state.connecting += 1;
            state.total += 1;
            let dialing = Dialing { home: Some(Arc::clone(self)), runtime: runtime.id() };
            dials.push((runtime, dialing));
        }
    }

    fn launch(&self, dials: Vec<(Handle, Dialing<B>)>) {
        for (runtime, dialing) in dials {
            // The task lives at most for the connect timeout: it belongs to the pool and not to
            // the request, so that a caller who gives up leaves a connection for the next one.
            runtime.spawn(dial::dial(dialing));
        }
    }

    /// Takes back a connection that is ready for the next request.
    pub(crate) fn put_back(self: Arc<Self>, mut single: Box<Single<B>>) {
        debug_assert!(single.home.is_none(), "what is idle holds no reference to where it is kept");
        let mut state = self.lock();
        let keep = single.keep_for(self.common.config.idle_timeout);
        single.used = self.tick();
        single.expires = single.used.saturating_add(keep);
        if let Some(mut unwanted) = self.hand_over(&mut state, single) {
            let keep = keep > 0
                && !state.is_retired
                && state.idle.len() < self.common.config.max_idle as usize
                && (state.waiters.is_empty() || state.connecting > 0);
            if keep {
                state.idle.push(unwanted);
                if state.waiters.is_empty() {
                    return;
                }
            } else {
                state.total -= 1;
                unwanted.home = None;
            }
        }
        let dials = self.plan(&mut state);
        drop(state);
        self.launch(dials);
    }

    /// Gives the connection to the first of its runtime who waits.
    fn hand_over(
        self: &Arc<Self>,
        state: &mut State<B>,
        mut single: Box<Single<B>>,
    ) -> Option<Box<Single<B>>> {
        while let Some(at) =
            state.waiters.iter().position(|waiter| waiter.runtime.id() == single.runtime)
        {
            let Some(waiter) = state.waiters.remove(at) else { break };
            single.home = Some(Arc::clone(self));
            match waiter.tell.send(Ok(Leased::Single(single))) {
                Ok(()) => return None,
                Err(Ok(Leased::Single(back))) => {
                    single = back;
                    // Dropped with it, it would ask for the lock that is held here.
                    single.home = None;
                }
                Err(_) => unreachable!("what could not be sent comes back"),
            }
        }
        Some(single)
    }

    /// Somebody's connection is gone.
    pub(crate) fn release(self: &Arc<Self>) {
        let mut state = self.lock();
        state.total -= 1;
        let dials = self.plan(&mut state);
        drop(state);
        self.launch(dials);
    }

    /// A stream has ended, so another may begin.
    pub(crate) fn release_stream(self: &Arc<Self>, connection: &Arc<Multiplexed<B>>) {
        let mut state = self.lock();
        connection.end_stream();
        connection.use_at(self.tick());
        self.serve_streams(&mut state);
        let dials = self.plan(&mut state);
        drop(state);
        self.launch(dials);
    }

    /// Gives streams to those who wait, as long as there are any.
    fn serve_streams(&self, state: &mut State<B>) {
        let mut at = 0;
        while let Some(waiter) = state.waiters.get(at) {
            if waiter.tell.is_closed() {
                state.waiters.remove(at);
                continue;
            }
            let runtime = waiter.runtime.id();
            let Some(stream) = state.take_stream(runtime, self.max_streams(), self.tick()) else {
                // Others may wait on other runtimes.
                at += 1;
                continue;
            };
            let Some(waiter) = state.waiters.remove(at) else { return };
            if let Err(Ok(Leased::Stream(back))) = waiter.tell.send(Ok(Leased::Stream(stream))) {
                back.end_unused();
            }
        }
    }

    pub(crate) fn sweep(self: &Arc<Self>) -> Swept {
        let mut state = self.lock();
        let tick = self.tick();
        let closed = state.sweep(tick, self.keep_secs());
        let dials = self.plan(&mut state);
        let is_empty = state.total == 0 && state.waiters.is_empty();
        state.empty_sweeps = if is_empty { state.empty_sweeps + 1 } else { 0 };
        let swept = match state.empty_sweeps {
            0 => Swept::InUse,
            FORGET_AFTER.. => Swept::Forgotten,
            _ => Swept::Empty,
        };
        drop(state);
        drop(closed);
        self.launch(dials);
        swept
    }
}

/// Connections that were taken out, to be dropped once the lock is given back.
type Closed<B> = (Vec<Box<Single<B>>>, Vec<Arc<Multiplexed<B>>>);

/// What a sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swept {
    InUse,
    /// No connection.
    Empty,
    /// None for so long that the entry itself goes.
    Forgotten,
}

/// Units: sweeps, one a second.
const FORGET_AFTER: u32 = 60;

impl<B: OutboundBody> State<B> {
    /// The youngest idle connection of a runtime; drops those that are of no use on the way.
    fn take_idle(&mut self, runtime: runtime::Id, tick: u32) -> Option<Box<Single<B>>> {
        let mut at = self.idle.len();
        while at > 0 {
            at -= 1;
            if self.idle[at].runtime != runtime {
                continue;
            }
            let single = self.idle.remove(at);
            if single.is_usable(tick) {
                return Some(single);
            }
            self.total -= 1;
        }
        None
    }

    /// A stream on the connection of a runtime that has the fewest.
    fn take_stream(&mut self, runtime: runtime::Id, most: usize, tick: u32) -> Option<Stream<B>> {
        let connection = self
            .multiplexed
            .iter()
            .filter(|conn| conn.runtime == runtime && conn.has_room(most))
            .min_by_key(|conn| conn.streams())?;
        connection.use_at(tick);
        Some(Stream::begin(connection))
    }

    /// Streams that one connection is expected to carry.
    fn streams_each(&self, most: usize) -> usize {
        self.multiplexed.last().map_or(most, |conn| conn.limit(most)).max(1)
    }

    /// Requests that wait and that no connection being opened is for.
    fn queued(&self, most: usize) -> usize {
        let each = match self.speaks {
            Speaks::Http1 => 1,
            Speaks::Http2 | Speaks::Undecided => self.streams_each(most),
        };
        self.waiters.len().saturating_sub(self.connecting.saturating_mul(each))
    }

    /// Takes out what has expired or was closed by the endpoint.
    fn sweep(&mut self, tick: u32, keep: u32) -> Closed<B> {
        let is_over = |single: &mut Box<Single<B>>| {
            single.look();
            !single.is_usable(tick)
        };
        let singles: Vec<_> = self.idle.extract_if(.., is_over).collect();
        let shared: Vec<_> = self
            .multiplexed
            .extract_if(.., |conn| conn.is_closed() || conn.is_over(tick, keep))
            .collect();
        self.total -= singles.len() + shared.len();
        (singles, shared)
    }
}

impl<B: OutboundBody> Dialing<B> {
    pub(crate) const fn home(&self) -> Option<&Arc<EndpointPool<B>>> {
        self.home.as_ref()
    }

    /// The connection is there, for one request at a time.
    pub(crate) fn fill_single(mut self, single: Box<Single<B>>) {
        let Some(home) = self.home.take() else { return };
        {
            let mut state = home.lock();
            state.connecting -= 1;
            state.opened += 1;
            state.speaks = Speaks::Http1;
        }
        home.put_back(single);
    }

    /// The connection is there, for many requests at once.
    pub(crate) fn fill_multiplexed(mut self, connection: Arc<Multiplexed<B>>) {
        let Some(home) = self.home.take() else { return };
        let mut state = home.lock();
        state.connecting -= 1;
        state.opened += 1;
        state.speaks = Speaks::Http2;
        connection.use_at(home.tick());
        state.multiplexed.push(connection);
        home.serve_streams(&mut state);
        if state.is_retired {
            // Its streams hold it as long as they last.
            state.multiplexed.clear();
            state.total -= 1;
        }
        let dials = home.plan(&mut state);
        drop(state);
        home.launch(dials);
    }

    /// No connection came of it: whoever waited for it is told, and not made to wait again.
    pub(crate) fn fail(mut self, failed: impl Fn() -> Failed) {
        let Some(home) = self.home.take() else { return };
        let mut state = home.lock();
        state.connecting -= 1;
        state.total -= 1;
        let told = match state.speaks {
            Speaks::Http1 => 1,
            // All of them waited for this one.
            Speaks::Http2 | Speaks::Undecided if state.connecting == 0 => state.waiters.len(),
            Speaks::Http2 | Speaks::Undecided => 0,
        };
        let mut left = told;
        while left > 0
            && let Some(waiter) = state.waiters.pop_front()
        {
            if waiter.tell.send(Err(failed())).is_ok() {
                left -= 1;
            }
        }
        let dials = home.plan(&mut state);
        drop(state);
        home.launch(dials);
    }
}

impl<B: OutboundBody> Drop for Dialing<B> {
    fn drop(&mut self) {
        // Reached only when the runtime was shut down around the task, or the task panicked.
        if let Some(home) = self.home.take() {
            let mut state = home.lock();
            state.connecting -= 1;
            state.total -= 1;
            // To open another one for those who wait on the same runtime would end here again, from
            // within `spawn`, for ever: they learn that nothing comes instead.
            let waiters = std::mem::take(&mut state.waiters);
            let (lost, waiters) =
                waiters.into_iter().partition(|waiter| waiter.runtime.id() == self.runtime);
            state.waiters = waiters;
            let dials = home.plan(&mut state);
            drop(state);
            drop::<VecDeque<Waiter<B>>>(lost);
            home.launch(dials);
        }
    }
}

impl<B: OutboundBody> fmt::Debug for EndpointPool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointPool").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Units: seconds that a connection is kept, at most as long as the endpoint itself keeps it.
pub(crate) fn keep_secs(idle_timeout: Duration, endpoint_keeps: Option<u64>) -> u32 {
    // A second less: an answer takes time to arrive, and the endpoint counts from when it sent it.
    let theirs = endpoint_keeps.map_or(u64::MAX, |secs| secs.saturating_sub(1));
    u32::try_from(idle_timeout.as_secs().min(theirs)).unwrap_or(u32::MAX)
}
