//! `outrigger run`: a program and its sidecar, from the first port to the last exit code.
//!
//! The order, which `docs/run.md` promises: ports are claimed; outbound serves; the program starts
//! with its environment; once it takes connections and is well, it is announced. At the end:
//! deregistered and drained, then the program is told to end, then whatever it left.

mod gate;
mod signals;
mod twin;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{sleep, timeout};

pub use gate::START_LIMIT;
pub use twin::Twin;

use crate::child::{self, Change, Child, Ended, Program, StartError};
use crate::environment::{Environment, Facts};
use crate::settings::Settings;
use crate::{Addresses, Place, Running, Sidecar, SidecarError, UpstreamKind};
use gate::Gate;
use signals::{Event, Signals};

/// Whom a line is told.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// How long after the start a second entry of the program is looked for.
const TWIN_LIMIT: Duration = Duration::from_secs(60);

/// A program that is to run beside a sidecar.
#[derive(Clone)]
#[non_exhaustive]
pub struct Run {
    /// What was set.
    pub settings: Settings,
    /// Rules that are said without a policy.
    pub rules: outrigger::Settings,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// The working directory.
    pub directory: PathBuf,
    /// The environment that the program inherits.
    pub variables: Vec<(OsString, OsString)>,
    /// Whether whatever the program leaves behind becomes ours, to be waited for and ended. Only
    /// in a process without other children. Default true.
    pub adopts: bool,
    /// How long the program may take to listen before that is said. Default [`START_LIMIT`].
    pub start_limit: Duration,
    /// Whom each line is told.
    pub say: Say,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { settings, command, directory, .. } = self;
        f.debug_struct("Run")
            .field("settings", settings)
            .field("command", command)
            .field("directory", directory)
            .finish_non_exhaustive()
    }
}

/// Why a program did not run, or was ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The sidecar cannot be had.
    #[error("the sidecar does not start")]
    Sidecar(#[from] SidecarError),
    /// The program was not started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Somebody else listens where the program is to listen.
    #[error("port {port} of 127.0.0.1 is taken, and the program is to listen there ({origin})")]
    Taken {
        /// The port.
        port: u16,
        /// Who named it.
        origin: String,
    },
    /// No port is free, or no signal can be listened to.
    #[error("the machine refuses what is needed")]
    Machine(#[source] io::Error),
    /// The program is in the registry twice.
    #[error(transparent)]
    Twin(Box<Twin>),
}

impl RunError {
    /// Whether what was said is wrong (exit code 2), rather than something taken or away (3).
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        match self {
            Self::Sidecar(error) => error.is_usage(),
            Self::Twin(_) => true,
            Self::Start(error) => !matches!(error, StartError::Supervise(_)),
            Self::Taken { .. } | Self::Machine(_) => false,
        }
    }
}

impl Run {
    /// A program that is to run in this process's directory and environment, telling nobody.
    #[must_use]
    pub fn new(settings: Settings, command: Vec<OsString>) -> Self {
        Self {
            settings,
            rules: outrigger::Settings::default(),
            command,
            directory: ".".into(),
            variables: std::env::vars_os().collect(),
            adopts: true,
            start_limit: START_LIMIT,
            say: Arc::new(|_| {}),
        }
    }

    /// Runs it to its end; answers how it ended.
    ///
    /// Needs a runtime with time and I/O, and handles the process's signals from here on.
    ///
    /// # Errors
    /// [`RunError`]: it was not started, or ended since it cannot be served. Nothing of it runs
    /// any more then, and nothing of it is registered.
    ///
    /// # Cancel safety
    /// Dropped before it answers, the program keeps running without its sidecar.
    pub async fn to_the_end(self) -> Result<Ended, RunError> {
        let Some(first) = self.command.first() else { return Err(StartError::NoCommand.into()) };
        // Before anything is started: no signal is to end us while something must be taken back.
        let signals = Signals::listen().map_err(RunError::Machine)?;
        let port = self.port().await?;
        let mut config = self.settings.config(Some(port));
        config.settings = Some(self.rules.clone());
        let bound = Sidecar::bind(config).await?;
        for line in bound.moved() {
            (self.say)(line);
        }
        if let Some(version) = child::ignores_proxy(first).await {
            (self.say)(&format!(
                "Node {version} looks at no proxy variable (22.21, 24 and later do): its calls \
                 pass this sidecar only through NAME_URL, see --upstream"
            ));
        }
        let running = bound.start().await?;
        (self.say)(&running.addresses().to_string());
        let environment = self.environment(port, running.addresses());
        for note in &environment.notes {
            (self.say)(note);
        }
        let program = Program {
            command: self.command.clone(),
            directory: Some(self.directory.clone()),
            environment,
            adopts: self.adopts,
        };
        let started = Child::start(&program);
        let ended = match started {
            Ok(child) => {
                let supervisor = Supervisor {
                    run: &self,
                    beside: &running,
                    child,
                    signals,
                    gives_terminal: true,
                    hurries: false,
                };
                supervisor.supervise(port).await
            }
            Err(error) => Err(error.into()),
        };
        running.stop().await;
        ended
    }

    /// The port that the program is to listen on.
    async fn port(&self) -> Result<u16, RunError> {
        let Some(port) = self.settings.port.value else {
            return child::free_port().map_err(RunError::Machine);
        };
        if gate::accepts(port).await {
            let origin = self.settings.port.origin.to_string();
            return Err(RunError::Taken { port, origin });
        }
        Ok(port)
    }

    fn environment(&self, port: u16, addresses: &Addresses) -> Environment {
        let settings = &self.settings;
        let Some(service) = settings.service.value.clone() else { return Environment::default() };
        let kinds = settings.upstream.value.iter();
        let upstreams = kinds.filter_map(|upstream| {
            let address = addresses.upstreams.get(&upstream.service)?;
            Some((upstream.service.clone(), *address, upstream.kind == UpstreamKind::Tcp))
        });
        let facts = Facts {
            port,
            outbound: match &addresses.outbound {
                Place::Tcp(address) => Some(*address),
                Place::Unix(_) => None,
            },
            outbound_text: addresses.outbound.to_string(),
            admin: addresses.admin,
            service,
            version: settings.version.value.clone(),
            zone: settings.zone.value.clone(),
            upstreams: upstreams.collect(),
        };
        Environment::of(&facts, |name| {
            let found = self.variables.iter().find(|(there, _)| there == name);
            found.map(|(_, value)| value.clone())
        })
    }
}

/// What stands beside the program.
trait Beside {
    /// Where callers come in.
    fn inbound(&self) -> Option<std::net::SocketAddr>;
    /// Lets callers in and announces the program.
    async fn open(&self) -> Result<(), SidecarError>;
    /// Takes it back, in order.
    async fn drain(&self);
}

impl Beside for Running {
    fn inbound(&self) -> Option<std::net::SocketAddr> {
        self.addresses().inbound
    }

    async fn open(&self) -> Result<(), SidecarError> {
        Self::open(self).await
    }

    async fn drain(&self) {
        let _counts = Self::drain(self).await;
    }
}

/// Why it comes to an end.
enum Why {
    /// The program ended.
    Ended,
    /// A signal asked for it.
    Signal(Signal),
    /// It cannot be served.
    Failed(RunError),
}

/// A program that runs.
struct Supervisor<'r, B> {
    run: &'r Run,
    beside: &'r B,
    child: Child,
    signals: Signals,
    /// Until it was said that it is not ours.
    gives_terminal: bool,
    /// Whether somebody does not want to wait any more.
    hurries: bool,
}

impl<B: Beside> Supervisor<'_, B> {
    fn say(&self, text: &str) {
        (self.run.say)(text);
    }

    async fn supervise(mut self, port: u16) -> Result<Ended, RunError> {
        let why = self.serve(port).await;
        let signal = match &why {
            Why::Signal(signal) => *signal,
            Why::Ended | Why::Failed(_) => Signal::TERM,
        };
        self.drain().await;
        let ended = self.end(signal).await;
        match why {
            Why::Failed(error) => Err(error),
            Why::Ended | Why::Signal(_) => Ok(ended),
        }
    }

    /// From the start of the program to a reason to end.
    async fn serve(&mut self, port: u16) -> Why {
        let gate = Gate {
            port,
            health: self.run.settings.health.value.clone(),
            pid: self.child.pid(),
            adopts: self.run.adopts,
            limit: self.run.start_limit,
        };
        let run = self.run;
        let beside = self.beside;
        let opening = async {
            gate.pass(&run.say).await;
            if let Err(error) = beside.open().await {
                return RunError::from(error);
            }
            (run.say)(&announced(run, port, beside));
            match search(run, port, beside) {
                Some(search) => match timeout(TWIN_LIMIT, search.find()).await {
                    Ok(twin) => RunError::Twin(Box::new(twin)),
                    Err(_) => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::pin!(opening);
        loop {
            // What happened before the handlers were asked for the first time.
            if let Some(why) = self.look() {
                return why;
            }
            let event = tokio::select! {
                event = self.signals.next() => event,
                error = &mut opening => return Why::Failed(error),
            };
            if let Event::End(signal) = event {
                return Why::Signal(signal);
            }
            self.pass_on(event);
        }
    }

    /// What happened to the program.
    fn look(&mut self) -> Option<Why> {
        match self.child.look() {
            Change::Ended(_) => return Some(Why::Ended),
            Change::WantsTerminal if !self.child.give_terminal() => {
                if std::mem::take(&mut self.gives_terminal) {
                    self.say("the program waits for the terminal, which another one has");
                }
            }
            Change::WantsTerminal | Change::Nothing => {}
        }
        None
    }

    /// Tells the program what we were told.
    fn pass_on(&self, event: Event) {
        match event {
            Event::Forward(signal) => self.child.tell(signal),
            Event::Pause => {
                self.child.tell_all(Signal::STOP);
                let _stopped =
                    rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
            }
            Event::Resume => self.child.tell_all(Signal::CONT),
            Event::Child | Event::End(_) => {}
        }
    }

    /// Leaves the fleet, unless nobody wants to wait for that any more.
    async fn drain(&mut self) {
        let beside = self.beside;
        let draining = beside.drain();
        tokio::pin!(draining);
        while !self.hurries {
            tokio::select! {
                () = &mut draining => return,
                event = self.signals.next() => self.hear(event),
            }
        }
    }

    /// A signal while it ends: a second Ctrl-C is in a hurry.
    fn hear(&mut self, event: Event) {
        match event {
            Event::End(Signal::INT) => self.hurries = true,
            event => self.pass_on(event),
        }
        let _ended = self.look();
    }

    /// Ends the program, and whatever it left; answers how the program ended.
    async fn end(&mut self, signal: Signal) -> Ended {
        let _ended = self.look();
        if self.child.ended().is_some() && self.child.is_there() {
            let left = self.child.processes().without(self.child.pid());
            let left: Vec<String> = left.iter().map(ToString::to_string).collect();
            self.say(&format!(
                "the program ended and left processes running ({}); they are ended with it: a \
                 service stays in the foreground",
                left.join(", ")
            ));
        }
        if !self.hurries {
            self.child.tell_all(signal);
            let limit = self.run.settings.drain.value;
            if !self.is_gone_within(limit).await && !self.hurries {
                let limit = limit.as_secs_f32();
                self.say(&format!("the program did not end within {limit}s of being told: killed"));
            }
        }
        loop {
            self.child.tell_all(Signal::KILL);
            if self.is_gone_within(Duration::from_millis(200)).await {
                return self.child.ended().unwrap_or(Ended::Signal(9));
            }
        }
    }

    /// Whether everything has ended, waiting for it as long as nobody hurries.
    async fn is_gone_within(&mut self, limit: Duration) -> bool {
        let was_hurried = self.hurries;
        let gone = async {
            loop {
                let _ended = self.look();
                if self.child.ended().is_some() && !self.child.is_there() {
                    return true;
                }
                if self.hurries && !was_hurried {
                    return false;
                }
                tokio::select! {
                    event = self.signals.next() => self.hear(event),
                    // Not every process that is left is a child of ours that we hear of.
                    () = sleep(Duration::from_millis(20)) => {}
                }
            }
        };
        timeout(limit, gone).await.unwrap_or(false)
    }
}

/// The line that tells of a program that is open to callers.
fn announced<B: Beside>(run: &Run, port: u16, beside: &B) -> String {
    let settings = &run.settings;
    let name = settings.service.value.as_ref().map(ToString::to_string).unwrap_or_default();
    let inbound = beside.inbound().map(|inbound| inbound.to_string()).unwrap_or_default();
    if !settings.register.value || settings.consul.value.is_none() {
        return format!("{name} listens on 127.0.0.1:{port} and is served at {inbound}");
    }
    format!("{name} listens on 127.0.0.1:{port} and is announced at {inbound}")
}

/// Where to look for an entry that the program made itself.
fn search<B: Beside>(run: &Run, port: u16, beside: &B) -> Option<twin::Search> {
    let settings = &run.settings;
    settings.consul.value.as_ref().filter(|_| settings.register.value)?;
    Some(twin::Search {
        service: settings.service.value.clone()?,
        port,
        inbound: beside.inbound(),
        consul: settings.registry(),
    })
}

#[cfg(test)]
mod tests;
