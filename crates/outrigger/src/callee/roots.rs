//! The file of roots that a policy names, as it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::Clock;
use outrigger_host::WatchedFile;
use tokio::sync::watch;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// A file, and what it holds.
type Followed = (PathBuf, watch::Receiver<Option<Arc<[u8]>>>);

/// What the file of roots holds, as it changes; without a file nothing ever does.
#[derive(Debug, Default)]
pub(super) struct Roots {
    followed: Option<Followed>,
}

impl Roots {
    /// Follows another file, or none.
    pub(super) fn follow(&mut self, path: Option<&Path>, clock: &Arc<dyn Clock>) {
        if self.followed.as_ref().map(|(path, _)| path.as_path()) != path {
            self.followed = path.map(|path| {
                let content = WatchedFile::new(path).watch(LOOK, Arc::clone(clock));
                (path.to_owned(), content)
            });
        }
    }

    /// What it holds now; once what it held at first, too: it may have changed since the policy was
    /// read.
    ///
    /// # Cancel safety
    /// Nothing is lost: what it holds is told by the next call.
    pub(super) async fn changed(&mut self) -> Arc<[u8]> {
        if let Some((_, content)) = &mut self.followed
            && content.changed().await.is_ok()
            && let Some(content) = content.borrow_and_update().clone()
        {
            return content;
        }
        std::future::pending().await
    }
}
