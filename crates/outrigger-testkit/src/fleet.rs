//! A whole fleet in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;
use outrigger_core::Outcome;

use crate::epoch;

/// How long an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Anything in between, equally likely.
    Uniform(Duration, Duration),
    /// At least the first, and on average the second more: a long tail.
    Tailed(Duration, Duration),
}

impl Latency {
    fn draw(self, rng: &mut Rng) -> Duration {
        match self {
            Self::Fixed(span) => span,
            Self::Uniform(least, most) => least + most.saturating_sub(least).mul_f64(rng.f64()),
            // 1 - f64 lies in (0, 1], so its logarithm is finite.
            Self::Tailed(least, mean) => least + mean.mul_f64(-(1.0 - rng.f64()).ln()),
        }
    }
}

/// How an endpoint behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Behaviour {
    /// How long it works on a request.
    pub latency: Latency,
    /// Share of requests that it answers with an error. 0 to 1. Default 0.
    pub errors: f64,
    /// How long an error takes; default as long as an answer.
    pub error_latency: Option<Latency>,
    /// Requests that it works on at once, more wait in its queue. Default no bound.
    pub workers: Option<u32>,
    /// Whether it is there; whatever is sent to an absent one fails at once. Default true.
    pub is_up: bool,
}

impl Behaviour {
    /// Answers everything, after so long.
    #[must_use]
    pub const fn new(latency: Latency) -> Self {
        Self { latency, errors: 0.0, error_latency: None, workers: None, is_up: true }
    }

    /// Answers a share of the requests with errors.
    #[must_use]
    pub const fn with_errors(mut self, share: f64) -> Self {
        self.errors = share;
        self
    }

    /// Works on so many at once.
    #[must_use]
    pub const fn with_workers(mut self, workers: u32) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Is gone.
    #[must_use]
    pub const fn down(mut self) -> Self {
        self.is_up = false;
        self
    }
}

/// Whatever chooses among the fleet's endpoints.
pub trait Choose {
    /// Chooses one of `fleet` endpoints, by its number; `None` turns the request away.
    fn choose(&mut self, fleet: usize, now: Instant, rng: &mut Rng) -> Option<usize>;

    /// Is told how a choice ended.
    fn complete(&mut self, endpoint: usize, outcome: Outcome, took: Duration, now: Instant);

    /// Is told that an endpoint has appeared or gone, as a registry would.
    fn change(&mut self, endpoint: usize, is_up: bool, now: Instant) {
        let _ = (endpoint, is_up, now);
    }
}

/// A fleet of endpoints and the load on it, in virtual time.
///
/// The same seed gives the same run. Time starts at [`epoch`].
#[derive(Clone, Debug)]
pub struct Fleet {
    seed: u64,
    endpoints: Vec<Behaviour>,
    changes: Vec<(Duration, usize, Behaviour)>,
    /// Units: requests per second.
    rate: f64,
    duration: Duration,
}

/// What became of a run.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct FleetReport {
    /// To run it again.
    pub seed: u64,
    /// Requests that came.
    pub requests: u64,
    /// Answered without an error.
    pub succeeded: u64,
    /// Answered with an error, or sent to an endpoint that was gone.
    pub failed: u64,
    /// Not sent at all.
    pub turned_away: u64,
    /// Requests sent to each endpoint.
    pub sent: Vec<u64>,
    /// How long each success took, shortest first.
    pub latencies: Vec<Duration>,
}

impl FleetReport {
    /// The latency that `share` of the successes stayed within; zero without any.
    ///
    /// Units: `share` in 0..=1.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the last index"
        )]
        let at = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        self.latencies.get(at).copied().unwrap_or_default()
    }

    /// Share of all requests that were answered without an error within `limit`.
    #[must_use]
    pub fn share_within(&self, limit: Duration) -> f64 {
        let within = self.latencies.partition_point(|&latency| latency <= limit);
        within as f64 / self.requests.max(1) as f64
    }

    /// The share of all sent requests that an endpoint got.
    #[must_use]
    pub fn share_of(&self, endpoint: usize) -> f64 {
        let all: u64 = self.sent.iter().sum();
        self.sent.get(endpoint).map_or(0.0, |&sent| sent as f64 / all.max(1) as f64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A change of behaviour, by its number.
    Changes(usize),
    /// An endpoint has finished a request, by its number.
    Finishes(usize),
    Arrives,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    arrived: Duration,
    endpoint: usize,
    outcome: Outcome,
    works: Duration,
}

impl Fleet {
    /// A fleet of endpoints, without any load yet.
    #[must_use]
    pub fn new(seed: u64, endpoints: impl IntoIterator<Item = Behaviour>) -> Self {
        Self {
            seed,
            endpoints: endpoints.into_iter().collect(),
            changes: Vec::new(),
            rate: 0.0,
            duration: Duration::ZERO,
        }
    }

    /// So many requests per second, at random instants (Poisson), for so long.
    #[must_use]
    pub const fn with_load(mut self, rate: f64, duration: Duration) -> Self {
        self.rate = rate;
        self.duration = duration;
        self
    }

    /// Lets an endpoint behave differently from `at` on; what it works on is finished as before,
    /// or fails at once where it goes down.
    ///
    /// # Panics
    /// When there is no endpoint of that number.
    #[must_use]
    pub fn with_change(mut self, at: Duration, endpoint: usize, behaviour: Behaviour) -> Self {
        assert!(endpoint < self.endpoints.len(), "there is no endpoint {endpoint}");
        self.changes.push((at, endpoint, behaviour));
        self
    }

    /// Runs it to the end of the last request.
    #[must_use]
    pub fn run(&self, chooser: &mut impl Choose) -> FleetReport {
        Run::new(self).run(chooser)
    }
}

/// The state of one run.
struct Run<'f> {
    fleet: &'f Fleet,
    rng: Rng,
    behaviours: Vec<Behaviour>,
    /// Jobs by number; `None` once they have ended.
    jobs: Vec<Option<Job>>,
    working: Vec<u32>,
    queues: Vec<VecDeque<usize>>,
    /// What happens next: the instant, a number that keeps ties in order, and what.
    agenda: BinaryHeap<Reverse<(Duration, u64, Happening)>>,
    planned: u64,
    report: FleetReport,
}

impl<'f> Run<'f> {
    fn new(fleet: &'f Fleet) -> Self {
        let count = fleet.endpoints.len();
        Self {
            fleet,
            rng: Rng::with_seed(fleet.seed),
            behaviours: fleet.endpoints.clone(),
            jobs: Vec::new(),
            working: vec![0; count],
            queues: vec![VecDeque::new(); count],
            agenda: BinaryHeap::new(),
            planned: 0,
            report: FleetReport {
                seed: fleet.seed,
                sent: vec![0; count],
                ..FleetReport::default()
            },
        }
    }

    fn plan(&mut self, at: Duration, happening: Happening) {
        self.planned += 1;
        self.agenda.push(Reverse((at, self.planned, happening)));
    }

    fn plan_arrival(&mut self, now: Duration) {
        if self.fleet.rate <= 0.0 {
            return;
        }
        let pause = -(1.0 - self.rng.f64()).ln() / self.fleet.rate;
        let at = now + Duration::from_secs_f64(pause);
        if at <= self.fleet.duration {
            self.plan(at, Happening::Arrives);
        }
    }

    fn run(mut self, chooser: &mut impl Choose) -> FleetReport {
        for (number, &(at, ..)) in self.fleet.changes.iter().enumerate() {
            self.plan(at, Happening::Changes(number));
        }
        self.plan_arrival(Duration::ZERO);
        while let Some(Reverse((now, _, happening))) = self.agenda.pop() {
            match happening {
                Happening::Changes(number) => self.change(number, now, chooser),
                Happening::Finishes(job) => self.finish(job, now, chooser),
                Happening::Arrives => {
                    self.arrive(now, chooser);
                    self.plan_arrival(now);
                }
            }
        }
        self.report.latencies.sort_unstable();
        self.report
    }

    fn arrive(&mut self, now: Duration, chooser: &mut impl Choose) {
        self.report.requests += 1;
        let count = self.behaviours.len();
        let chosen = chooser.choose(count, epoch() + now, &mut self.rng);
        let Some(endpoint) = chosen.filter(|&endpoint| endpoint < count) else {
            self.report.turned_away += 1;
            return;
        };
        self.report.sent[endpoint] += 1;
        let behaviour = self.behaviours[endpoint];
        let fails = self.rng.f64() < behaviour.errors;
        let latency = match behaviour.error_latency {
            Some(latency) if fails => latency,
            _ => behaviour.latency,
        };
        let works = latency.draw(&mut self.rng);
        let outcome = if fails { Outcome::Failure } else { Outcome::Success };
        let number = self.jobs.len();
        self.jobs.push(Some(Job { arrived: now, endpoint, outcome, works }));
        if !behaviour.is_up {
            self.end(number, Outcome::Failure, now, chooser);
        } else if behaviour.workers.is_some_and(|workers| self.working[endpoint] >= workers) {
            self.queues[endpoint].push_back(number);
        } else {
            self.working[endpoint] += 1;
            self.plan(now + works, Happening::Finishes(number));
        }
    }

    fn finish(&mut self, number: usize, now: Duration, chooser: &mut impl Choose) {
        // Ended already where its endpoint went down.
        let Some(job) = self.jobs[number] else { return };
        self.working[job.endpoint] -= 1;
        self.end(number, job.outcome, now, chooser);
        if let Some(next) = self.queues[job.endpoint].pop_front()
            && let Some(waiting) = self.jobs[next]
        {
            self.working[job.endpoint] += 1;
            self.plan(now + waiting.works, Happening::Finishes(next));
        }
    }

    fn end(&mut self, number: usize, outcome: Outcome, now: Duration, chooser: &mut impl Choose) {
        let Some(job) = self.jobs[number].take() else { return };
        let took = now - job.arrived;
        if outcome == Outcome::Success {
            self.report.succeeded += 1;
            self.report.latencies.push(took);
        } else {
            self.report.failed += 1;
        }
        chooser.complete(job.endpoint, outcome, took, epoch() + now);
    }

    fn change(&mut self, number: usize, now: Duration, chooser: &mut impl Choose) {
        let (_, endpoint, behaviour) = self.fleet.changes[number];
        let was_up = std::mem::replace(&mut self.behaviours[endpoint], behaviour).is_up;
        if was_up == behaviour.is_up {
            return;
        }
        if was_up {
            self.queues[endpoint].clear();
            self.working[endpoint] = 0;
            for number in 0..self.jobs.len() {
                if self.jobs[number].is_some_and(|job| job.endpoint == endpoint) {
                    self.end(number, Outcome::Failure, now, chooser);
                }
            }
        }
        chooser.change(endpoint, behaviour.is_up, epoch() + now);
    }
}

#[cfg(test)]
mod tests;
