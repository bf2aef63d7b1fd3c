//! How good the choices are: Q1 to Q3 of `docs/performance.md`, and two laws beside them.
//!
//! A discrete-event simulation on virtual time; tower's balancer runs in the same simulation, on
//! tokio's paused clock. One JSON line per picker and figure; the exit code is 1 when a figure of
//! ours that must hold does not.
//!
//! ```sh
//! cargo run --release -p outrigger-balance --example quality
//! ```
#![expect(clippy::print_stdout, reason = "the figures are the output")]

mod ours;
mod peer;
mod sim;

use std::process::ExitCode;
use std::time::Duration;

use outrigger_balance::{Algorithm, EjectConfig};

use crate::ours::Ours;
use crate::peer::Tower;
use crate::sim::{Balancer, Load, Outcome, Parallel, SingleWorker, Trouble, run};

const SEEDS: [u64; 3] = [1, 2, 3];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Ours,
    WithoutEjection,
    LeastRequest,
    RoundRobin,
    Tower,
}

impl Peer {
    const ALL: [Self; 5] =
        [Self::Ours, Self::WithoutEjection, Self::LeastRequest, Self::RoundRobin, Self::Tower];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::WithoutEjection => "ours_without_ejection",
            Self::LeastRequest => "ours_least_request_without_ejection",
            Self::RoundRobin => "ours_round_robin_without_ejection",
            Self::Tower => "tower_peak_ewma",
        }
    }

    fn make(self, endpoints: usize, seed: u64) -> Box<dyn Balancer> {
        let of = |algorithm, eject| Box::new(Ours::new(algorithm, eject, endpoints, seed)) as _;
        match self {
            Self::Ours => of(Algorithm::PeakEwma, Some(EjectConfig::default())),
            Self::WithoutEjection => of(Algorithm::PeakEwma, None),
            Self::LeastRequest => of(Algorithm::LeastRequest, None),
            Self::RoundRobin => of(Algorithm::RoundRobin, None),
            Self::Tower => Box::new(Tower::new(endpoints, seed)),
        }
    }
}

/// 11 endpoints at 167 ms ± 5, 1,000 requests/s for 60 s, one in trouble from 15 s to 45 s.
fn troubled(peer: Peer, trouble: Trouble, retries: u8, seed: u64) -> Outcome {
    let mut world = Parallel {
        mean: Duration::from_millis(167),
        jitter: Duration::from_millis(5),
        trouble,
        from: Duration::from_secs(15),
        until: Duration::from_secs(45),
    };
    let load = Load { seconds: 60, per_second: 1_000.0, retries, seed };
    run(&mut *peer.make(11, seed), &mut world, load, 11)
}

/// 10 endpoints that serve one request at a time, the first three times slower, 75 % load.
fn uneven(peer: Peer, exponential: bool, seed: u64) -> Outcome {
    let mut world = SingleWorker {
        mean: Duration::from_millis(10),
        slow_factor: 3.0,
        exponential,
        errors: 0.0,
        free_at: vec![Duration::ZERO; 10],
    };
    let load = Load { seconds: 120, per_second: 700.0, retries: 0, seed };
    run(&mut *peer.make(10, seed), &mut world, load, 10)
}

/// 5 equal endpoints that serve one request at a time, 60 % load, some answers being errors.
fn erring(peer: Peer, errors: f64, seed: u64) -> Outcome {
    let mut world = SingleWorker {
        mean: Duration::from_millis(1),
        slow_factor: 1.0,
        exponential: true,
        errors,
        free_at: vec![Duration::ZERO; 5],
    };
    let load = Load { seconds: 30, per_second: 3_000.0, retries: 0, seed };
    run(&mut *peer.make(5, seed), &mut world, load, 5)
}

fn worst(of: impl Fn(u64) -> f64) -> f64 {
    SEEDS.map(of).into_iter().fold(f64::INFINITY, f64::min)
}

fn median(of: impl Fn(u64) -> f64) -> f64 {
    let mut all = SEEDS.map(of);
    all.sort_unstable_by(f64::total_cmp);
    all[SEEDS.len() / 2]
}

/// What a figure must be, and is aimed to be; both from the same side.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64, f64),
    AtMost(f64, f64),
}

struct Table {
    held: bool,
}

impl Table {
    fn row(&mut self, id: &str, what: &str, peer: Peer, value: f64, bound: Bound) {
        let (must, aim, holds) = match bound {
            Bound::AtLeast(must, aim) => (must, aim, value >= must),
            Bound::AtMost(must, aim) => (must, aim, value <= must),
        };
        let is_ours = peer == Peer::Ours;
        self.held &= holds || !is_ours;
        let sign = if matches!(bound, Bound::AtLeast(..)) { ">=" } else { "<=" };
        println!(
            "{{\"id\":\"{id}\",\"what\":\"{what}\",\"picker\":\"{}\",\"value\":{value:.5},\
             \"sign\":\"{sign}\",\"must\":{must},\"aim\":{aim},\"held\":{holds}}}",
            peer.as_str()
        );
    }
}

fn main() -> ExitCode {
    let mut table = Table { held: true };
    for peer in Peer::ALL {
        let slow = Trouble::Slow(Duration::from_secs(2));
        let limit = Duration::from_secs(1);
        let within = worst(|seed| troubled(peer, slow, 0, seed).within(limit));
        let bound = Bound::AtLeast(0.9992, 0.9995);
        table.row("Q1", "share answered within 1 s", peer, within, bound);
    }
    for peer in Peer::ALL {
        for (retries, what, bound) in [
            (0, "success without retries", Bound::AtLeast(0.998, 0.9995)),
            (1, "success with retries", Bound::AtLeast(0.9999, 1.0)),
        ] {
            let share = |seed| troubled(peer, Trouble::FailAtOnce, retries, seed).succeeded();
            table.row("Q2", what, peer, worst(share), bound);
        }
    }
    for (exponential, what) in
        [(true, "p99 over tower's, exponential work"), (false, "p99 over tower's, equal work")]
    {
        let p99 = |peer| median(|seed| uneven(peer, exponential, seed).quantile(0.99));
        let towers = p99(Peer::Tower);
        for peer in Peer::ALL {
            table.row("Q3", what, peer, p99(peer) / towers, Bound::AtMost(1.0, 0.85));
        }
    }
    for peer in Peer::ALL {
        for (errors, what) in [
            (0.0002, "p99 with 1 error in 5,000 over p99 without"),
            (0.005, "p99 with 1 error in 200 over p99 without"),
        ] {
            let p99 = |errors| median(|seed| erring(peer, errors, seed).quantile(0.99));
            table.row("E1", what, peer, p99(errors) / p99(0.0), Bound::AtMost(1.15, 1.05));
        }
    }
    for peer in Peer::ALL {
        let off = |seed| {
            let outcome = erring(peer, 0.0, seed);
            let share = |&tries: &u64| (tries as f64 / outcome.requests as f64 - 0.2).abs();
            outcome.tries.iter().map(share).fold(0.0, f64::max)
        };
        let what = "largest distance from a fifth, of five equal endpoints";
        table.row("E2", what, peer, median(off), Bound::AtMost(0.02, 0.005));
    }
    if table.held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
