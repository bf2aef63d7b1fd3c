//! The script of trouble: what is done to the fleet, and what was promised meanwhile.

use std::time::Duration;

/// One act of the script.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chapter {
    /// The name in reports: one word.
    pub(crate) name: &'static str,
    /// What happens, for people.
    pub(crate) title: &'static str,
    /// What must hold meanwhile, for people.
    pub(crate) promise: &'static str,
    /// What is done.
    pub(crate) act: Act,
    /// Its share of the demo's time, relative to the others.
    pub(crate) share: u32,
}

/// What is done to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing.
    Calm,
    /// One inventory instance vanishes without a word, as after kill -9.
    Kill,
    /// One inventory instance takes 400 ms for what took one.
    Slow,
    /// One pricing instance answers 500 to everything.
    Fail,
    /// Every pricing instance answers 500; later they recover.
    FailAll,
    /// Inventory's policy is replaced by one with a split and a mirror, and later put back.
    ChangePolicy,
    /// The registry goes away and comes back.
    RegistryGone,
    /// Every inventory and pricing instance is restarted, one after the other.
    RollingRestart,
}

/// The whole script, in order.
pub(crate) const SCRIPT: [Chapter; 8] = [
    Chapter {
        name: "calm",
        title: "All is well",
        promise: "no failed request; every instance gets its share",
        act: Act::Calm,
        share: 3,
    },
    Chapter {
        name: "killed",
        title: "An inventory instance is killed",
        promise: "no failed request; next to no traffic goes to it",
        act: Act::Kill,
        share: 2,
    },
    Chapter {
        name: "slow",
        title: "An inventory instance becomes slow",
        promise: "no failed request; its share of the traffic falls below 10 %",
        act: Act::Slow,
        share: 4,
    },
    Chapter {
        name: "failing",
        title: "A pricing instance answers 500",
        promise: "no failed request; it is ejected",
        act: Act::Fail,
        share: 3,
    },
    Chapter {
        name: "broken",
        title: "Every pricing instance answers 500",
        promise: "no failed request: orders come without a price; the circuit opens, and closes after \
                  recovery",
        act: Act::FailAll,
        share: 4,
    },
    Chapter {
        name: "policy",
        title: "Inventory's policy is changed: 90 % to the old service, copies to the new",
        promise: "no failed request; in force within 1 s; the split holds; copies are compared; no \
                  answer under two versions",
        act: Act::ChangePolicy,
        share: 6,
    },
    Chapter {
        name: "registry",
        title: "The registry is gone for a while",
        promise: "no failed request; all live on the last good set",
        act: Act::RegistryGone,
        share: 3,
    },
    Chapter {
        name: "rolling",
        title: "Everything is restarted, one by one",
        promise: "no failed request",
        act: Act::RollingRestart,
        share: 6,
    },
];

/// How long a chapter takes when the whole script takes `total`.
pub(crate) fn span(chapter: &Chapter, total: Duration) -> Duration {
    let all: u32 = SCRIPT.iter().map(|chapter| chapter.share).sum();
    total * chapter.share / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chapters_fill_the_time() {
        let total = Duration::from_secs(60);
        let sum: Duration = SCRIPT.iter().map(|chapter| span(chapter, total)).sum();
        assert!(total - sum < Duration::from_millis(1), "{sum:?}");
    }

    #[test]
    fn names_are_unique_words() {
        for (i, chapter) in SCRIPT.iter().enumerate() {
            assert!(chapter.name.bytes().all(|b| b.is_ascii_lowercase()));
            assert!(SCRIPT[..i].iter().all(|other| other.name != chapter.name));
        }
    }
}
