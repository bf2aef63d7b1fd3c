//! Files that are told about when they change.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outrigger_core::Clock;
use tokio::sync::watch;

/// What a look at a file found.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileChange {
    /// It holds something else than at the last look; at the first look, whatever it holds.
    Changed(Arc<[u8]>),
    /// It holds the same.
    Same,
    /// It cannot be read, for the first time in a row. What it held last stays good.
    Lost(io::Error),
    /// It still cannot be read.
    StillLost,
}

/// A file that is looked at again and again: a token, a certificate, a policy.
///
/// By its metadata first, which follows symbolic links, so that a swapped link (as Kubernetes does
/// it) and a rename are seen; by its content then, so that a touch without a change is none.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    max_bytes: u64,
    seen: Option<Seen>,
    is_lost: bool,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    /// Its time lies so close to the look that another write may bear the same.
    is_young: bool,
    content: Arc<[u8]>,
}

/// What changes when a file does, most of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// Device and inode, where there are such.
    place: (u64, u64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let place = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let place = (0, 0);
        Self { length: metadata.len(), modified: metadata.modified().ok(), place }
    }
}

/// Longer than the coarsest time stamp of a file system that is in use.
const YOUNG: Duration = Duration::from_secs(2);

impl WatchedFile {
    /// Most bytes that are read unless told otherwise.
    pub const MAX_BYTES: u64 = 1_048_576;

    /// A file that nobody has looked at yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_bytes: Self::MAX_BYTES, seen: None, is_lost: false }
    }

    /// Reads at most so many bytes; a longer file is lost.
    #[must_use]
    pub const fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Where it stands.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it held when it could last be read.
    #[must_use]
    pub fn content(&self) -> Option<&Arc<[u8]>> {
        self.seen.as_ref().map(|seen| &seen.content)
    }

    /// Looks at it. `now` is the wall clock. Blocks.
    pub fn look(&mut self, now: SystemTime) -> FileChange {
        match self.read(now) {
            Ok(None) => {
                self.is_lost = false;
                FileChange::Same
            }
            Ok(Some(seen)) => {
                self.is_lost = false;
                let is_same = self.content() == Some(&seen.content);
                let content = Arc::clone(&seen.content);
                self.seen = Some(seen);
                if is_same { FileChange::Same } else { FileChange::Changed(content) }
            }
            Err(_) if self.is_lost => FileChange::StillLost,
            Err(error) => {
                self.is_lost = true;
                FileChange::Lost(error)
            }
        }
    }

    /// `None` when its metadata says that nothing can have changed.
    fn read(&self, now: SystemTime) -> io::Result<Option<Seen>> {
        let stamp = Stamp::of(&fs::metadata(&self.path)?);
        let is_known = self.seen.as_ref().is_some_and(|seen| !seen.is_young && seen.stamp == stamp);
        if is_known && !self.is_lost {
            return Ok(None);
        }
        let mut file = File::open(&self.path)?;
        // Of the file that is read: the path may lead to another one by now.
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut content = Vec::new();
        file.by_ref().take(self.max_bytes + 1).read_to_end(&mut content)?;
        if content.len() as u64 > self.max_bytes {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too long"));
        }
        let stamp = Stamp::of(&metadata);
        let is_young = stamp.modified.is_none_or(|modified| {
            // A time in the future tells nothing about the next write either.
            now.duration_since(modified).map_or(true, |age| age < YOUNG)
        });
        Ok(Some(Seen { stamp, is_young, content: content.into() }))
    }

    /// Looks at it now and then `every` so often, in the background, until nobody listens.
    ///
    /// Shape: `None` until it could be read for the first time; from then on what it held when it
    /// could last be read.
    #[must_use]
    pub fn watch(
        mut self,
        every: Duration,
        clock: Arc<dyn Clock>,
    ) -> watch::Receiver<Option<Arc<[u8]>>> {
        let (tell, told) = watch::channel(None);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(every.max(Duration::from_millis(10)));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = tell.closed() => return,
                }
                let now = clock.wall();
                let looked = tokio::task::spawn_blocking(move || {
                    let change = self.look(now);
                    (self, change)
                });
                let Ok((back, change)) = looked.await else { return };
                self = back;
                match change {
                    FileChange::Changed(content) => {
                        tell.send_replace(Some(content));
                    }
                    FileChange::Lost(error) => {
                        tracing::warn!(path = %self.path.display(), %error, "file cannot be read");
                    }
                    FileChange::Same | FileChange::StillLost => {}
                }
            }
        });
        told
    }
}

#[cfg(test)]
mod tests;
