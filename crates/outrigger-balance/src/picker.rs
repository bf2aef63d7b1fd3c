//! How one endpoint of a slate is chosen.

use std::sync::atomic::Ordering::Relaxed;

use crate::candidates::{Candidates, Group, Slate};
use crate::config::{Algorithm, SlowStart};
use crate::estimate::Nanos;
use crate::pick::PickRequest;

/// Draws that try to find an endpoint that nothing speaks against.
const DRAWS: usize = 6;
/// Endpoints that are looked at one by one when no draw has found one.
const LOOK_AROUND: usize = 16;
/// Share of the mean in-flight, by weight, that a hash may put on one endpoint.
/// Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", c = 1.25.
const BOUND: f32 = 1.25;
/// Endpoints, its own included, that a hash may be led to.
const DETOURS: usize = 64;
/// How much lower another's load must be when both draws fell on the same heavy endpoint.
const CLEARLY_LESS: f32 = 0.25;
/// Costs within this factor of each other are alike, and the shorter queue decides: measured
/// answer times always differ, and the quickest by a hair would draw all it can get.
const ALIKE: f32 = 2.0;

/// One pick's view of the slate it chooses from.
pub(crate) struct Choice<'a> {
    algorithm: Algorithm,
    slate: &'a Slate,
    slow_start: Option<&'a SlowStart>,
    panicking: bool,
    request: &'a PickRequest<'a>,
    now: Nanos,
    total: u64,
}

impl<'a> Choice<'a> {
    #[inline]
    pub(crate) fn new(
        candidates: &'a Candidates,
        group: &'a Group,
        request: &'a PickRequest<'a>,
        now: Nanos,
        total: u64,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let share = group.near_share.get();
        // Without anything far away no draw is spent.
        let near = share >= 1.0 || group.far.entries.is_empty() || rng.f64() < share;
        Self {
            algorithm: candidates.algorithm,
            slate: if near { &group.near } else { &group.far },
            slow_start: candidates.slow_start.as_ref(),
            panicking: group.panicking,
            request,
            now,
            total,
        }
    }

    pub(crate) const fn slate(&self) -> &'a Slate {
        self.slate
    }

    /// The index of the choice and its load; `None` only when there is nothing to choose from.
    #[inline]
    pub(crate) fn make(&self, rng: &mut fastrand::Rng) -> Option<(usize, f32)> {
        if self.slate.entries.len() <= 1 {
            return (!self.slate.entries.is_empty()).then(|| (0, self.load(0)));
        }
        let chosen = match self.algorithm {
            Algorithm::PeakEwma | Algorithm::LeastRequest => return Some(self.of_two(rng)),
            Algorithm::RoundRobin => self.of_one(rng, |_| self.slate.wheel.next()),
            Algorithm::Random => self.of_one(rng, |rng| self.slate.wheel.one(rng)),
            Algorithm::RingHash | Algorithm::Maglev => match self.request.hash {
                Some(hash) => self.of_hash(hash, rng),
                None => self.of_one(rng, |rng| self.slate.wheel.one(rng)),
            },
        };
        Some((chosen, 0.0))
    }

    #[inline]
    fn of_two(&self, rng: &mut fastrand::Rng) -> (usize, f32) {
        for _ in 0..DRAWS {
            let (first, second) = self.slate.wheel.two(rng);
            if first == second {
                if self.admits(first, rng) {
                    return self.or_another(first, rng);
                }
                continue;
            }
            match (self.admits(first, rng), self.admits(second, rng)) {
                (true, true) => {
                    let better = self.better(first, second, 1.0);
                    return self.or_a_third(better, rng);
                }
                (true, false) => return (first, self.load(first)),
                (false, true) => return (second, self.load(second)),
                (false, false) => {}
            }
        }
        let found = self.look_around(rng);
        (found, self.load(found))
    }

    /// A third, when even the better of two is busy: where requests queue, this takes a sixth off
    /// the slowest hundredth, and where they do not, it costs nothing.
    #[inline]
    fn or_a_third(&self, better: (usize, f32), rng: &mut fastrand::Rng) -> (usize, f32) {
        let entries = &self.slate.entries;
        if entries.len() == 2 || entries[better.0].state.in_flight() == 0 {
            return better;
        }
        let third = self.slate.wheel.one(rng);
        if third == better.0 || !self.admits(third, rng) {
            return better;
        }
        self.better(better.0, third, 1.0)
    }

    /// The heavy endpoint on which both draws fell, unless it is in trouble.
    fn or_another(&self, heavy: usize, rng: &mut fastrand::Rng) -> (usize, f32) {
        let other = self.slate.wheel.other(heavy, rng);
        if self.admits(other, rng) {
            self.better(heavy, other, CLEARLY_LESS)
        } else {
            (heavy, self.load(heavy))
        }
    }

    /// The second if its load is less than `factor` times the first's; at a tie the first, which
    /// was drawn by weight alone.
    #[inline]
    fn better(&self, first: usize, second: usize, factor: f32) -> (usize, f32) {
        let (a, b) = (self.queue(first), self.queue(second));
        let (Some(cost_a), Some(cost_b)) = (self.cost(first, a), self.cost(second, b)) else {
            // Nothing is known of one of them: whatever the other's answers take, they are taken
            // to be alike, or a newcomer would get everything or nothing.
            return if b < a * factor { (second, b) } else { (first, a) };
        };
        let (load_a, load_b) = (cost_a * (1.0 + a), cost_b * (1.0 + b));
        let alike = cost_a <= cost_b * ALIKE && cost_b <= cost_a * ALIKE;
        let second_is_better = if alike { b < a * factor } else { load_b < load_a * factor };
        if second_is_better { (second, load_b) } else { (first, load_a) }
    }

    fn load(&self, index: usize) -> f32 {
        let queue = self.queue(index);
        self.cost(index, queue).unwrap_or(0.0) * (1.0 + queue)
    }

    /// Requests in flight for its weight.
    #[inline]
    fn queue(&self, index: usize) -> f32 {
        let entry = &self.slate.entries[index];
        let in_flight = entry.state.in_flight();
        if in_flight == 0 {
            return 0.0;
        }
        let share = if self.slate.warming { entry.share * self.ramp(index) } else { entry.share };
        in_flight as f32 / share
    }

    #[inline]
    fn cost(&self, index: usize, queue: f32) -> Option<f32> {
        match self.algorithm {
            Algorithm::PeakEwma => self.slate.entries[index].state.cost(queue, self.now),
            // An endpoint that fails at once has the shortest queue of all.
            _ => Some(1.0 + self.slate.entries[index].state.doubt.cost(self.now)),
        }
    }

    fn of_one(&self, rng: &mut fastrand::Rng, draw: impl Fn(&mut fastrand::Rng) -> usize) -> usize {
        for _ in 0..DRAWS {
            let drawn = draw(rng);
            if self.admits(drawn, rng) {
                return drawn;
            }
        }
        self.look_around(rng)
    }

    fn of_hash(&self, hash: u64, rng: &mut fastrand::Rng) -> usize {
        let Some(table) = &self.slate.table else { return self.look_around(rng) };
        let entries = &self.slate.entries;
        let mean = (self.total + 1) as f32 / entries.len() as f32;
        let fits = |index: usize| {
            let entry = &entries[index];
            let bound = (BOUND * mean * entry.share).ceil();
            (entry.state.in_flight() + 1) as f32 <= bound && !self.is_barred(index)
        };
        table
            .find(hash, DETOURS, fits)
            .or_else(|| table.find(hash, DETOURS, |index| !self.is_barred(index)))
            .unwrap_or_else(|| self.look_around(rng))
    }

    /// Any endpoint that is not barred, or, where each one looked at is, any at all.
    fn look_around(&self, rng: &mut fastrand::Rng) -> usize {
        let len = self.slate.entries.len();
        let start = rng.usize(..len);
        let around = (0..len.min(LOOK_AROUND)).map(|step| (start + step) % len);
        around.clone().find(|&index| !self.is_barred(index)).unwrap_or(start)
    }

    #[inline]
    fn admits(&self, index: usize, rng: &mut fastrand::Rng) -> bool {
        !self.is_barred(index)
            && (!self.slate.warming || {
                let ramp = self.ramp(index);
                ramp >= 1.0 || rng.f32() < ramp
            })
    }

    /// Whether it was tried before, or was ejected since the slate was made.
    #[inline]
    fn is_barred(&self, index: usize) -> bool {
        let entry = &self.slate.entries[index];
        let avoid = self.request.avoid;
        (!avoid.is_empty() && avoid.contains(&entry.member.endpoint.address()))
            || (!self.panicking && entry.state.ejected.load(Relaxed))
    }

    fn ramp(&self, index: usize) -> f32 {
        match self.slow_start {
            Some(slow) if self.slate.warming => {
                self.slate.entries[index].state.ramp(self.now, slow)
            }
            _ => 1.0,
        }
    }
}
