//! What picks choose from: made anew when membership or ejection changes, never per request.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use outrigger_core::Ratio;

use crate::config::{Algorithm, BalanceConfig, SlowStart};
use crate::hash::{HashTable, Maglev, Ring, mix};
use crate::options::{Caller, SetOptions};
use crate::state::{Member, State};
use crate::subset::Subset;
use crate::wheel::Wheel;

/// Everything a pick looks at, immutable but for the endpoints' own states.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub(crate) algorithm: Algorithm,
    pub(crate) slow_start: Option<SlowStart>,
    /// All endpoints.
    pub(crate) whole: Group,
    /// Those of each subset.
    pub(crate) subsets: Box<[(Arc<str>, Group)]>,
}

impl Candidates {
    pub(crate) fn empty() -> Self {
        Self {
            algorithm: Algorithm::PeakEwma,
            slow_start: None,
            whole: Group::default(),
            subsets: Box::default(),
        }
    }

    pub(crate) fn new(members: &[Arc<Member>], options: &SetOptions, turn: u64) -> Self {
        let builder = Builder { options, turn };
        let subset = |(name, subset): &(Arc<str>, Subset)| {
            let within: Vec<_> =
                members.iter().filter(|m| subset.contains(m.endpoint.instance())).collect();
            (name.clone(), builder.group(&within))
        };
        Self {
            algorithm: options.balance.algorithm,
            slow_start: options.balance.slow_start,
            whole: builder.group(&members.iter().collect::<Vec<_>>()),
            subsets: options.subsets.iter().map(subset).collect(),
        }
    }

    pub(crate) fn group(&self, subset: Option<&str>) -> Option<&Group> {
        match subset {
            None => Some(&self.whole),
            Some(wanted) => {
                self.subsets.iter().find(|(name, _)| &**name == wanted).map(|(_, group)| group)
            }
        }
    }
}

/// The endpoints that one kind of request chooses from.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Preferred; empty only when there is nothing at all.
    pub(crate) near: Slate,
    /// Used for what `near` is not enough for; may be empty.
    pub(crate) far: Slate,
    /// Share that stays near.
    pub(crate) near_share: Ratio,
    /// Whether ejection or checks are ignored.
    pub(crate) panicking: bool,
}

/// Endpoints among which an algorithm chooses.
#[derive(Debug)]
pub(crate) struct Slate {
    pub(crate) entries: Box<[Entry]>,
    pub(crate) wheel: Wheel,
    /// Whether some are still in slow start.
    pub(crate) warming: bool,
    pub(crate) table: Option<HashTable>,
}

/// One endpoint to choose.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The same as the member's; held here to save a pick one hop through memory.
    pub(crate) state: Arc<State>,
    pub(crate) member: Arc<Member>,
    /// The weight over the slate's mean weight.
    pub(crate) share: f32,
}

impl Default for Slate {
    fn default() -> Self {
        Self { entries: Box::default(), wheel: Wheel::new(&[], 0), warming: false, table: None }
    }
}

struct Builder<'a> {
    options: &'a SetOptions,
    turn: u64,
}

impl Builder<'_> {
    fn group(&self, members: &[&Arc<Member>]) -> Group {
        let balance = &self.options.balance;
        let places = Places { caller: &self.options.caller, balance };
        let tiers: Vec<Vec<&Arc<Member>>> = (0..=balance.failover.len())
            .map(|tier| members.iter().copied().filter(|m| places.tier(m) == Some(tier)).collect())
            .collect();

        // The first datacenter with anything usable serves; ejection is ignored in it when too
        // little is left.
        for tier in &tiers {
            let good: Vec<_> = tier.iter().copied().filter(|m| is_usable(m)).collect();
            if good.is_empty() {
                continue;
            }
            let panic = is_below(good.len(), tier.len(), balance.panic_below);
            let all: Vec<_> = tier.iter().copied().filter(|m| is_usable_in_panic(m)).collect();
            let panicking = panic && all.len() > good.len();
            return self.near_and_far(tier, if panicking { &all } else { &good }, panicking);
        }

        // Nothing is usable anywhere. What its operator gave no weight comes before what failed,
        // and that before what the registry says is critical.
        let last_resort = |admit: &dyn Fn(&Member) -> bool| {
            let admitted = |tier: &Vec<&Arc<Member>>| -> Vec<Arc<Member>> {
                tier.iter().filter(|m| admit(m)).map(|m| Arc::clone(m)).collect()
            };
            let mut found = tiers.iter().map(admitted);
            // An unlisted datacenter is better than nothing.
            let anywhere = || admitted(&members.to_vec());
            found.find(|all| !all.is_empty()).unwrap_or_else(anywhere)
        };
        let spared = last_resort(&|m| !m.is_critical() && !m.state.ejected.load(Relaxed));
        if !spared.is_empty() {
            return self.plain(&spared, false);
        }
        if balance.panic_below == Ratio::ZERO {
            return Group::default();
        }
        let mut left = last_resort(&|m| !m.is_critical() && m.weight() > 0);
        if left.is_empty() {
            left = last_resort(&|m| !m.is_critical());
        }
        if left.is_empty() {
            left = last_resort(&|_| true);
        }
        self.plain(&left, true)
    }

    fn plain(&self, members: &[Arc<Member>], panicking: bool) -> Group {
        let near = self.slate(&members.iter().collect::<Vec<_>>());
        let panicking = panicking && !members.is_empty();
        Group { near, far: Slate::default(), near_share: Ratio::ONE, panicking }
    }

    fn near_and_far(
        &self,
        tier: &[&Arc<Member>],
        chosen: &[&Arc<Member>],
        panicking: bool,
    ) -> Group {
        let zone = self.options.caller.zone.as_deref();
        let whole = || Group {
            near: self.slate(chosen),
            far: Slate::default(),
            near_share: Ratio::ONE,
            panicking,
        };
        let (Some(locality), Some(zone)) = (&self.options.balance.locality, zone) else {
            return whole();
        };
        let is_near = |m: &&&Arc<Member>| m.endpoint.instance().zone.as_deref() == Some(zone);
        let (near, far): (Vec<_>, Vec<_>) = chosen.iter().copied().partition(|m| is_near(&m));
        if near.is_empty() || far.is_empty() {
            return whole();
        }
        let near_all = tier.iter().filter(is_near).count();
        let near_good = tier.iter().filter(is_near).filter(|m| is_usable(m)).count();
        let good = near_good as f64 / near_all as f64;
        let enough = locality.spill_below.get();
        let near_share = if good >= enough { 1.0 } else { good / enough };
        Group {
            near: self.slate(&near),
            far: if near_share < 1.0 { self.slate(&far) } else { Slate::default() },
            near_share: Ratio::new(near_share).unwrap_or(Ratio::ONE),
            panicking,
        }
    }

    fn slate(&self, members: &[&Arc<Member>]) -> Slate {
        let members = self.aperture(members);
        // In panic, and where nobody has weight, all are alike.
        let weighted = members.iter().any(|m| m.weight() > 0);
        let weight = |m: &Member| if weighted { f32::from(m.weight().max(1)) } else { 1.0 };
        let weights: Vec<f32> = members.iter().map(|m| weight(m)).collect();
        let mean = weights.iter().sum::<f32>() / weights.len().max(1) as f32;
        let warms = |m: &Member| m.state.warm_from.load(Relaxed) != 0;
        let warming = members.iter().any(|m| warms(m)) && !members.iter().all(|m| warms(m));
        let entries: Box<[Entry]> = members
            .iter()
            .zip(&weights)
            .map(|(member, weight)| Entry {
                state: Arc::clone(&member.state),
                member: Arc::clone(member),
                share: weight / mean,
            })
            .collect();
        let keys = || entries.iter().map(|e| (e.state.key, e.share)).collect::<Vec<(u64, f32)>>();
        let table = match self.options.balance.algorithm {
            Algorithm::RingHash => Some(HashTable::Ring(Ring::new(&keys()))),
            Algorithm::Maglev => Some(HashTable::Maglev(Maglev::new(&keys()))),
            _ => None,
        };
        let start = mix(self.options.seed ^ self.turn);
        Slate { wheel: Wheel::new(&weights, start), entries, warming, table }
    }

    /// The slice that this caller uses.
    fn aperture<'m>(&self, members: &[&'m Arc<Member>]) -> Vec<&'m Arc<Member>> {
        let all = members.to_vec();
        let Some(size) = self.options.balance.aperture else { return all };
        let size = size.get() as usize;
        if size >= all.len() {
            return all;
        }
        slice(all, size, &self.options.caller)
    }
}

/// `size` of the endpoints, the same for the same caller.
///
/// With the number of callers known, contiguous slices of one circle tile it evenly: each endpoint
/// is used by as many callers as any other, to within one. Otherwise by rendezvous: each caller's
/// own order of the endpoints, so that one that comes or goes changes nobody's slice by more than
/// one.
fn slice<'m>(mut all: Vec<&'m Arc<Member>>, size: usize, caller: &Caller) -> Vec<&'m Arc<Member>> {
    let Some(peers) = caller.peers else {
        let rank = |m: &&Arc<Member>| mix(m.state.key ^ mix(caller.id));
        all.select_nth_unstable_by_key(size - 1, |m| rank(m));
        all.truncate(size);
        all.sort_unstable_by_key(|m| m.state.key);
        return all;
    };
    all.sort_unstable_by_key(|m| m.state.key);
    let (index, count) = (u64::from(peers.index), u64::from(peers.count.get()));
    let from = (index % count * all.len() as u64 / count) as usize;
    all.iter().copied().cycle().skip(from).take(size).collect()
}

/// Which datacenters come first.
struct Places<'a> {
    caller: &'a Caller,
    balance: &'a BalanceConfig,
}

impl Places<'_> {
    /// 0 for here, then the failover list; `None` for what nobody asked for.
    fn tier(&self, member: &Member) -> Option<usize> {
        let Some(theirs) = &member.endpoint.instance().datacenter else { return Some(0) };
        if self.caller.datacenter.as_ref() == Some(theirs) {
            return Some(0);
        }
        match self.balance.failover.iter().position(|dc| dc == theirs) {
            Some(at) => Some(at + 1),
            // Whoever does not say where it is takes what is not named elsewhere as here.
            None => self.caller.datacenter.is_none().then_some(0),
        }
    }
}

/// Whether nothing speaks against it: passing or warning, with weight, and not ejected.
pub(crate) fn is_usable(member: &Member) -> bool {
    member.weight() > 0 && !member.state.ejected.load(Relaxed)
}

fn is_usable_in_panic(member: &Member) -> bool {
    member.weight() > 0
}

/// `part / whole < ratio`, with room for what a decimal fraction loses in binary.
fn is_below(part: usize, whole: usize, ratio: Ratio) -> bool {
    (part as f64) + 1e-9 < ratio.get() * whole as f64
}
