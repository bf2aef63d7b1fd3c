//! Requests at a fixed rate, each with its moment and its ending.
#![expect(clippy::disallowed_methods, reason = "load is made on real time")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::raw::Ask;

/// How one request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Visit {
    /// When it was sent.
    pub at: Instant,
    /// How long it took to the whole answer.
    pub took: Duration,
    /// Why it failed; `None` for a whole answer.
    pub failed: Option<String>,
}

/// A load on a storefront that runs until it is ended.
///
/// The loop is open: each request has a thread and a connection of its own, so that a slow answer
/// holds nobody up.
#[derive(Debug)]
pub struct Load {
    visits: Arc<Mutex<Vec<Visit>>>,
    stop: Arc<AtomicBool>,
    driver: Option<JoinHandle<()>>,
}

impl Load {
    /// Sends `rate` checkouts a second.
    #[must_use]
    pub fn start(storefront: SocketAddr, rate: u32) -> Self {
        Self::with(rate, move |id| visit(storefront, id))
    }

    /// Makes `rate` requests a second; `visit` makes one and says how it ended.
    #[must_use]
    pub fn with(rate: u32, visit: impl Fn(u64) -> Visit + Send + Sync + 'static) -> Self {
        let visit = Arc::new(visit);
        let (visits, stop) = (Arc::<Mutex<Vec<Visit>>>::default(), Arc::<AtomicBool>::default());
        let driver = thread::spawn({
            let (visits, stop) = (Arc::clone(&visits), Arc::clone(&stop));
            move || {
                let (begin, mut running) = (Instant::now(), Vec::new());
                for number in 1_u32.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let due = begin + Duration::from_secs(1) * number / rate.max(1);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let visits = Arc::clone(&visits);
                    running.retain(|visit: &JoinHandle<()>| !visit.is_finished());
                    let visit = Arc::clone(&visit);
                    running.push(thread::spawn(move || {
                        let visit = visit(u64::from(number));
                        visits.lock().unwrap_or_else(PoisonError::into_inner).push(visit);
                    }));
                }
                for visit in running {
                    // A visit that panicked is missing from the list, which the count shows.
                    let _ended = visit.join();
                }
            }
        });
        Self { visits, stop, driver: Some(driver) }
    }

    /// Ends it, waits for what is under way, and tells how every request ended.
    #[must_use]
    pub fn end(mut self) -> Visits {
        self.stop();
        let all = std::mem::take(&mut *self.visits.lock().unwrap_or_else(PoisonError::into_inner));
        Visits(all)
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(driver) = self.driver.take() {
            let _ended = driver.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Visit {
    /// One GET; `wrong` says what is wrong with the body of a 200, if anything is.
    pub fn get(to: SocketAddr, path: &str, wrong: impl Fn(&Value) -> Option<&'static str>) -> Self {
        let at = Instant::now();
        let failed = match Ask::new("GET", path).send(to) {
            Err(error) => Some(format!("{:?}", error.kind())),
            Ok(answer) if answer.status != 200 => Some(answer.to_string()),
            Ok(answer) => match answer.json() {
                Some(whole) => wrong(&whole).map(str::to_owned),
                None => Some("no json".to_owned()),
            },
        };
        Self { at, took: at.elapsed(), failed }
    }
}

fn visit(storefront: SocketAddr, id: u64) -> Visit {
    Visit::get(storefront, &format!("/checkout/{id}"), |whole| match &whole["order"] {
        order if order["stock"]["id"] != id => Some("wrong answer"),
        order if order["price"].is_null() => Some("no price"),
        _ => None,
    })
}
/// How every request of a load ended.
#[derive(Debug)]
pub struct Visits(Vec<Visit>);

impl Visits {
    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// Those that were sent from one instant on and before another.
    #[must_use]
    pub fn between(&self, from: Instant, to: Instant) -> Self {
        Self(self.0.iter().filter(|visit| visit.at >= from && visit.at < to).cloned().collect())
    }

    /// Those that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Visit> {
        self.0.iter().filter(|visit| visit.failed.is_some())
    }

    /// What failed since an instant, told briefly, one line a kind.
    #[must_use]
    pub fn failures_since(&self, since: Instant) -> String {
        let mut kinds = std::collections::BTreeMap::<&str, (u32, f64, f64)>::new();
        for visit in self.failed().filter(|visit| visit.at >= since) {
            let why = visit.failed.as_deref().unwrap_or_default();
            let at = visit.at.duration_since(since).as_secs_f64();
            let kind = kinds.entry(why).or_insert((0, at, at));
            *kind = (kind.0 + 1, kind.1.min(at), kind.2.max(at));
        }
        let line = |(why, (n, first, last)): (&&str, &(u32, f64, f64))| {
            format!("{n} × {why} ({first:.2} to {last:.2} s)")
        };
        kinds.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The time that this share of the requests, 0 to 1, did not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut took: Vec<_> = self.0.iter().map(|visit| visit.took).collect();
        took.sort_unstable();
        // A count of requests in a test is far below what a double holds exactly.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length is within it"
        )]
        let at = (took.len().saturating_sub(1) as f64 * share.clamp(0.0, 1.0)) as usize;
        took.get(at).copied().unwrap_or_default()
    }
}
