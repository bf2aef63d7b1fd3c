//! A discrete-event simulation on virtual time: requests arrive, a balancer picks, endpoints
//! answer. No clock, no threads: the same seed gives the same run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Virtual time, from the start of the run.
pub(crate) type Time = Duration;

/// What chooses the endpoints.
pub(crate) trait Balancer {
    /// Tells the time, which never goes back.
    fn advance(&mut self, now: Time);
    /// Chooses an endpoint for request `id`, rather not one of those in `avoid`.
    fn pick(&mut self, id: u64, avoid: &[usize], now: Time) -> usize;
    /// The try of request `id` at `endpoint` ended.
    fn done(&mut self, id: u64, endpoint: usize, ok: bool, now: Time);
}

/// How endpoints behave.
pub(crate) trait World {
    /// When the answer to a try that reaches `endpoint` at `now` comes, and whether it is one.
    fn answer(&mut self, endpoint: usize, now: Time, rng: &mut fastrand::Rng) -> (Time, bool);
}

/// A run: how long, how many a second, and whether a failed try gets another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) seconds: u64,
    pub(crate) per_second: f64,
    pub(crate) retries: u8,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// From arrival to the last answer, in seconds, of all requests.
    pub(crate) latencies: Vec<f64>,
    /// Tries per endpoint.
    pub(crate) tries: Vec<u64>,
}

impl Outcome {
    /// Share of the requests that succeeded within `limit`.
    pub(crate) fn within(&self, limit: Duration) -> f64 {
        let limit = limit.as_secs_f64();
        let late = self.latencies.iter().filter(|&&l| l > limit).count() as f64;
        1.0 - (late + self.failed as f64) / self.requests as f64
    }

    /// Share of the requests that succeeded.
    pub(crate) fn succeeded(&self) -> f64 {
        1.0 - self.failed as f64 / self.requests as f64
    }

    /// The latency that a share `q` of the requests stays below, in seconds.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[((sorted.len() as f64 * q) as usize).min(sorted.len() - 1)]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ending {
    at: Time,
    id: u64,
    endpoint: usize,
    ok: bool,
}

/// Poisson arrivals on `endpoints` endpoints.
pub(crate) fn run(
    balancer: &mut dyn Balancer,
    world: &mut dyn World,
    load: Load,
    endpoints: usize,
) -> Outcome {
    let mut rng = fastrand::Rng::with_seed(load.seed);
    let mut outcome = Outcome { tries: vec![0; endpoints], ..Outcome::default() };
    let mut endings: BinaryHeap<Reverse<Ending>> = BinaryHeap::new();
    let mut arrived: Vec<(Time, Vec<usize>)> = Vec::new();
    let end = Duration::from_secs(load.seconds);
    let mut arrival = gap(load.per_second, &mut rng);
    loop {
        let ending = endings.peek().map(|e| e.0);
        let is_arrival = arrival < end && ending.is_none_or(|e| arrival <= e.at);
        let (id, now) = if is_arrival {
            let now = arrival;
            arrival += gap(load.per_second, &mut rng);
            arrived.push((now, Vec::new()));
            balancer.advance(now);
            (arrived.len() as u64 - 1, now)
        } else {
            let Some(ending) = ending else { break };
            endings.pop();
            balancer.advance(ending.at);
            balancer.done(ending.id, ending.endpoint, ending.ok, ending.at);
            let (began, tried) = &arrived[ending.id as usize];
            if ending.ok || tried.len() > usize::from(load.retries) {
                outcome.requests += 1;
                outcome.failed += u64::from(!ending.ok);
                outcome.latencies.push((ending.at - *began).as_secs_f64());
                continue;
            }
            (ending.id, ending.at)
        };
        let tried = &mut arrived[id as usize].1;
        let endpoint = balancer.pick(id, tried, now);
        tried.push(endpoint);
        outcome.tries[endpoint] += 1;
        let (at, ok) = world.answer(endpoint, now, &mut rng);
        endings.push(Reverse(Ending { at, id, endpoint, ok }));
    }
    outcome
}

fn gap(per_second: f64, rng: &mut fastrand::Rng) -> Duration {
    Duration::from_secs_f64(exponential(1.0 / per_second, rng))
}

/// An exponentially distributed number.
pub(crate) fn exponential(mean: f64, rng: &mut fastrand::Rng) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

/// Endpoints that work on any number of requests at once; the first misbehaves for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parallel {
    pub(crate) mean: Duration,
    pub(crate) jitter: Duration,
    pub(crate) trouble: Trouble,
    pub(crate) from: Time,
    pub(crate) until: Time,
}

/// What the first endpoint does to tries that reach it in the time of trouble.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Slow(Duration),
    FailAtOnce,
}

impl World for Parallel {
    fn answer(&mut self, endpoint: usize, now: Time, rng: &mut fastrand::Rng) -> (Time, bool) {
        if endpoint == 0 && (self.from..self.until).contains(&now) {
            return match self.trouble {
                Trouble::Slow(slow) => (now + slow, true),
                Trouble::FailAtOnce => (now + Duration::from_micros(200), false),
            };
        }
        let spread = self.jitter.as_secs_f64() * (2.0 * rng.f64() - 1.0);
        (now + Duration::from_secs_f64(self.mean.as_secs_f64() + spread), true)
    }
}

/// Endpoints that work on one request at a time, in the order they come; the first is slower.
#[derive(Clone, Debug)]
pub(crate) struct SingleWorker {
    pub(crate) mean: Duration,
    pub(crate) slow_factor: f64,
    pub(crate) exponential: bool,
    /// Share of the answers that are errors, at whichever endpoint.
    pub(crate) errors: f64,
    pub(crate) free_at: Vec<Time>,
}

impl World for SingleWorker {
    fn answer(&mut self, endpoint: usize, now: Time, rng: &mut fastrand::Rng) -> (Time, bool) {
        let factor = if endpoint == 0 { self.slow_factor } else { 1.0 };
        let mean = self.mean.as_secs_f64() * factor;
        let work = if self.exponential { exponential(mean, rng) } else { mean };
        let begins = self.free_at[endpoint].max(now);
        let ends = begins + Duration::from_secs_f64(work);
        self.free_at[endpoint] = ends;
        (ends, rng.f64() >= self.errors)
    }
}
