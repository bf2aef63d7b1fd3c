//! The difference of two snapshots.

use std::cmp::Ordering;
use std::sync::Arc;

use outrigger_core::{Instance, Snapshot};

/// An instance that is in both snapshots and not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changed {
    /// As it was.
    pub before: Arc<Instance>,
    /// As it is.
    pub after: Arc<Instance>,
}

/// The difference of two snapshots of one service.
///
/// Shape: each list in snapshot order, by (datacenter, id); an instance is in one list at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// In the newer one only.
    pub added: Vec<Arc<Instance>>,
    /// In the older one only.
    pub removed: Vec<Arc<Instance>>,
    /// In both, with other contents: address, status, weight, metadata.
    pub changed: Vec<Changed>,
}

impl Change {
    /// What leads from one snapshot to another; everything is added when there was none.
    ///
    /// Cost: one walk over both, O(n + m); untouched instances are compared by pointer first.
    #[must_use]
    pub fn between(before: Option<&Snapshot>, after: &Snapshot) -> Self {
        let empty: &[Arc<Instance>] = &[];
        let old = before.map_or(empty, |snapshot| &snapshot.instances);
        let new: &[Arc<Instance>] = &after.instances;
        let mut change = Self::default();
        let (mut i, mut j) = (0, 0);
        while let (Some(a), Some(b)) = (old.get(i), new.get(j)) {
            match (&a.datacenter, &a.id).cmp(&(&b.datacenter, &b.id)) {
                Ordering::Less => {
                    change.removed.push(Arc::clone(a));
                    i += 1;
                }
                Ordering::Greater => {
                    change.added.push(Arc::clone(b));
                    j += 1;
                }
                Ordering::Equal => {
                    if !Arc::ptr_eq(a, b) && a != b {
                        let (before, after) = (Arc::clone(a), Arc::clone(b));
                        change.changed.push(Changed { before, after });
                    }
                    i += 1;
                    j += 1;
                }
            }
        }
        change.removed.extend_from_slice(&old[i..]);
        change.added.extend_from_slice(&new[j..]);
        change
    }

    /// Whether both hold the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;
    use std::time::SystemTime;

    use super::*;

    fn snapshot(instances: &[(u32, u16)]) -> Snapshot {
        let service: outrigger_core::ServiceName = "stock".parse().expect("valid");
        let instances = instances
            .iter()
            .map(|&(id, port)| {
                let id = format!("stock-{id:04}").parse().expect("valid");
                let address = SocketAddr::from(([127, 0, 0, 1], port));
                Arc::new(Instance::new(id, service.clone(), address))
            })
            .collect();
        Snapshot::new(service, 1, instances, SystemTime::UNIX_EPOCH)
    }

    fn ids<'a>(list: impl IntoIterator<Item = &'a Arc<Instance>>) -> Vec<&'a str> {
        list.into_iter().map(|instance| instance.id.as_str()).collect()
    }

    #[test]
    fn each_instance_is_added_removed_changed_or_untouched() {
        let old = snapshot(&[(1, 80), (2, 80), (3, 80)]);
        let new = snapshot(&[(2, 80), (3, 81), (4, 80)]);
        let change = Change::between(Some(&old), &new);
        assert_eq!(ids(&change.added), ["stock-0004"]);
        assert_eq!(ids(&change.removed), ["stock-0001"]);
        assert_eq!(ids(change.changed.iter().map(|c| &c.after)), ["stock-0003"]);
        assert!(Change::between(Some(&new), &new).is_empty());
        assert_eq!(Change::between(None, &new).added.len(), 3);
    }

    #[test]
    fn applying_a_change_to_the_older_gives_the_newer() {
        let mut rng = fastrand::Rng::with_seed(7);
        for case in 0..500 {
            let mut random = || -> Vec<(u32, u16)> {
                (0..rng.u32(0..12)).map(|_| (rng.u32(0..10), rng.u16(80..83))).collect()
            };
            let (old, new) = (snapshot(&random()), snapshot(&random()));
            let change = Change::between(Some(&old), &new);
            let gone: BTreeSet<_> = ids(&change.removed).into_iter().collect();
            let mut rebuilt: Vec<_> =
                old.instances.iter().filter(|i| !gone.contains(i.id.as_str())).cloned().collect();
            for Changed { after, .. } in &change.changed {
                let at = rebuilt.iter().position(|i| i.id == after.id).expect("was there");
                rebuilt[at] = Arc::clone(after);
            }
            rebuilt.extend(change.added.iter().cloned());
            rebuilt.sort_by(|a, b| a.id.cmp(&b.id));
            assert_eq!(&*rebuilt, &*new.instances, "case {case}");
        }
    }
}
