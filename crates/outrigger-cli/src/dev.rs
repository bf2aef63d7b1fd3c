//! `outrigger dev`: the development agent, until it is interrupted.

use anyhow::{Context as _, Result};
use outrigger_dev::Agent;

use crate::cli::DevArgs;
use crate::{Exit, print};

/// Runs the agent until SIGINT or SIGTERM.
pub(crate) async fn run(arguments: DevArgs) -> Result<Exit> {
    if !arguments.listen.ip().is_loopback() {
        print::note(&format!(
            "error: --listen {}: the development agent listens on loopback only, for it lets \
             everybody in",
            arguments.listen
        ));
        return Ok(Exit::Usage);
    }
    let mut builder = Agent::builder();
    if let Some(file) = arguments.state {
        builder = builder.state_file(file);
    }
    if arguments.acl || arguments.token_file.is_some() {
        let token = match &arguments.token_file {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("--token-file {} cannot be read", path.display()))?
                .trim()
                .to_owned(),
            None => format!("{:032x}", fastrand::u128(..)),
        };
        if arguments.token_file.is_none() {
            print::note(&format!("the management token is {token}"));
        }
        builder = builder.acl(token);
    }
    let agent = builder
        .bind(arguments.listen)
        .await
        .with_context(|| format!("{} is taken or cannot be listened on", arguments.listen))?;
    print::note(outrigger_dev::BANNER);
    print::result(&agent.url());
    let how = interrupted().await;
    agent.stop().await;
    Ok(how)
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn interrupted() -> Exit {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            return tokio::select! {
                _ = tokio::signal::ctrl_c() => Exit::Interrupted,
                _ = terminated.recv() => Exit::Done,
            };
        }
    }
    let _ = tokio::signal::ctrl_c().await;
    Exit::Interrupted
}
