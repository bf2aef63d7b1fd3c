//! The policies of the demo's services: `examples/policies/`, kept where everybody follows them, in
//! the registry's keys.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use outrigger::consul::{Consul, ConsulConfig, Kv};
use outrigger::core::PolicyVersion;
use outrigger_policy::{is_tombstone, version_of};

use super::services::Role;
use crate::print;

/// Every service and its policy as it stands in `examples/policies/`.
const TEXTS: [(Role, &str); 4] = [
    (Role::Storefront, include_str!("policies/storefront.yaml")),
    (Role::Orders, include_str!("policies/orders.yaml")),
    (Role::Inventory, include_str!("policies/inventory.yaml")),
    (Role::Pricing, include_str!("policies/pricing.yaml")),
];

/// What the chapter `policy` adds to inventory's.
const SPLIT: &str = include_str!("policies/split.yaml");

/// How often a service that runs alone looks whether the policies are there.
const LOOK: Duration = Duration::from_secs(5);

/// How often, and how long apart, [`Policies::restore`] tries to write each.
const RESTORE_TRIES: u32 = 40;
const RESTORE_PAUSE: Duration = Duration::from_millis(50);

/// Waits of [`Policies::withdraw`], so that a demo ends though its registry does not answer.
const WITHDRAW: Duration = Duration::from_secs(2);

/// A service's policy as it is shipped.
pub(crate) fn shipped(role: Role) -> &'static str {
    TEXTS.iter().find(|(of, _)| *of == role).map_or("", |(_, text)| text)
}

/// Inventory's policy with a split between the old service and the new one.
pub(crate) fn split() -> String {
    format!("{}{SPLIT}", shipped(Role::Inventory))
}

fn key(role: Role) -> String {
    format!("outrigger/policy/{}", role.as_str())
}

/// The policies that the demo has in force, in the keys of one registry.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    kv: Kv,
    texts: BTreeMap<&'static str, (Role, String)>,
}

impl Policies {
    /// Those of `examples/policies/`; nothing is written yet.
    pub(crate) fn new(kv: Kv) -> Self {
        let texts = TEXTS.map(|(role, text)| (role.as_str(), (role, text.to_owned())));
        Self { kv, texts: texts.into() }
    }

    /// Puts all of them into force, unless somebody else's are there.
    pub(crate) async fn publish(&self) -> Result<()> {
        for (role, text) in self.texts.values() {
            let key = key(*role);
            let there = self.kv.get(&key).await.with_context(|| format!("{key} cannot be read"))?;
            let index = there.as_ref().map_or(0, |entry| entry.modify_index);
            if let Some(entry) = there {
                let found = String::from_utf8_lossy(&entry.value);
                anyhow::ensure!(
                    is_ours(*role, &found) || is_tombstone(&found),
                    "{key} holds a policy that is not the demo's (version {}): a demo in this \
                     registry would overwrite it",
                    version_of(&found)
                );
            }
            let written = self.kv.put_if(&key, text.clone(), index).await;
            let written = written.with_context(|| format!("{key} cannot be written"))?;
            anyhow::ensure!(written, "somebody else writes to {key}");
        }
        Ok(())
    }

    /// Puts them back as they were: the registry has been started again and has forgotten them.
    pub(crate) async fn restore(&self) -> Result<()> {
        for (role, text) in self.texts.values() {
            // Connections of before the restart end at their first use.
            let mut left = RESTORE_TRIES;
            while let Err(error) = self.write(*role, text).await {
                left -= 1;
                if left == 0 {
                    return Err(error);
                }
                tokio::time::sleep(RESTORE_PAUSE).await;
            }
        }
        Ok(())
    }

    /// Replaces one policy; its version.
    pub(crate) async fn replace(&mut self, role: Role, text: String) -> Result<PolicyVersion> {
        self.write(role, &text).await?;
        let version = version_of(&text);
        self.texts.insert(role.as_str(), (role, text));
        Ok(version)
    }

    async fn write(&self, role: Role, text: &str) -> Result<()> {
        let key = key(role);
        self.kv.put(&key, text.to_owned()).await.with_context(|| format!("{key} cannot be written"))
    }

    /// Takes back what is still the demo's, when everybody who follows it has left.
    pub(crate) async fn withdraw(&self) {
        let all = async {
            for (role, _) in TEXTS {
                if let Err(error) = withdraw_one(&self.kv, role).await {
                    print::note(&format!("{} stays: {error:#}", key(role)));
                }
            }
        };
        if tokio::time::timeout(WITHDRAW, all).await.is_err() {
            print::note("outrigger/policy/ is not cleared: the registry does not answer");
        }
    }
}

async fn withdraw_one(kv: &Kv, role: Role) -> Result<()> {
    let key = key(role);
    if let Some(entry) = kv.get(&key).await?
        && is_ours(role, &String::from_utf8_lossy(&entry.value))
    {
        kv.delete_if(&key, entry.modify_index).await?;
    }
    Ok(())
}

/// Whether the demo writes this text, at its start or later.
fn is_ours(role: Role, text: &str) -> bool {
    text == shipped(role) || (role == Role::Inventory && text == split())
}

/// Sees to it that the registry of a service that runs alone has the demo's policies, for as long
/// as this runs. A key that is there, whatever it holds, is its operator's.
pub(crate) async fn provide() -> Result<()> {
    let told = outrigger::Settings::from_env()?.process.consul;
    if told.as_deref() == Some("none") {
        return Ok(());
    }
    let config = ConsulConfig::from_lookup(|variable| match (variable, &told) {
        ("CONSUL_HTTP_ADDR", Some(url)) => Some(url.clone()),
        _ => std::env::var(variable).ok(),
    })?;
    let kv = Consul::new(config)?.kv();
    loop {
        for (role, text) in TEXTS {
            // A registry that is away is asked again; so is one that came back empty.
            if let Ok(None) = kv.get(&key(role)).await
                && let Ok(true) = kv.put_if(&key(role), text, 0).await
            {
                print::note(&format!("{} was not there, and is the demo's now", key(role)));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use outrigger_policy::{Format, Plan, Policy};

    use super::*;

    #[test]
    fn every_policy_of_the_demo_is_good_and_its_services_own() {
        let texts = TEXTS.map(|(role, text)| (role, text.to_owned()));
        for (role, text) in texts.into_iter().chain([(Role::Inventory, split())]) {
            let parsed = match Policy::parse("demo.yaml", &text, Format::Yaml) {
                Ok(parsed) => parsed,
                Err(report) => panic!("{report}"),
            };
            assert!(parsed.warnings().is_empty(), "{}", parsed.report());
            let plan = Plan::compile(&parsed.policy);
            assert_eq!(plan.service.map(|name| name.to_string()).as_deref(), Some(role.as_str()));
            assert!(is_ours(role, &text));
        }
    }

    #[test]
    fn the_split_changes_nothing_but_what_it_adds() {
        let parse = |text: &str| {
            Policy::parse("x.yaml", text, Format::Yaml).map_err(|report| report.to_string())
        };
        let before = Plan::compile(&parse(shipped(Role::Inventory)).expect("good").policy);
        let after = Plan::compile(&parse(&split()).expect("good").policy);
        assert_eq!((before.routes.len(), after.routes.len()), (1, 2));
        let (old, new) = (&before.routes[0], &after.routes[0]);
        assert_eq!((old.timeout, &old.retry), (new.timeout, &new.retry));
        assert_eq!(before.eject, after.eject);
        let parts = new.split.as_ref().expect("a split").parts.iter();
        assert_eq!(parts.map(|part| part.weight).collect::<Vec<_>>(), [90, 10]);
    }
}
