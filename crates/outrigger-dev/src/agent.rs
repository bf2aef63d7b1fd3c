//! The agent as a program part: built, started, paused, stopped, started anew.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::acl::Acl;
use crate::shared::Shared;
use crate::signal::Gate;
use crate::state::{Identity, State};
use crate::{Listen, clock, connection, model, persist, probe};

/// Settings of an agent; every one has a default.
///
/// | setting | default |
/// | --- | --- |
/// | node name | `node-1` |
/// | datacenter | `dc1` |
/// | access control | off |
/// | state file | none |
/// | connections per client address | 200 |
/// | least interval of HTTP and TCP checks | 1 s |
/// | least time critical before deregistration | 1 min, looked for every 30 s |
#[derive(Debug, Clone)]
pub struct Builder {
    node_name: String,
    datacenter: String,
    management_token: Option<String>,
    state_file: Option<PathBuf>,
    connections_per_client: usize,
    any_address: bool,
    check_interval_floor: Duration,
    deregister_floor: Duration,
    reap_every: Duration,
    seed: Option<u64>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            node_name: "node-1".to_owned(),
            datacenter: "dc1".to_owned(),
            management_token: None,
            state_file: None,
            connections_per_client: 200,
            any_address: false,
            check_interval_floor: Duration::from_secs(1),
            deregister_floor: Duration::from_secs(60),
            reap_every: Duration::from_secs(30),
            seed: None,
        }
    }
}

impl Builder {
    /// The name of the agent's node.
    #[must_use]
    pub fn node_name(mut self, name: impl Into<String>) -> Self {
        self.node_name = name.into();
        self
    }

    /// The name of the only datacenter.
    #[must_use]
    pub fn datacenter(mut self, name: impl Into<String>) -> Self {
        self.datacenter = name.into();
        self
    }

    /// Turns access control on, with default deny and one token that may do everything. Policies and
    /// further tokens are made with it through `/v1/acl/policy` and `/v1/acl/token`.
    #[must_use]
    pub fn acl(mut self, management_token: impl Into<String>) -> Self {
        self.management_token = Some(management_token.into());
        self
    }

    /// Keeps registrations and keys in a file. Sessions, events and tokens are not kept.
    #[must_use]
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }

    /// How many connections one client address may have open; further ones get 429 and are closed.
    #[must_use]
    pub const fn connections_per_client(mut self, limit: usize) -> Self {
        self.connections_per_client = limit;
        self
    }

    /// Allows listening on addresses that others can reach. The agent has no TLS and, unless told,
    /// no access control: think twice.
    #[must_use]
    pub const fn any_address(mut self) -> Self {
        self.any_address = true;
        self
    }

    /// Runs checks more often than Consul's least interval of 1 s, for tests in a hurry.
    #[must_use]
    pub const fn check_interval_floor(mut self, floor: Duration) -> Self {
        self.check_interval_floor = floor;
        self
    }

    /// Deregisters critical instances sooner than Consul would, for tests in a hurry: after at least
    /// `floor`, looked for `every` so often.
    #[must_use]
    pub const fn deregister_critical(mut self, floor: Duration, every: Duration) -> Self {
        self.deregister_floor = floor;
        self.reap_every = every;
        self
    }

    /// Makes ids repeatable.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the agent; when this returns it accepts connections. Port 0 is any free one.
    ///
    /// # Errors
    /// `PermissionDenied` for an address that is not loopback, unless [`Builder::any_address`] allows
    /// it; `InvalidData` for a state file that cannot be understood; else those of the socket and the
    /// file system.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn bind(self, address: SocketAddr) -> io::Result<Agent> {
        if !address.ip().is_loopback() && !self.any_address {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{address} is not loopback: a development agent stays on its machine"),
            ));
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let gate = Gate::default();
        let life = Life::start(&self, address, listener, &gate, true)?;
        Ok(Agent { builder: self, address, binds: true, gate, life: Mutex::new(Some(life)) })
    }

    /// Starts the agent behind connections that come from elsewhere than the machine's sockets, such
    /// as a simulated network; `address` is what it says of itself. Such an agent cannot be restarted.
    ///
    /// # Errors
    /// `InvalidData` for a state file that cannot be understood; else those of the file system.
    pub fn listen(self, address: SocketAddr, listener: impl Listen) -> io::Result<Agent> {
        let gate = Gate::default();
        let life = Life::start(&self, address, listener, &gate, true)?;
        Ok(Agent { builder: self, address, binds: false, gate, life: Mutex::new(Some(life)) })
    }

    fn identity(&self, port: u16, rng: &mut fastrand::Rng) -> Identity {
        Identity {
            node: self.node_name.clone(),
            node_id: model::uuid(rng),
            datacenter: self.datacenter.clone(),
            // Never dialled; a number beside the real one, so that answers look as they should.
            server_port: port.checked_sub(200).unwrap_or(8300),
            deregister_floor: self.deregister_floor,
            reap_every: self.reap_every,
        }
    }

    fn state(&self, port: u16) -> State {
        let mut rng = self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let identity = self.identity(port, &mut rng);
        let acl = match &self.management_token {
            Some(token) => Acl::deny(token, &mut rng),
            None => Acl::off(),
        };
        State::new(identity, acl, rng)
    }
}

/// A running Consul-compatible agent. Dropping it stops it.
///
/// # Shape
/// One node, one datacenter, no peers. The same port for as long as the value lives, whatever is done
/// to it in between.
#[derive(Debug)]
pub struct Agent {
    builder: Builder,
    address: SocketAddr,
    // Whether the listener was made here, and can be made again.
    binds: bool,
    gate: Gate,
    life: Mutex<Option<Life>>,
}

/// One life of the agent, from start to stop: its memory and its tasks.
#[derive(Debug)]
struct Life {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Life {
    fn start(
        builder: &Builder,
        address: SocketAddr,
        listener: impl Listen,
        gate: &Gate,
        restore: bool,
    ) -> io::Result<Self> {
        let mut state = builder.state(address.port());
        if let Some(path) = &builder.state_file {
            if restore {
                persist::restore(&mut state, path)?;
            } else {
                persist::write(path, &persist::snapshot(&state))?;
            }
        }
        let shared = Shared::new(state, clock::now());
        let mut tasks = JoinSet::new();
        let limit = builder.connections_per_client;
        tasks.spawn(connection::serve(listener, shared.clone(), limit, gate.clone()));
        tasks.spawn(tick(shared.clone(), gate.clone()));
        let floor = builder.check_interval_floor;
        tasks.spawn(probe::supervise(shared.clone(), floor, gate.clone()));
        if let Some(path) = builder.state_file.clone() {
            tasks.spawn(keep(shared.clone(), path));
        }
        Ok(Self { shared, tasks })
    }
}

impl Agent {
    /// Starts from the defaults.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, with a name that leads here if it listens on every address.
    #[must_use]
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// The memory behind the API, or `None` while the agent is stopped. A restart makes a new one.
    #[must_use]
    pub fn state(&self) -> Option<StateHandle> {
        self.life().as_ref().map(|life| StateHandle { shared: life.shared.clone() })
    }

    /// Ends the agent as a kill does: every connection closes at once and the memory is gone. The
    /// port stays this agent's only by luck until [`Agent::restart_empty`] takes it again.
    ///
    /// # Cancel safety
    /// The agent is told to stop when this is called; dropping the future only stops waiting for it.
    pub async fn stop(&self) {
        let life = self.life().take();
        if let Some(mut life) = life {
            life.tasks.shutdown().await;
        }
    }

    /// Does what SIGSTOP does: the kernel still accepts connections, nobody answers, no clock runs.
    pub fn pause(&self) {
        self.gate.set_paused(true);
    }

    /// Does what SIGCONT does.
    pub fn resume(&self) {
        self.gate.set_paused(false);
    }

    /// Stops the agent if it runs and starts it again on the same port, with nothing in its memory:
    /// no registrations, no keys, the index from its beginning. A state file is emptied. A paused
    /// agent is resumed.
    ///
    /// # Errors
    /// Those of the socket, when somebody else has taken the port meanwhile: the agent is stopped then.
    /// `Unsupported` for one from [`Builder::listen`], which runs on.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the agent stopped or started, never in between.
    pub async fn restart_empty(&self) -> io::Result<()> {
        if !self.binds {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.stop().await;
        self.resume();
        let listener = TcpListener::bind(self.address).await?;
        *self.life() = Some(Life::start(&self.builder, self.address, listener, &self.gate, false)?);
        Ok(())
    }

    fn life(&self) -> std::sync::MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look into the memory of an agent, for tests.
#[derive(Debug, Clone)]
pub struct StateHandle {
    shared: Arc<Shared>,
}

impl StateHandle {
    /// Looks at the memory, which is locked meanwhile.
    pub fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.shared.with(|state| look(state))
    }
}

/// Does in time what no request asks for.
async fn tick(shared: Arc<Shared>, gate: Gate) {
    let mut changes = shared.changes();
    loop {
        gate.pass().await;
        changes.catch_up();
        let now = clock::since(shared.started);
        let (changed, next) = shared.with(|state| (state.tick(now), state.next_deadline()));
        if changed {
            shared.changed();
            continue;
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(shared.started + next) => {}
            () = changes.changed() => {}
        }
    }
}

/// Writes the state file after changes, not more often than every quarter of a second.
async fn keep(shared: Arc<Shared>, path: PathBuf) {
    let mut changes = shared.changes();
    let mut written = Vec::new();
    loop {
        changes.changed().await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        changes.catch_up();
        let bytes = shared.with(|state| persist::snapshot(state));
        if bytes != written {
            match persist::write(&path, &bytes) {
                Ok(()) => written = bytes,
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "state file not written")
                }
            }
        }
    }
}
