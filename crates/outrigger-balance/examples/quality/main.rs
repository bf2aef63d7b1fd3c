//! Measures the quality of the choices.
mod ours;
mod peer;
mod sim;
use outrigger_balance::*;
use sim::*;
use std::time::Duration;

fn q12(b: &mut dyn Balancer, trouble: Trouble, retries: u8, seed: u64) -> Outcome {
    let mut w = Parallel {
        mean: Duration::from_millis(167),
        jitter: Duration::from_millis(5),
        trouble,
        from: Duration::from_secs(15),
        until: Duration::from_secs(45),
    };
    run(b, &mut w, Load { seconds: 60, per_second: 1000.0, retries, seed }, 11)
}
fn q3(b: &mut dyn Balancer, exponential: bool, seed: u64) -> Outcome {
    let mut w = SingleWorker {
        mean: Duration::from_millis(10),
        slow_factor: 3.0,
        exponential,
        free_at: vec![Duration::ZERO; 10],
    };
    run(b, &mut w, Load { seconds: 120, per_second: 700.0, retries: 0, seed }, 10)
}

struct Noisy {
    rng_err: f64,
    single: bool,
    free: Vec<Duration>,
    slow0: f64,
    bins: Vec<Vec<u32>>,
}
impl World for Noisy {
    fn answer(&mut self, e: usize, now: Time, rng: &mut fastrand::Rng) -> (Time, bool) {
        let bin = now.as_secs() as usize;
        while self.bins.len() <= bin {
            self.bins.push(vec![0; 5]);
        }
        self.bins[bin][e] += 1;
        let f = if e == 0 { self.slow0 } else { 1.0 };
        let ok = rng.f64() >= self.rng_err;
        let work = Duration::from_secs_f64(0.0005 * f + exponential(0.0005 * f, rng));
        if self.single {
            let b = self.free[e].max(now);
            let end = b + work;
            self.free[e] = end;
            (end, ok)
        } else {
            (now + work, ok)
        }
    }
}
fn noisy(
    b: &mut dyn Balancer,
    err: f64,
    single: bool,
    slow0: f64,
    rate: f64,
    seed: u64,
) -> (Outcome, f64, f64) {
    let mut w = Noisy { rng_err: err, single, free: vec![Duration::ZERO; 5], slow0, bins: vec![] };
    let o = run(b, &mut w, Load { seconds: 30, per_second: rate, retries: 0, seed }, 5);
    let tot: u64 = o.tries.iter().sum();
    let dev = o.tries.iter().map(|t| (*t as f64 / tot as f64 - 0.2).abs()).fold(0.0, f64::max);
    let wd = w.bins[2..29]
        .iter()
        .map(|b| {
            let t: u32 = b.iter().sum();
            b.iter().map(|x| (*x as f64 / t as f64 - 0.2).abs()).fold(0.0, f64::max)
        })
        .sum::<f64>()
        / 27.0;
    (o, dev, wd)
}
type Make = Box<dyn Fn(usize, u64) -> Box<dyn Balancer>>;
fn main() {
    let makes: Vec<(&str, Make)> = vec![
        ("rr", Box::new(|n, s| Box::new(ours::Ours::new(Algorithm::RoundRobin, None, n, s)))),
        ("lr", Box::new(|n, s| Box::new(ours::Ours::new(Algorithm::LeastRequest, None, n, s)))),
        ("ewma", Box::new(|n, s| Box::new(ours::Ours::new(Algorithm::PeakEwma, None, n, s)))),
        (
            "ewma+ej",
            Box::new(|n, s| {
                Box::new(ours::Ours::new(Algorithm::PeakEwma, Some(EjectConfig::default()), n, s))
            }),
        ),
        ("tower", Box::new(|n, s| Box::new(peer::Tower::new(n, s)))),
    ];
    let only = std::env::args().nth(1);
    for (name, make) in &makes {
        if only.as_deref().is_some_and(|o| !o.split(',').any(|o| o == *name)) {
            continue;
        }
        for seed in 1..=1 {
            let q1 = q12(&mut *make(11, seed), Trouble::Slow(Duration::from_secs(2)), 0, seed);
            let q2 = q12(&mut *make(11, seed), Trouble::FailAtOnce, 0, seed);
            let q2r = q12(&mut *make(11, seed), Trouble::FailAtOnce, 1, seed);
            let show = |n: &str, (o, d, w): (Outcome, f64, f64)| {
                print!(
                    "{n} p99 {:.2}ms mean {:.2} dev {:.1}% win {:.1}% slow {:.3} | ",
                    1e3 * o.quantile(0.99),
                    1e3 * o.latencies.iter().sum::<f64>() / o.requests as f64,
                    d * 100.0,
                    w * 100.0,
                    o.tries[0] as f64 / o.requests as f64
                )
            };
            print!("{name} ");
            show("par", noisy(&mut *make(5, seed), 0.0, false, 1.0, 2000.0, seed));
            show("par-low", noisy(&mut *make(5, seed), 0.0, false, 1.0, 100.0, seed));
            show("slow5", noisy(&mut *make(5, seed), 0.0, false, 5.0, 2000.0, seed));
            show("1w", noisy(&mut *make(5, seed), 0.0, true, 1.0, 3000.0, seed));
            show("1w-err.5%", noisy(&mut *make(5, seed), 0.005, true, 1.0, 3000.0, seed));
            show("1w-err.02%", noisy(&mut *make(5, seed), 0.0002, true, 1.0, 3000.0, seed));
            println!();
            let e = q3(&mut *make(10, seed), true, seed);
            let d = q3(&mut *make(10, seed), false, seed);
            println!(
                "{name:8} Q1 {:.4} Q2 {:.4} {:.5}  Q3exp p50 {:.1} p99 {:.1} mean {:.2} slow {:.3}  Q3det p99 {:.1} mean {:.2}",
                100.0 * q1.within(Duration::from_secs(1)),
                100.0 * q2.succeeded(),
                100.0 * q2r.succeeded(),
                1e3 * e.quantile(0.5),
                1e3 * e.quantile(0.99),
                1e3 * e.latencies.iter().sum::<f64>() / e.requests as f64,
                e.tries[0] as f64 / e.requests as f64 * 10.0,
                1e3 * d.quantile(0.99),
                1e3 * d.latencies.iter().sum::<f64>() / d.requests as f64
            );
        }
    }
}
