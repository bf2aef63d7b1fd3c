//! `outrigger demo`: a small fleet under trouble.

mod board;
mod cast;
mod director;
mod instance;
mod joiner;
mod load;
mod page;
mod percentile;
mod policies;
mod polyglot;
mod progress;
mod registry;
mod relay;
mod report;
mod role;
mod script;
mod services;
mod show;
mod traces;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};

pub(crate) use services::Role;

use crate::cli::{DemoArgs, FleetKind, PageAddress};
use crate::{Exit, dev, print};
use board::Board;
use cast::Cast;
use joiner::Joiner;
use policies::Policies;
use progress::Progress;
use registry::Registry;
use report::Report;
use show::Shown;
use traces::Traces;

/// The shortest demo in which every chapter can show what it is about.
const SHORTEST: Duration = Duration::from_secs(18);

/// Runs the demo, or one service of it.
pub(crate) async fn run(arguments: DemoArgs) -> Result<Exit> {
    if let Some(role) = arguments.role {
        return role::run(role).await;
    }
    if arguments.visit {
        return role::visit(&arguments).await;
    }
    if arguments.probe {
        return role::probe().await;
    }
    if arguments.fleet == FleetKind::Polyglot {
        return unless_interrupted(polyglot::play(&arguments)).await;
    }
    if arguments.span < SHORTEST {
        print::note(&format!(
            "error: --for {:?} is too short for the script; allowed is 18s or more",
            arguments.span
        ));
        return Ok(Exit::Usage);
    }
    let published = OnceLock::new();
    let ended = unless_interrupted(play(&arguments, &published)).await;
    // However it ended: what is left in somebody's registry would be obeyed by the next fleet.
    if arguments.registry.is_some()
        && let Some(policies) = published.get()
    {
        let policies: &Policies = policies;
        policies.withdraw().await;
    }
    ended
}

async fn unless_interrupted(demo: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    tokio::select! {
        ended = demo => ended,
        how = dev::interrupted() => {
            print::note("interrupted");
            Ok(if how == Exit::Done { Exit::Interrupted } else { how })
        }
    }
}

async fn play(arguments: &DemoArgs, published: &OnceLock<Policies>) -> Result<Exit> {
    let mut registry = match &arguments.registry {
        Some(url) => Registry::at(url).await?,
        None => Registry::own().await?,
    };
    let policies = registry.policies();
    // Told before the first is written: one that was written must be taken back.
    let _ = published.set(policies.clone());
    policies.publish().await.context("the policies of the demo")?;
    let (board, traces) = (Board::new(), Traces::new());
    let joiner = Joiner::new(registry.url(), Arc::clone(&board), Arc::clone(&traces) as _);
    print::note("starting storefront, orders, 3 × inventory and 2 × pricing");
    let mut cast = Cast::start(registry, joiner).await?;

    let shown = Shown::new(Arc::clone(&board), Arc::clone(&traces), arguments.span);
    let page = match arguments.page {
        PageAddress::Off => None,
        PageAddress::At(address) => Some(open_page(address, &shown).await?),
    };
    let visitors = cast.visitors().await?;
    warm_up(&visitors).await.context("the fleet does not answer")?;
    shown.begin();
    let load = tokio::spawn(load::run(visitors, Arc::clone(&board), arguments.rate));

    let progress = Progress::start(&shown);
    for (number, chapter) in script::SCRIPT.iter().enumerate() {
        shown.enter(number);
        progress.enter(chapter);
        shown.cast(&cast);
        let span = script::span(chapter, arguments.span);
        let report = director::play(chapter, span, &mut cast, &board).await?;
        progress.leave(&report);
        shown.leave(number, report);
    }
    progress.end();
    load.abort();
    let seconds = shown.elapsed().as_secs_f64();
    let report = conclude(&board, &traces, &shown, seconds);
    cast.end().await;
    if let Some(page) = page {
        page.stop().await;
    }
    report.print(arguments.json)
}

/// Opens the page; the default port, when it is taken, becomes a free one, said in one line.
async fn open_page(
    address: std::net::SocketAddr,
    shown: &Arc<Shown>,
) -> Result<outrigger::admin::Serving> {
    let opened = match page::serve(address, shown).await {
        Err(error)
            if error.kind() == std::io::ErrorKind::AddrInUse
                && address == crate::cli::DEFAULT_PAGE =>
        {
            print::note(&format!("{address} is taken, the page gets a free port"));
            page::serve((address.ip(), 0).into(), shown).await
        }
        opened => opened,
    };
    let page = opened.with_context(|| format!("the page cannot be served at {address}"))?;
    print::note(&format!("page http://{}/", page.address()));
    Ok(page)
}

/// The first answer: from here on nothing may fail.
async fn warm_up(visitors: &outrigger::Fleet) -> Result<()> {
    let mut last = None;
    for _ in 0..50 {
        match visitors.get("http://storefront/checkout/1").await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => {
                last = Some(anyhow::anyhow!("storefront answers {}", response.status()))
            }
            Err(error) => last = Some(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no answer")))
}

fn conclude(board: &Board, traces: &Traces, shown: &Shown, seconds: f64) -> Report {
    let (languages, trace) = (shown.languages(), traces.report());
    Report { languages, trace, ..Report::new(board, shown.reports(), seconds) }
}
