//! Restarts, hanging instances and killed ones, under a load that counts every failure.

use std::time::{Duration, Instant};

use outrigger_e2e::load::{Load, Visit, Visits};
use outrigger_e2e::polyglot::Service;
use outrigger_e2e::raw::Answer;

use crate::stage::{FLAKY, NowByTest, Stage, is_soak};

/// A second, on two cores, beside twelve services and their sidecars.
fn rate() -> u32 {
    if is_soak() { 300 } else { 50 }
}

impl Stage {
    /// Checkouts, which pass five services, and every fifth request at the sixth.
    fn load(&self) -> Load {
        let (to, is_whole) = (self.fleet.visitors(), self.is_whole());
        let services: Vec<_> = self.services().iter().map(|service| service.name).collect();
        Load::with(rate(), move |id| {
            if id % 5 == 0 && services.contains(&"echo") {
                let path = format!("http://echo/echo/{id}");
                let word = id.to_string();
                return Visit::get(to, &path, |told| {
                    (told["echo"] != word.as_str()).then_some("wrong echo")
                });
            }
            if !is_whole {
                let name = services[usize::try_from(id).unwrap_or_default() % services.len()];
                let path = format!("http://{name}/whoami");
                return Visit::get(to, &path, |told| (told["service"] != name).then_some("wrong"));
            }
            Visit::get(
                to,
                &format!("http://storefront/checkout/{id}"),
                |whole| match &whole["order"] {
                    order if order["stock"]["id"] != id => Some("wrong answer"),
                    order if order["price"]["id"] != id => Some("no price"),
                    order if order["invoice"]["id"] != id => Some("no invoice"),
                    _ => None,
                },
            )
        })
    }

    /// Every service: a new instance, then one of the old ones ends in order.
    pub(crate) fn a_rolling_restart(&mut self) -> Vec<(&'static Service, &'static str)> {
        let (load, began) = (self.load(), Instant::now_by_test());
        let mut drained = Vec::new();
        for service in self.services() {
            for _ in 0..if is_soak() { 2 } else { 1 } {
                self.fleet.add(service).expect("it starts");
                self.wait_until_passing(Duration::from_secs(90));
                let mut old = self.fleet.take(service.name);
                old.process.signal("TERM");
                let ended = old.process.wait(Duration::from_secs(30));
                let log = old.process.log();
                // A JVM that was told to end says so: 143, which is not 0.
                let expected = service.language != "java";
                assert_eq!(ended, Some(expected), "{} ends in order:\n{log}", old.id);
            }
            drained.push((service, "0 failed"));
        }
        let visits = load.end();
        report("a rolling restart of every service", &visits, began);
        assert_eq!(visits.failed().count(), 0, "{}", visits.failures_since(began));
        drained
    }

    /// One instance hangs for six seconds: few notice, and none after five.
    pub(crate) fn instances_hang(&self) {
        for service in self.services() {
            if !is_soak() && !["pricing", "orders"].contains(&service.name) {
                continue;
            }
            let load = self.load();
            pause(Duration::from_secs(1));
            let began = Instant::now_by_test();
            let instance = self.fleet.of(service.name).next().expect("two run");
            instance.process.signal_family("STOP");
            pause(Duration::from_secs(7));
            let over = Instant::now_by_test();
            instance.process.signal_family("CONT");
            pause(Duration::from_secs(1));
            let visits = load.end();
            report(&format!("one of {} hangs", service.name), &visits, began);
            let failed = visits.failed().count();
            assert!(failed * 200 <= visits.count(), "{}", visits.failures_since(began));
            let late = visits.between(began + Duration::from_secs(5), over);
            assert_eq!(late.failed().count(), 0, "{}", visits.failures_since(began));
        }
    }

    /// One instance of each service is killed, with its sidecar; none is left out, none comes back.
    pub(crate) fn instances_are_killed(&mut self) {
        // What hung until a moment ago is back first.
        pause(Duration::from_secs(3));
        let (load, began) = (self.load(), Instant::now_by_test());
        for service in self.services() {
            let instance = self.fleet.take(service.name);
            instance.process.signal_family("KILL");
            pause(Duration::from_millis(1500));
        }
        let visits = load.end();
        report("one instance of each service is killed", &visits, began);
        assert_eq!(visits.failed().count(), 0, "{}", visits.failures_since(began));
    }

    /// What stands alone has no inbound rules: the note below the table is asserted here.
    pub(crate) fn a_service_that_registers_itself_alone_is_limited_by_its_callers_only(&self) {
        let flaky = format!("http://{}", self.flaky.address);
        let alone = self.fleet.alone("go", &[("FLAKY_URL", &flaky)]).expect("it starts");
        let Some(alone) = alone else { return };
        for _ in 0..12 {
            let answer = alone.ask_with("/whoami", &[("x-limited", "yes-please")]);
            assert_eq!(answer.status, 200, "nobody limits it: {answer}");
        }
        let path = format!("/ask/{FLAKY}");
        let reason = |answer: &Answer| answer.header("x-outrigger-reason").map(str::to_owned);
        let answers: Vec<_> = (0..12).map(|_| alone.ask(&path)).collect();
        assert!(answers.iter().all(|answer| answer.status == 500), "each is asked: {answers:?}");
        assert!(answers.iter().all(|answer| reason(answer).is_none()), "it has no circuit");
    }
}

fn report(what: &str, visits: &Visits, began: Instant) {
    println!(
        "{what}: {} requests at {}/s, {} failed, p50 {:?}, p99 {:?}\n{}",
        visits.count(),
        rate(),
        visits.failed().count(),
        visits.quantile(0.5),
        visits.quantile(0.99),
        visits.failures_since(began)
    );
}

#[expect(clippy::disallowed_methods, reason = "the load runs on real time")]
fn pause(span: Duration) {
    std::thread::sleep(span);
}
