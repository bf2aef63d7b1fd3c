//! `outrigger sidecar`, and `outrigger run`: the same with a program.

mod child;
mod given;

use std::sync::Arc;

use anyhow::Error;
use outrigger_sidecar::{Mode, Sidecar, SidecarError};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use child::run as run_program;

use crate::cli::sidecar::SidecarArgs;
use crate::policy::Ended;
use crate::{Exit, print};
use given::Read;

/// Serves until it is told to end.
pub(crate) async fn run(arguments: SidecarArgs) -> Exit {
    if arguments.stop {
        return stop();
    }
    let ended = match given::read(Mode::Sidecar, &arguments.settings, &[]) {
        Ok(Read::Checked(exit)) => return exit,
        Ok(Read::Settings(settings)) => serve(*settings).await,
        Err(ended) => Err(ended),
    };
    ended.unwrap_or_else(|ended| ended.say())
}

async fn serve(given: given::Settled) -> Result<Exit, Ended> {
    // Before anything is claimed: from here on, a signal ends it in order.
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let signals = kinds.map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)] = signals else {
        return Err(Ended::unreachable(anyhow::anyhow!("signals cannot be listened to")));
    };
    let mut config = given.settings.config(None);
    config.settings = Some(given.rules);
    let bound = Sidecar::bind(config).await.map_err(ended)?;
    for line in bound.moved() {
        print::note(line);
    }
    print::result(&bound.addresses().to_string());
    let running = bound.start().await.map_err(ended)?;
    running.open().await.map_err(ended)?;
    let exit = tokio::select! {
        _ = terminate.recv() => Exit::Done,
        _ = hang_up.recv() => Exit::Done,
        _ = interrupt.recv() => Exit::Interrupted,
    };
    let in_order = async {
        running.drain().await;
        running.stop().await;
    };
    tokio::select! {
        () = in_order => {}
        // Whoever presses it twice does not want to wait.
        _ = interrupt.recv() => return Ok(Exit::Interrupted),
    }
    Ok(exit)
}

/// Tells the first process of this container to end.
fn stop() -> Exit {
    match outrigger_sidecar::stop_first() {
        Ok(()) => Exit::Done,
        Err(error) => {
            Ended::unreachable(Error::new(error).context("there is no sidecar to stop")).say()
        }
    }
}

/// How a sidecar that does not start ends the program.
fn ended(error: SidecarError) -> Ended {
    let is_usage = error.is_usage();
    let error = Error::new(error);
    if is_usage { Ended::usage(error) } else { Ended::unreachable(error) }
}

/// Where lines for people go.
fn say() -> outrigger_sidecar::Say {
    Arc::new(print::note)
}
