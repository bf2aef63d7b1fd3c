//! The last good policy of each service, on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use outrigger_core::ServiceName;

use crate::snapshot::{
    SnapshotError, SnapshotStore, check_age, format, make_private_dir, read_bounded, replace,
};

/// The text of a policy that was in force, as it is kept for the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedPolicy {
    /// What it was called, so that its format is known: a file's path, or a key.
    pub name: String,
    /// Where it came from, one word of the caller's.
    pub origin: String,
    /// The text as written.
    pub text: String,
    /// When its source was last known to hold it.
    pub confirmed: SystemTime,
}

impl SavedPolicy {
    /// A text that its source held at `confirmed`.
    #[must_use]
    pub fn new(name: &str, origin: &str, text: &str, confirmed: SystemTime) -> Self {
        Self { name: name.into(), origin: origin.into(), text: text.into(), confirmed }
    }
}

/// The last good policy of each service: one file per service, beside the sets of endpoints that
/// a [`SnapshotStore`] keeps, and by the same rules: replaced atomically, with a checksum, for its
/// owner only, not used when too old.
#[derive(Clone, Debug)]
pub struct PolicyStore {
    dir: PathBuf,
    max_age: Duration,
}

impl PolicyStore {
    /// Most bytes of a file that are read.
    pub const MAX_BYTES: u64 = 4 * 1_048_576;

    /// A store in this directory, which is made when something is saved.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), max_age: SnapshotStore::MAX_AGE }
    }

    /// Uses policies up to another age. Default 24 h.
    #[must_use]
    pub const fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Where the policy of a service stands.
    #[must_use]
    pub fn path(&self, service: &ServiceName) -> PathBuf {
        self.dir.join(format!("{service}.policy"))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Saves a policy in the place of an older one. Blocks.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the older file, if any, is as it was.
    pub fn save(&self, service: &ServiceName, policy: &SavedPolicy) -> Result<(), SnapshotError> {
        make_private_dir(&self.dir)?;
        let bytes = format::encode_policy(service, policy).map_err(SnapshotError::BadContent)?;
        Ok(replace(&self.dir, &self.path(service), &bytes)?)
    }

    /// Forgets the policy of a service, which has none any more. Blocks.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn forget(&self, service: &ServiceName) -> Result<(), SnapshotError> {
        match fs::remove_file(self.path(service)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// Loads the policy of a service; `None` when there is none. `now` is the wall clock. Blocks.
    ///
    /// # Errors
    /// Every [`SnapshotError`] but those of endpoints; the caller goes on as if there were none.
    pub fn load(
        &self,
        service: &ServiceName,
        now: SystemTime,
    ) -> Result<Option<SavedPolicy>, SnapshotError> {
        let Some(bytes) = read_bounded(&self.path(service), Self::MAX_BYTES)? else {
            return Ok(None);
        };
        let policy = format::decode_policy(&bytes, service)?;
        check_age(policy.confirmed, now, self.max_age)?;
        Ok(Some(policy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn stock() -> ServiceName {
        ServiceName::new("stock").expect("valid")
    }

    fn saved() -> (tempfile::TempDir, PolicyStore, SavedPolicy) {
        let dir = tempfile::tempdir().expect("a directory");
        let store = PolicyStore::new(dir.path());
        let policy = SavedPolicy::new("stock.yaml", "file", "version: 1\n# ümlaut\n", noon());
        store.save(&stock(), &policy).expect("saved");
        (dir, store, policy)
    }

    #[test]
    fn what_is_saved_is_loaded_to_the_letter_until_it_is_forgotten() {
        let (_dir, store, policy) = saved();
        assert_eq!(store.load(&stock(), noon()).expect("good"), Some(policy));
        store.forget(&stock()).expect("removed");
        assert_eq!(store.load(&stock(), noon()).expect("nothing"), None);
        store.forget(&stock()).expect("it is gone already");
    }

    #[test]
    fn what_is_older_than_a_day_is_not_used() {
        let (_dir, store, policy) = saved();
        assert_eq!(store.load(&stock(), noon() + DAY).expect("good"), Some(policy));
        let error = store.load(&stock(), noon() + DAY * 2).expect_err("too old");
        assert_eq!(error.class(), "too_old");
        let error = store.load(&stock(), noon() - DAY * 2).expect_err("of tomorrow");
        assert_eq!(error.class(), "from_the_future");
    }

    #[test]
    fn a_file_that_was_changed_cut_or_moved_is_refused() {
        let (_dir, store, _) = saved();
        let path = store.path(&stock());
        let whole = fs::read(&path).expect("there");
        let other = ServiceName::new("orders").expect("valid");
        fs::write(store.path(&other), &whole).expect("written");
        assert_eq!(store.load(&other, noon()).expect_err("moved").class(), "other_service");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x20;
            fs::write(&path, &changed).expect("written");
            assert!(store.load(&stock(), noon()).is_err(), "byte {at} changed");
        }
        fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        assert_eq!(store.load(&stock(), noon()).expect_err("cut").class(), "bad_checksum");
        // A set of endpoints is no policy, whatever it is called.
        fs::write(&path, b"outrigger-snapshot 1 00\n{}").expect("written");
        assert_eq!(store.load(&stock(), noon()).expect_err("a set").class(), "bad_head");
    }
}
