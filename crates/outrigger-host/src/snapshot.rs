//! The last good set of each service, on disk.

pub(crate) mod format;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use outrigger_core::{Freshness, ServiceName, Snapshot};

/// Why a snapshot on disk is not used. The file stays where it is until the next save.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It cannot be read or written.
    #[error("the snapshot file cannot be read or written")]
    Io(#[from] io::Error),
    /// It is larger than any that is written.
    #[error("the snapshot file has more than {max} bytes")]
    TooLarge {
        /// The most that is read.
        max: u64,
    },
    /// Its first line is not the one that is written.
    #[error("the snapshot file has no valid head")]
    BadHead,
    /// Another version of the format.
    #[error("the snapshot file has format {found}, this program reads {reads}")]
    OtherFormat {
        /// What the file says.
        found: u32,
        /// What is understood.
        reads: u32,
    },
    /// It was changed or cut after it was written.
    #[error("the snapshot file does not match its checksum")]
    BadChecksum,
    /// The checksum fits and the content makes no sense.
    #[error("the snapshot file holds no valid snapshot")]
    BadContent(#[source] serde_json::Error),
    /// It holds another service, or an instance of another one.
    #[error("the snapshot file of `{wanted}` holds `{found}`")]
    OtherService {
        /// Whose it should be.
        wanted: ServiceName,
        /// Whose it is.
        found: ServiceName,
    },
    /// It holds an endpoint that nothing can be sent to.
    #[error("the snapshot file holds port 0 or an unspecified address")]
    BadAddress,
    /// It was confirmed too long ago.
    #[error("the snapshot is {age:?} old, at most {max:?} is used")]
    TooOld {
        /// How long ago.
        age: Duration,
        /// How long ago it may be.
        max: Duration,
    },
    /// It was confirmed in the future: the clock has been set back since, or was wrong then.
    #[error("the snapshot was confirmed {ahead:?} from now")]
    FromTheFuture {
        /// How far ahead.
        ahead: Duration,
    },
}

impl SnapshotError {
    /// One word for metrics and logs.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Io(_) => "io",
            Self::TooLarge { .. } => "too_large",
            Self::BadHead => "bad_head",
            Self::OtherFormat { .. } => "other_format",
            Self::BadChecksum => "bad_checksum",
            Self::BadContent(_) => "bad_content",
            Self::OtherService { .. } => "other_service",
            Self::BadAddress => "bad_address",
            Self::TooOld { .. } => "too_old",
            Self::FromTheFuture { .. } => "from_the_future",
        }
    }
}

/// A file that was looked at and is not used.
#[derive(Debug)]
#[non_exhaustive]
pub struct RefusedSnapshot {
    /// Which one.
    pub path: PathBuf,
    /// Why.
    pub error: SnapshotError,
}

/// The last good set of each service: one file per service in a directory of its own.
///
/// A file is replaced atomically (written beside it, flushed to the disk, renamed), so that a
/// reader, and a start after a power cut, sees the old one or the new one wholly. Only its owner
/// may read it: metadata may hold what is nobody else's business.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    dir: PathBuf,
    max_age: Duration,
}

impl SnapshotStore {
    /// How old a snapshot may be that is still used.
    pub const MAX_AGE: Duration = Duration::from_secs(24 * 3_600);
    /// Most bytes of a file that are read.
    pub const MAX_BYTES: u64 = 64 * 1_048_576;

    /// A store in this directory, which is made when something is saved.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), max_age: Self::MAX_AGE }
    }

    /// Uses snapshots up to another age.
    #[must_use]
    pub const fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Where the snapshot of a service stands.
    #[must_use]
    pub fn path(&self, service: &ServiceName) -> PathBuf {
        // A service name holds no separator and is neither `.` nor `..`; the suffix keeps it from
        // being hidden or reserved.
        self.dir.join(format!("{service}{SUFFIX}"))
    }

    /// Saves a snapshot, in the place of an older one of the same service.
    ///
    /// Shape: only what a registry has confirmed is saved: `Held`, `Stale` and `File` sets change
    /// nothing. An empty set removes the file: the service has really no instances. `now` is the
    /// wall clock.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the older file, if any, is as it was.
    pub fn save(&self, snapshot: &Snapshot, now: SystemTime) -> Result<(), SnapshotError> {
        if !matches!(snapshot.freshness, Freshness::Live | Freshness::Static) {
            return Ok(());
        }
        let path = self.path(&snapshot.service);
        if snapshot.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => Ok(removed?),
            };
        }
        make_private_dir(&self.dir)?;
        let bytes = format::encode(snapshot, now).map_err(SnapshotError::BadContent)?;
        Ok(replace(&self.dir, &path, &bytes)?)
    }

    /// Loads the snapshot of one service; `None` when there is none.
    ///
    /// # Errors
    /// Every [`SnapshotError`]; the caller goes on as if there were none.
    pub fn load(
        &self,
        service: &ServiceName,
        now: SystemTime,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        let Some(bytes) = read_bounded(&self.path(service), Self::MAX_BYTES)? else {
            return Ok(None);
        };
        let snapshot = format::decode(&bytes, service)?;
        check_age(snapshot.confirmed, now, self.max_age)?;
        Ok(Some(snapshot))
    }

    /// Loads all that can be used, sorted by service, and tells what cannot.
    ///
    /// Shape: a directory that is not there holds nothing; files of other names are ignored.
    #[must_use]
    pub fn load_all(&self, now: SystemTime) -> (Vec<Snapshot>, Vec<RefusedSnapshot>) {
        let (mut snapshots, mut refused) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (snapshots, refused),
            Err(error) => {
                refused.push(RefusedSnapshot { path: self.dir.clone(), error: error.into() });
                return (snapshots, refused);
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(service) = name
                .to_str()
                .and_then(|name| name.strip_suffix(SUFFIX))
                .and_then(|name| ServiceName::new(name).ok())
            else {
                continue;
            };
            match self.load(&service, now) {
                Ok(found) => snapshots.extend(found),
                Err(error) => {
                    let path = entry.path();
                    tracing::warn!(path = %path.display(), class = error.class(), "snapshot refused");
                    refused.push(RefusedSnapshot { path, error });
                }
            }
        }
        snapshots.sort_by(|a, b| a.service.cmp(&b.service));
        (snapshots, refused)
    }
}

const SUFFIX: &str = ".snapshot";

pub(crate) fn check_age(
    confirmed: SystemTime,
    now: SystemTime,
    max: Duration,
) -> Result<(), SnapshotError> {
    match now.duration_since(confirmed) {
        Ok(age) if age > max => Err(SnapshotError::TooOld { age, max }),
        Ok(_) => Ok(()),
        // Clocks of one machine are corrected by minutes; a day ahead is no correction.
        Err(ahead) if ahead.duration() > max => {
            Err(SnapshotError::FromTheFuture { ahead: ahead.duration() })
        }
        Err(_) => Ok(()),
    }
}

pub(crate) fn read_bounded(path: &Path, max: u64) -> Result<Option<Vec<u8>>, SnapshotError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(SnapshotError::TooLarge { max });
    }
    Ok(Some(bytes))
}

pub(crate) fn make_private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(dir)
}

/// Puts `bytes` in the place of a file: afterwards it holds all of them, or what it held before.
pub(crate) fn replace(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let beside = dir.join(format!(".{}.{number}.tmp", std::process::id()));
    let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Whatever was wrong, what is half written is of no use to anybody.
        let _ = fs::remove_file(&beside);
        return written;
    }
    // The rename itself survives a power cut only once the directory is on the disk.
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = match options.open(path) {
        // Left by a process of the same number that did not live to the rename.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)?
        }
        opened => opened?,
    };
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
