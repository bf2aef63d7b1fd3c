//! The certificate of the inbound listener, read again when its files change.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use outrigger::admin::Events;
use outrigger::core::{BoxError, Clock};
use outrigger::host::{FileChange, WatchedFile};
use outrigger::http::ServerTls;
use outrigger::tower::TokioClock;

use crate::{SidecarError, TlsFiles};

/// How often the files are looked at: by their metadata, most of the time.
const LOOK: Duration = Duration::from_secs(1);

/// What callers are shown, and the files that it comes from.
#[derive(Debug)]
pub(crate) struct Certificate {
    cert: WatchedFile,
    key: WatchedFile,
    tls: ServerTls,
    trouble: Trouble,
}

/// Why what the files hold is not what is in use; nothing while it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble(Arc<ArcSwapOption<String>>);

impl Trouble {
    /// What is wrong, if anything is.
    pub(crate) fn now(&self) -> Option<Arc<String>> {
        self.0.load_full()
    }
}

impl Certificate {
    /// Reads the files for the first time. Blocks.
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, SidecarError> {
        let (mut cert, mut key) = (WatchedFile::new(&files.cert), WatchedFile::new(&files.key));
        let now = TokioClock::new().wall();
        for (flag, file) in [("--tls-cert", &mut cert), ("--tls-key", &mut key)] {
            if let FileChange::Lost(error) = file.look(now) {
                let file = file.path().to_owned();
                return Err(SidecarError::Tls { key: flag, file, source: error.into() });
            }
        }
        let tls = made_of(&cert, &key).map_err(|source| {
            let file = cert.path().to_owned();
            SidecarError::Tls { key: "--tls-cert", file, source }
        })?;
        Ok(Self { cert, key, tls, trouble: Trouble::default() })
    }

    /// What a server speaks with; it follows the files.
    pub(crate) fn tls(&self) -> ServerTls {
        self.tls.clone()
    }

    pub(crate) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// Takes over what the files hold, for as long as it is polled. What cannot be used is told,
    /// and the last good one stays.
    pub(crate) async fn follow(mut self, events: Arc<Events>) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let clock = TokioClock::new();
        // Two files are not written in one breath: what does not fit gets until the next look.
        let mut is_doubted = false;
        loop {
            ticks.tick().await;
            let now = clock.wall();
            let looked = tokio::task::spawn_blocking(move || {
                let news = self.look(now, is_doubted);
                (self, news)
            });
            let Ok((back, news)) = looked.await else { return };
            self = back;
            match news {
                None => {}
                Some(Ok(tls)) => {
                    is_doubted = false;
                    self.tls.replace(&tls);
                    self.trouble.0.store(None);
                    let text = format!("in use: {}", self.cert.path().display());
                    tracing::info!(file = %self.cert.path().display(), "certificate in use");
                    events.note(now, "certificate", text);
                }
                Some(Err(_)) if !is_doubted => is_doubted = true,
                Some(Err(why)) => {
                    let why = told(why.as_ref());
                    if self.trouble.now().is_none_or(|told| *told != why) {
                        let file = self.cert.path().display();
                        tracing::warn!(%file, why, "certificate not used: that of before stays");
                        let text = format!("{file} not used, that of before stays: {why}");
                        events.note(now, "certificate", text);
                        self.trouble.0.store(Some(Arc::new(why)));
                    }
                }
            }
        }
    }

    /// What the files hold, if that is news or still to be judged. Blocks.
    fn look(&mut self, now: SystemTime, is_doubted: bool) -> Option<Result<ServerTls, BoxError>> {
        let mut is_news = is_doubted;
        for file in [&mut self.cert, &mut self.key] {
            match file.look(now) {
                FileChange::Same => {}
                FileChange::Lost(error) => return Some(Err(error.into())),
                FileChange::StillLost if is_doubted => {
                    let path = file.path().display();
                    return Some(Err(format!("{path} cannot be read").into()));
                }
                FileChange::Changed(_) => is_news = true,
                _ => return None,
            }
        }
        is_news.then(|| made_of(&self.cert, &self.key))
    }
}

fn made_of(cert: &WatchedFile, key: &WatchedFile) -> Result<ServerTls, BoxError> {
    let content = |file: &WatchedFile| file.content().cloned().unwrap_or_default();
    Ok(ServerTls::from_pem(&content(cert), &content(key), None)?)
}

/// An error and its causes in one line.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
