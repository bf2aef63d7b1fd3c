//! Why a command ended early, and with which code.

use std::fmt;

use outrigger::consul::ConfigError;
use outrigger::discovery::RegistryError;

use crate::{Exit, print};

/// Why a command ended early, and with which code.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How the program ends.
    pub(crate) exit: Exit,
    /// Why; boxed, since every result carries it.
    pub(crate) error: Box<anyhow::Error>,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl Ended {
    /// What was typed or read is wrong.
    pub(crate) fn usage(error: anyhow::Error) -> Self {
        Self { exit: Exit::Usage, error: Box::new(error), help: None }
    }

    /// What was looked at is not as it was said to be.
    pub(crate) fn does_not_hold(error: anyhow::Error) -> Self {
        Self { exit: Exit::DoesNotHold, error: Box::new(error), help: None }
    }

    /// Something needed is not to be had.
    pub(crate) fn unreachable(error: anyhow::Error) -> Self {
        Self { exit: Exit::Unreachable, error: Box::new(error), help: None }
    }

    /// Adds what to do about it.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds one more thing to do about it.
    pub(crate) fn and_help(mut self, help: impl fmt::Display) -> Self {
        self.help = Some(match self.help {
            Some(first) => format!("{first}; {help}"),
            None => help.to_string(),
        });
        self
    }

    /// Prints why, and what to do about it; how the program ends.
    pub(crate) fn say(&self) -> Exit {
        print::error(&self.error);
        if let Some(help) = &self.help {
            print::note(&format!("  help: {help}"));
        }
        self.exit
    }

    /// Adds what it was about.
    pub(crate) fn context(mut self, context: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.error = Box::new(self.error.context(context));
        self
    }
}

impl From<RegistryError> for Ended {
    fn from(error: RegistryError) -> Self {
        let exit = match error {
            // Nothing was asked of the registry: what was to be asked is wrong.
            RegistryError::Key { .. } | RegistryError::Value { .. } => Exit::Usage,
            _ => Exit::Unreachable,
        };
        let help = match &error {
            RegistryError::Denied { .. } => Some(
                "give the token's policy that rule, or another token by CONSUL_HTTP_TOKEN or \
                 CONSUL_HTTP_TOKEN_FILE",
            ),
            RegistryError::UnknownToken { .. } => {
                Some("give one that it knows by CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE")
            }
            RegistryError::Unreachable { .. } | RegistryError::Timeout { .. } => {
                Some("name the registry by --consul URL, OUTRIGGER_CONSUL or CONSUL_HTTP_ADDR")
            }
            _ => None,
        };
        Self { exit, error: Box::new(error.into()), help: help.map(str::to_owned) }
    }
}

impl From<ConfigError> for Ended {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.into())
    }
}
