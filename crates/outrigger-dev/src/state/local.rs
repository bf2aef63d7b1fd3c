//! What the agent itself holds: the instances and checks registered with it, and their clocks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::model::{Check, Service, Status};
use crate::registration::{CheckDefinition, Probe};

/// Output of checks is cut here, as Consul's agent does.
const OUTPUT_MAX: usize = 4096;

#[derive(Debug, Clone)]
pub(crate) struct LocalService {
    pub(crate) service: Service,
    pub(crate) source: Value,
}

#[derive(Debug, Clone)]
pub(crate) struct LocalCheck {
    pub(crate) check: Check,
    /// None for maintenance.
    pub(crate) definition: Option<CheckDefinition>,
    /// The body of a check that was registered by itself.
    pub(crate) source: Option<Value>,
    /// Grows with every registration, so that a late answer of an old probe is not taken.
    pub(crate) generation: u64,
    /// When a check that reports itself turns critical.
    pub(crate) expires: Option<Duration>,
    pub(crate) last_output: String,
    pub(crate) critical_since: Option<Duration>,
    /// When an output that changed alone is told to the catalogue.
    pub(crate) deferred: Option<Duration>,
    successes: u32,
    failures: u32,
}

impl LocalCheck {
    pub(crate) fn new(
        now: Duration,
        generation: u64,
        check: Check,
        definition: Option<CheckDefinition>,
        source: Option<Value>,
    ) -> Self {
        let expires = match &definition {
            Some(CheckDefinition { probe: Probe::Ttl(ttl), .. }) => Some(now + *ttl),
            _ => None,
        };
        Self {
            check,
            definition,
            source,
            generation,
            expires,
            last_output: String::new(),
            critical_since: None,
            deferred: None,
            successes: 0,
            failures: 0,
        }
    }

    /// Takes the report of an instance about itself; false for checks of another kind.
    pub(crate) fn heartbeat(&mut self, now: Duration, output: &str) -> Option<String> {
        let Some(CheckDefinition { probe: Probe::Ttl(ttl), .. }) = &self.definition else {
            return None;
        };
        self.expires = Some(now + *ttl);
        self.last_output = trimmed(output);
        Some(self.last_output.clone())
    }

    /// What a check that has not reported in time says.
    pub(crate) fn expired_output(&self) -> String {
        if self.last_output.is_empty() {
            return "TTL expired".to_owned();
        }
        format!("TTL expired (last output before timeout follows): {}", self.last_output)
    }

    /// The status after one more run of a probe, by the thresholds of its definition; `None` while
    /// none is reached.
    pub(crate) fn weigh(&mut self, status: Status) -> Option<Status> {
        let definition = self.definition.as_ref()?;
        if status == Status::Critical {
            self.failures = self.failures.saturating_add(1);
            self.successes = 0;
            let critical = definition.failures_before_critical;
            let warning = match definition.failures_before_warning {
                0 => critical,
                n => n,
            };
            if self.failures >= critical {
                return Some(Status::Critical);
            }
            return (self.failures >= warning).then_some(Status::Warning);
        }
        self.successes = self.successes.saturating_add(1);
        self.failures = 0;
        (self.successes >= definition.success_before_passing).then_some(status)
    }

    /// Sets status and output. True when the catalogue must hear of it now; a change of the output
    /// alone can wait, as in Consul, so that heartbeats do not wake every watcher.
    pub(crate) fn set(&mut self, now: Duration, status: Status, output: String) -> bool {
        if status == Status::Critical {
            self.critical_since.get_or_insert(now);
        } else {
            self.critical_since = None;
        }
        if self.check.status == status {
            if self.check.output != output {
                self.check.output = output;
                self.deferred.get_or_insert(now + OUTPUT_DEFERRAL);
            }
            return false;
        }
        self.check.status = status;
        self.check.output = output;
        self.deferred = None;
        true
    }
}

/// Consul draws from 2.5 to 7.5 minutes; the middle needs no randomness.
const OUTPUT_DEFERRAL: Duration = Duration::from_secs(300);

fn trimmed(output: &str) -> String {
    if output.len() <= OUTPUT_MAX {
        return output.to_owned();
    }
    let mut end = OUTPUT_MAX;
    while !output.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} ... (captured {end} of {} bytes)", &output[..end], output.len())
}

/// Instances and checks of this agent.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub(crate) services: BTreeMap<String, LocalService>,
    pub(crate) checks: BTreeMap<String, LocalCheck>,
    pub(crate) generation: u64,
}

impl Local {
    /// The checks of one instance.
    pub(crate) fn checks_of(&self, service_id: &str) -> impl Iterator<Item = &LocalCheck> {
        self.checks.values().filter(move |local| local.check.service_id == service_id)
    }

    /// The instances of a service.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Service> {
        self.services.values().map(|local| &local.service).filter(move |s| s.name == name)
    }

    /// The next instant at which something happens without a request.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.checks.values().flat_map(|check| [check.expires, check.deferred]).flatten().min()
    }
}
