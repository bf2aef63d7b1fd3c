//! What the machine tells: the last good sets and policies on disk, files that change, and the
//! limits that the process runs under.
//!
//! ```
//! use outrigger_core::{Freshness, Instance, Snapshot};
//! use outrigger_host::SnapshotStore;
//! use std::{net::SocketAddr, sync::Arc, time::{Duration, SystemTime}};
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path();
//! let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
//! let address: SocketAddr = "10.0.0.1:80".parse()?;
//! let stock = Instance::new("stock-1".parse()?, "stock".parse()?, address);
//! let live = Snapshot::new("stock".parse()?, 7, vec![Arc::new(stock)], noon);
//!
//! let store = SnapshotStore::new(path);
//! store.save(&live, noon)?;
//!
//! let hour_later = noon + Duration::from_secs(3_600);
//! let (snapshots, refused) = store.load_all(hour_later);
//! assert_eq!(snapshots[0].instances, live.instances);
//! assert_eq!(snapshots[0].freshness, Freshness::File);
//! assert!(refused.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Blocking: everything here but [`CpuMeter::watch`], [`WatchedFile::watch`] and [`SnapshotKeeper`] reads or writes
//! files on the calling thread. Linux is tested; elsewhere [`Limits::read`] knows nothing.

mod cgroup;
mod cpu;
mod keeper;
mod policy;
mod snapshot;
mod watched;

pub use cgroup::{CpuTime, Limits};
pub use cpu::CpuMeter;
pub use keeper::SnapshotKeeper;
pub use policy::{PolicyStore, SavedPolicy};
pub use snapshot::{RefusedSnapshot, SnapshotError, SnapshotStore};
pub use watched::{FileChange, WatchedFile};
