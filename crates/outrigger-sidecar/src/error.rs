//! Why a sidecar does not start.

use std::io;
use std::path::PathBuf;

use outrigger::core::BoxError;
use outrigger::{JoinError, ServeError};

/// Why a sidecar does not start, or does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SidecarError {
    /// A place that was named cannot be listened on: somebody else has it, or it is not ours.
    #[error("{what} {address} cannot be listened on")]
    Taken {
        /// Which listener, by its flag.
        what: String,
        /// The place.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something that was said cannot be.
    #[error("{key} is {value}; allowed is {allowed}")]
    Config {
        /// Which flag.
        key: &'static str,
        /// What was said.
        value: String,
        /// What may be.
        allowed: &'static str,
    },
    /// The certificate of the inbound listener cannot be used.
    #[error("{key} {file} cannot be used")]
    Tls {
        /// Which flag.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The fleet cannot be joined as was said.
    #[error("the fleet cannot be joined")]
    Join(#[from] JoinError),
    /// The instance cannot be announced as was said.
    #[error("the instance cannot be served")]
    Serve(#[from] ServeError),
    /// A thread or a runtime cannot be had.
    #[error("no worker can be started")]
    Worker(#[source] io::Error),
    /// The sidecar has been stopped, or was opened before.
    #[error("the sidecar is open already, or has ended")]
    NotNow,
}

impl SidecarError {
    /// Whether what was said is wrong (exit code 2), rather than something taken or away (3).
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Config { .. } | Self::Tls { .. } | Self::Join(_) | Self::Serve(_))
    }
}
