//! `outrigger sidecar`: the second container of a service.

use anyhow::Result;
use outrigger_sidecar::{Sidecar, SidecarError};

use crate::cli::sidecar::SidecarArgs;
use crate::dev::interrupted;
use crate::{Exit, print};

/// Serves until SIGINT or SIGTERM, and drains.
pub(crate) async fn run(arguments: SidecarArgs) -> Result<Exit> {
    let config = match arguments.config() {
        Ok(config) => config,
        Err(why) => {
            print::note(&format!("error: {why}"));
            return Ok(Exit::Usage);
        }
    };
    match serve(config).await {
        Ok(exit) => Ok(exit),
        Err(error) => {
            let exit = if error.is_usage() { Exit::Usage } else { Exit::Unreachable };
            print::error(&error.into());
            Ok(exit)
        }
    }
}

async fn serve(config: outrigger_sidecar::Config) -> Result<Exit, SidecarError> {
    let bound = Sidecar::bind(config).await?;
    for line in bound.moved() {
        print::note(line);
    }
    print::result(&bound.addresses().to_string());
    let running = bound.start().await?;
    let ended = async {
        running.open().await?;
        Ok::<_, SidecarError>(interrupted().await)
    };
    // A signal that comes while it opens ends it too: `open` waits for nobody but ourselves.
    let ended = ended.await?;
    tokio::select! {
        _ = running.drain() => {}
        // Whoever asks twice does not want to wait.
        _ = interrupted() => print::note("cut short"),
    }
    running.stop().await;
    // Ended in order, whichever signal asked for it.
    Ok(match ended {
        Exit::Interrupted => Exit::Interrupted,
        _ => Exit::Done,
    })
}
