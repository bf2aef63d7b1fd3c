//! `outrigger demo --fleet polyglot`: the services of `examples/` in five languages and a shell, each
//! a process of its own, most of them under `outrigger run`.

mod kit;
mod member;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use outrigger::Fleet;
use outrigger_dev::Agent;
use tokio::time::sleep;

use super::board::{Board, Tally};
use super::load;
use super::report::{ChapterReport, Report};
use crate::cli::DemoArgs;
use crate::{Exit, clock, print};
use kit::Kit;
use member::{Member, SERVICES, Service};

/// Instances of each service.
const SIZE: usize = 2;

/// The slowest to start is a JVM beside everybody else who starts.
const PATIENCE: Duration = Duration::from_secs(90);

/// The fleet, oldest instance first.
#[derive(Debug)]
struct Cast {
    kit: Kit,
    consul: SocketAddr,
    services: Vec<&'static Service>,
    members: Vec<Member>,
    visitors: Fleet,
    started: usize,
}

/// Plays three chapters: all is well, one is killed, everybody is restarted.
pub(super) async fn play(arguments: &DemoArgs) -> Result<Exit> {
    let Some(examples) = kit::examples() else {
        print::note(
            "error: --fleet polyglot runs the services of a checkout's examples/; there is none above this folder",
        );
        return Ok(Exit::Unreachable);
    };
    let (kit, left_out) = tokio::task::spawn_blocking(move || Kit::gather(examples)).await?;
    for (service, why) in &left_out {
        print::note(&format!("left out: {} ({}): {why}", service.name, service.language));
    }
    let services: Vec<_> = SERVICES
        .iter()
        .filter(|service| left_out.iter().all(|(out, _)| out.name != service.name))
        .collect();
    let needed = |name: &str| services.iter().any(|service| service.name == name);
    if !["storefront", "orders", "inventory"].into_iter().all(needed) {
        print::note("error: without storefront, orders and inventory there is no fleet");
        return Ok(Exit::Unreachable);
    }
    let (url, _own) = match &arguments.registry {
        Some(url) => (url.clone(), None),
        None => {
            let bound = Agent::builder().bind(([127, 0, 0, 1], 0).into()).await;
            let agent = bound.context("the dev agent")?;
            (agent.url(), Some(agent))
        }
    };
    let board = Board::new();
    let consul = url.strip_prefix("http://").unwrap_or(&url).trim_end_matches('/');
    let consul = tokio::net::lookup_host(consul).await?.next().context("the registry's address")?;
    let [figures, events] = board.observers("visitors");
    let visitors = outrigger::builder("visitors")
        .consul(url.clone())
        .observer(figures)
        .observer(events)
        .join()
        .await?;
    let mut cast = Cast { kit, consul, services, members: Vec::new(), visitors, started: 0 };
    let began = clock::now();
    let chapters = cast.perform(arguments, &board).await?;
    let seconds = clock::now().saturating_duration_since(began).as_secs_f64();
    let report = cast.conclude(&board, chapters, seconds);
    report.print(arguments.json)
}

impl Cast {
    async fn perform(
        &mut self,
        arguments: &DemoArgs,
        board: &Arc<Board>,
    ) -> Result<Vec<ChapterReport>> {
        let names: Vec<_> =
            self.services.iter().map(|s| format!("{} in {}", s.name, s.language)).collect();
        print::note(&format!("starting {SIZE} × {}", names.join(", ")));
        for service in self.services.clone() {
            for _ in 0..SIZE {
                self.add(service)?;
            }
        }
        self.wait_until_all_answer().await?;
        super::warm_up(&self.visitors).await.context("the fleet does not answer")?;
        let load =
            tokio::spawn(load::run(self.visitors.clone(), Arc::clone(board), arguments.rate));
        let mut chapters = Vec::new();
        let third = arguments.span / 3;

        board.turn_page();
        sleep(third).await;
        chapters.push(judge("calm", "no failed request", &board.chapter(), String::new()));

        board.turn_page();
        let killed = self.take("pricing").or_else(|| self.take("inventory"));
        let killed = killed.context("an instance to kill")?;
        let what = format!("{} was killed with its sidecar", killed.name);
        board.note(&what);
        drop(killed);
        sleep(third / 2).await;
        chapters.push(judge("killed", "no failed request", &board.chapter(), what));

        board.turn_page();
        for service in self.services.clone() {
            self.add(service)?;
            self.wait_until_all_answer().await?;
            let old = self.take(service.name).context("an instance to restart")?;
            board.note(format!("{} is restarted", old.name));
            old.end().await;
        }
        let what = format!("{} services, one instance each", self.services.len());
        chapters.push(judge("rolling", "no failed request", &board.chapter(), what));
        load.abort();
        for member in self.members.drain(..) {
            member.end().await;
        }
        Ok(chapters)
    }

    fn add(&mut self, service: &'static Service) -> Result<()> {
        self.started += 1;
        let name = format!("{}-{}", service.name, self.started);
        self.members.push(Member::start(service, name, &self.kit, self.consul)?);
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<Member> {
        let at = self.members.iter().position(|member| member.service.name == name)?;
        Some(self.members.remove(at))
    }

    /// Waits until each instance is among the endpoints of the visitors, who ask its service.
    async fn wait_until_all_answer(&mut self) -> Result<()> {
        let deadline = clock::now() + PATIENCE;
        loop {
            for service in &self.services {
                // Asked so that the visitors watch it; the answer is looked at below.
                let _ = self.visitors.get(&format!("http://{}/whoami", service.name)).await;
            }
            let known: Vec<SocketAddr> = self
                .visitors
                .services()
                .iter()
                .flat_map(|view| view.endpoints.iter().map(|endpoint| endpoint.address))
                .collect();
            let missing: Vec<_> =
                self.members.iter().filter(|member| !known.contains(&member.address)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            let names: Vec<_> = missing.iter().map(|member| member.name.as_str()).collect();
            anyhow::ensure!(
                clock::now() < deadline,
                "not registered within {PATIENCE:?}: {}",
                names.join(", ")
            );
            for member in &mut self.members {
                member.ensure_runs()?;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn conclude(&self, board: &Board, chapters: Vec<ChapterReport>, seconds: f64) -> Report {
        let mut languages: Vec<_> = self.services.iter().map(|s| s.language.to_owned()).collect();
        languages.sort();
        Report { languages, ..Report::new(board, chapters, seconds) }
    }
}

fn judge(
    name: &'static str,
    promise: &'static str,
    tally: &Tally,
    measured: String,
) -> ChapterReport {
    let mut broken_because = Vec::new();
    if tally.requests == 0 {
        broken_because.push("not one request was made".to_owned());
    }
    if tally.failed > 0 {
        broken_because.push(format!("{} failed: {:?}", tally.failed, tally.failed_by_class));
    }
    ChapterReport {
        name,
        promise,
        kept: broken_because.is_empty(),
        requests: tally.requests,
        failed: tally.failed,
        degraded: tally.degraded,
        measured: if measured.is_empty() { format!("{} slow", tally.slow) } else { measured },
        figures: BTreeMap::new(),
        broken_because,
    }
}
