//! The agents under test, behind one face.

use std::net::SocketAddr;

use outrigger_dev::Agent;
use outrigger_e2e::consul::{MANAGEMENT_TOKEN, RealConsul, Version};
use tokio::runtime::{Builder, Runtime};

/// Which agent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Dev,
    Real(Version),
}

impl Kind {
    pub(crate) fn is_old(self) -> bool {
        self == Self::Real(Version::Old)
    }
}

/// A running agent.
pub(crate) enum Target {
    Dev { agent: Box<Agent>, runtime: Runtime, guarded: bool },
    Real(Box<RealConsul>),
}

impl Target {
    pub(crate) fn dev(guarded: bool) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let mut builder = Agent::builder();
        if guarded {
            builder = builder.acl(MANAGEMENT_TOKEN);
        }
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let agent = runtime.block_on(builder.bind(loopback)).expect("the dev agent starts");
        Self::Dev { agent: Box::new(agent), runtime, guarded }
    }

    /// `None` when the real one is not asked for, which has been said aloud then.
    pub(crate) fn real(version: Version, guarded: bool) -> Option<Self> {
        let mut builder = RealConsul::builder(version)?;
        if guarded {
            builder = builder.acl();
        }
        Some(Self::Real(Box::new(builder.start().expect("the real agent starts"))))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Dev { .. } => Kind::Dev,
            Self::Real(consul) => Kind::Real(consul.version()),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Dev { agent, .. } => agent.address(),
            Self::Real(consul) => consul.address(),
        }
    }

    pub(crate) fn is_guarded(&self) -> bool {
        match self {
            Self::Dev { guarded, .. } => *guarded,
            Self::Real(consul) => consul.token().is_some(),
        }
    }

    /// Comes back on the same port with an empty memory.
    pub(crate) fn restart(&mut self) {
        match self {
            Self::Dev { agent, runtime, .. } => {
                runtime.block_on(agent.restart_empty()).expect("the dev agent restarts");
            }
            Self::Real(consul) => consul.restart().expect("the real agent restarts"),
        }
    }

    /// As SIGSTOP.
    pub(crate) fn pause(&self) {
        match self {
            Self::Dev { agent, .. } => agent.pause(),
            Self::Real(consul) => consul.pause(),
        }
    }

    /// As SIGCONT.
    pub(crate) fn resume(&self) {
        match self {
            Self::Dev { agent, .. } => agent.resume(),
            Self::Real(consul) => consul.resume(),
        }
    }
}
