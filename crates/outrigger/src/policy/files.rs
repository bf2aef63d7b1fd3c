//! Policies in files, looked at again and again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outrigger_core::{Clock, ServiceName};
use outrigger_host::{FileChange, WatchedFile};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::DEFAULT;
use super::slot::Seen;
use super::text::{MAX_TEXT, Reading, Trouble, read, service_in};
use crate::destination::folded;

/// How often files are looked at. A change is believed when it stands still for one look, so that
/// nothing half-written comes into force: it is obeyed within twice this time.
const LOOK: Duration = Duration::from_millis(150);

/// What the files say, by service; those of whom no file speaks are not in it.
pub(crate) type FileBook = BTreeMap<ServiceName, Seen>;

/// Files and directories of policies, followed in the background.
#[derive(Debug)]
pub(crate) struct Files {
    book: watch::Receiver<Arc<FileBook>>,
    task: AbortHandle,
}

impl Files {
    /// Looks at them once, and goes on looking in the background. Each path is a file, or a
    /// directory whose `*.yaml`, `*.yml`, `*.json` and `*.toml` are meant.
    pub(crate) async fn start(paths: Vec<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let now = clock.wall();
        let looker = Looker::new(paths);
        let (mut looker, book) = look_once(looker, now).await;
        let (tell, told) = watch::channel(Arc::new(book.unwrap_or_default()));
        let task = tokio::spawn(async move {
            let mut ticks = interval(LOOK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let book;
                (looker, book) = look_once(looker, clock.wall()).await;
                if let Some(book) = book {
                    tell.send_replace(Arc::new(book));
                }
            }
        });
        Self { book: told, task: task.abort_handle() }
    }

    /// What they say, and will say.
    pub(crate) fn book(&self) -> watch::Receiver<Arc<FileBook>> {
        self.book.clone()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look_once(mut looker: Looker, now: SystemTime) -> (Looker, Option<FileBook>) {
    let looked = tokio::task::spawn_blocking(move || {
        let book = looker.look(now);
        (looker, book)
    });
    match looked.await {
        Ok(back) => back,
        // The runtime is being shut down: there is nothing to look for any more.
        Err(_) => (Looker::new(Vec::new()), None),
    }
}

/// Looks at files. Blocks.
#[derive(Debug)]
struct Looker {
    paths: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Watched>,
    /// Services of whom a file spoke that speaks of another one now.
    left: BTreeMap<ServiceName, Seen>,
    is_first: bool,
}

#[derive(Debug)]
struct Watched {
    file: WatchedFile,
    /// What was found at the last look, and must be found again to be believed.
    fresh: Option<Found>,
    is_lost: bool,
    service: Option<ServiceName>,
    seen: Option<Seen>,
}

#[derive(Debug)]
enum Found {
    Content(Arc<[u8]>),
    Lost(io::Error),
}

impl Looker {
    const fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, files: BTreeMap::new(), left: BTreeMap::new(), is_first: true }
    }

    /// Looks at everything; what all of it says when that changed.
    fn look(&mut self, now: SystemTime) -> Option<FileBook> {
        for path in listed(&self.paths) {
            self.files.entry(path).or_insert_with_key(|path| Watched::new(path));
        }
        let mut changed = self.is_first;
        for file in self.files.values_mut() {
            if let Some(before) = file.look(now, self.is_first) {
                changed = true;
                // A service of whom the file does not speak any more was not removed by that.
                if let Some(before) = before {
                    self.left.insert(before, Seen::Bad(Trouble::vanished()));
                }
            }
        }
        self.is_first = false;
        changed.then(|| self.book())
    }

    fn book(&mut self) -> FileBook {
        let mut book = FileBook::new();
        for (path, file) in &self.files {
            let (Some(service), Some(seen)) = (&file.service, &file.seen) else { continue };
            if matches!(seen, Seen::Absent) {
                continue;
            }
            let gone = |seen: &Seen| matches!(seen, Seen::Bad(Trouble { class: "vanished", .. }));
            match book.get_mut(service) {
                Some(_) if gone(seen) => {}
                // A renamed file: the old name is gone, the new one speaks.
                Some(present) if gone(present) => *present = seen.clone(),
                Some(present) => {
                    *present = Seen::Bad(Trouble::new(
                        "conflict",
                        format!("{}: another file speaks of `{service}` too", path.display()),
                    ));
                }
                None => {
                    book.insert(service.clone(), seen.clone());
                }
            }
        }
        self.left.retain(|service, _| !book.contains_key(service));
        book.extend(self.left.iter().map(|(service, seen)| (service.clone(), seen.clone())));
        book
    }
}

impl Watched {
    fn new(path: &Path) -> Self {
        let file = WatchedFile::new(path).with_max_bytes(MAX_TEXT as u64);
        Self { file, fresh: None, is_lost: false, service: None, seen: None }
    }

    /// Looks at the file; `Some` when what it says changed, with the service of whom it said
    /// something before and says nothing now.
    #[expect(clippy::option_option, reason = "whether it changed, and whom it left")]
    fn look(&mut self, now: SystemTime, at_once: bool) -> Option<Option<ServiceName>> {
        let is_new = match self.file.look(now) {
            FileChange::Changed(content) => {
                self.is_lost = false;
                self.fresh = Some(Found::Content(content));
                true
            }
            FileChange::Lost(error) => {
                self.fresh = Some(Found::Lost(error));
                true
            }
            // It was away for a moment, as some editors have it.
            FileChange::Same if matches!(self.fresh, Some(Found::Lost(_))) => {
                self.fresh = None;
                false
            }
            FileChange::Same if self.is_lost => {
                // It is back, with what it held before.
                self.is_lost = false;
                self.fresh = self.file.content().cloned().map(Found::Content);
                true
            }
            _ => false,
        };
        if is_new && !at_once {
            return None;
        }
        let found = self.fresh.take()?;
        self.believe(found)
    }

    #[expect(clippy::option_option, reason = "whether it changed, and whom it left")]
    fn believe(&mut self, found: Found) -> Option<Option<ServiceName>> {
        let path = self.file.path().to_owned();
        let name = path.display().to_string();
        let before = self.service.clone();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let by_name = || stem.and_then(|stem| folded(stem).ok());
        let seen = match found {
            Found::Content(content) => {
                self.is_lost = false;
                let folder = path.parent().unwrap_or_else(|| Path::new("."));
                match read(&name, &content, folder) {
                    Ok(Reading::Policy(loaded)) => {
                        let told = loaded.plan.service.as_ref();
                        if stem == Some(DEFAULT) && told.is_some() {
                            self.service = by_name();
                            let what = format!("{name}: `_default` names no service");
                            Seen::Bad(Trouble::new("other_service", what))
                        } else {
                            let told = told.and_then(|told| folded(told.as_str()).ok());
                            self.service = told.or_else(by_name);
                            Seen::Text(Reading::Policy(loaded))
                        }
                    }
                    Ok(Reading::Tombstone) => {
                        self.service = self.service.take().or_else(by_name);
                        Seen::Text(Reading::Tombstone)
                    }
                    Err(trouble) => {
                        let told = || folded(service_in(&content)?.as_str()).ok();
                        let default = || by_name().filter(|name| name.as_str() == DEFAULT);
                        self.service =
                            self.service.take().or_else(default).or_else(told).or_else(by_name);
                        Seen::Bad(trouble)
                    }
                }
            }
            Found::Lost(error) => {
                self.is_lost = true;
                let had = matches!(self.seen, Some(Seen::Text(Reading::Policy(_)) | Seen::Bad(_)));
                self.service = self.service.take().or_else(by_name);
                match error.kind() {
                    io::ErrorKind::NotFound if had => {
                        let Trouble { class, message } = Trouble::vanished();
                        Seen::Bad(Trouble::new(class, format!("{name}: {message}")))
                    }
                    // Only one that was named can be missing before it was ever there; the
                    // tombstone itself may be cleared away.
                    io::ErrorKind::NotFound if self.seen.is_some() => Seen::Absent,
                    io::ErrorKind::FileTooLarge => {
                        let what = format!("{name}: at most {MAX_TEXT} bytes are read");
                        Seen::Bad(Trouble::new("too_large", what))
                    }
                    _ => Seen::Bad(Trouble::new("unreadable", format!("{name}: {error}"))),
                }
            }
        };
        if let Seen::Bad(trouble) = &seen {
            tracing::warn!(file = %name, class = trouble.class, %trouble, "policy file not used");
        }
        self.seen = Some(seen);
        Some(before.filter(|before| self.service.as_ref() != Some(before)))
    }
}

/// The files that the paths mean.
fn listed(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        match fs::read_dir(path) {
            Ok(entries) => {
                let found =
                    entries.flatten().map(|entry| entry.path()).filter(|path| is_meant(path));
                all.extend(found);
            }
            Err(error) => tracing::warn!(folder = %path.display(), %error, "folder not read"),
        }
    }
    all
}

fn is_meant(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let hidden = path.file_name().and_then(|name| name.to_str()).is_none_or(|n| n.starts_with('.'));
    // Through symbolic links, as Kubernetes mounts a ConfigMap.
    matches!(ending, Some("yaml" | "yml" | "json" | "toml")) && !hidden && path.is_file()
}

#[cfg(test)]
mod tests;
