//! What one place, a file or a key, says of a service; pure.

use std::sync::Arc;

use super::text::{Loaded, Reading, Trouble};

/// What was found at a place.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A text, read.
    Text(Reading),
    /// Nothing.
    Absent,
    /// A text that cannot be used, or a place that cannot be read.
    Bad(Trouble),
    /// Whoever knows the place cannot be asked.
    Unheard(Trouble),
}

/// What a place says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Word {
    /// It was not asked yet.
    #[default]
    Pending,
    /// Nothing: others decide.
    Silent,
    /// A policy; with the trouble that keeps newer ones from us, if there is one.
    Says(Arc<Loaded>, Option<Trouble>),
    /// There is, or was, a policy, and it cannot be had: whatever is in force stays.
    Broken(Trouble),
    /// It was never heard: others decide, unless something was saved.
    Unsure(Trouble),
}

#[cfg(test)]
impl Word {
    /// What keeps the place's newest word from us.
    pub(crate) const fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Broken(trouble) | Self::Unsure(trouble) | Self::Says(_, Some(trouble)) => {
                Some(trouble)
            }
            _ => None,
        }
    }
}

/// Follows one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    word: Word,
    /// Whether there was a policy, now or before the last start.
    had: bool,
}

impl Slot {
    /// A place that had a policy before the last start, or not.
    pub(crate) const fn new(had: bool) -> Self {
        Self { word: Word::Pending, had }
    }

    pub(crate) const fn word(&self) -> &Word {
        &self.word
    }

    /// Takes note of what was found.
    pub(crate) fn see(&mut self, seen: Seen) {
        self.word = match seen {
            Seen::Text(Reading::Policy(loaded)) => {
                self.had = true;
                Word::Says(loaded, None)
            }
            Seen::Text(Reading::Tombstone) => {
                self.had = false;
                Word::Silent
            }
            Seen::Bad(trouble) => Word::Broken(trouble),
            Seen::Absent if self.had => Word::Broken(Trouble::vanished()),
            Seen::Absent => Word::Silent,
            Seen::Unheard(trouble) => match std::mem::take(&mut self.word) {
                Word::Pending | Word::Unsure(_) => Word::Unsure(trouble),
                Word::Says(loaded, _) => Word::Says(loaded, Some(trouble)),
                // What it said last stays; that it cannot be asked matters only to a policy.
                word => word,
            },
        };
    }

    /// Stops waiting for the first word.
    pub(crate) fn give_up(&mut self) {
        if self.word == Word::Pending {
            self.word = Word::Unsure(Trouble::silent());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Seen {
        Seen::Text(Reading::Policy(Loaded::for_tests(text)))
    }

    fn class(slot: &Slot) -> Option<&'static str> {
        slot.word().trouble().map(|trouble| trouble.class)
    }

    #[test]
    fn a_key_that_was_never_there_is_silent_and_one_that_vanishes_is_broken() {
        let mut slot = Slot::new(false);
        slot.see(Seen::Absent);
        assert_eq!(*slot.word(), Word::Silent);
        slot.see(policy("timeout: 1s"));
        assert!(matches!(slot.word(), Word::Says(_, None)));
        slot.see(Seen::Absent);
        assert_eq!(class(&slot), Some("vanished"));
        slot.see(policy("timeout: 1s"));
        assert_eq!(class(&slot), None, "it is back");
    }

    #[test]
    fn only_a_tombstone_really_removes() {
        let mut slot = Slot::new(false);
        slot.see(policy("timeout: 1s"));
        slot.see(Seen::Text(Reading::Tombstone));
        assert_eq!(*slot.word(), Word::Silent);
        slot.see(Seen::Absent);
        assert_eq!(*slot.word(), Word::Silent, "the tombstone itself may be cleared away");
    }

    #[test]
    fn what_vanished_while_the_process_was_down_has_vanished_too() {
        let mut slot = Slot::new(true);
        slot.see(Seen::Absent);
        assert_eq!(class(&slot), Some("vanished"));
    }

    #[test]
    fn a_place_that_cannot_be_asked_keeps_its_word() {
        let mut slot = Slot::new(false);
        let denied = || Seen::Unheard(Trouble::unheard("denied"));
        slot.see(denied());
        assert!(matches!(slot.word(), Word::Unsure(_)));
        slot.see(policy("timeout: 1s"));
        slot.see(denied());
        assert!(matches!(slot.word(), Word::Says(_, Some(_))));
        assert_eq!(class(&slot), Some("denied"));
        slot.see(Seen::Text(Reading::Tombstone));
        slot.see(denied());
        assert_eq!(*slot.word(), Word::Silent);
    }

    #[test]
    fn waiting_for_the_first_word_ends() {
        let mut slot = Slot::new(false);
        slot.give_up();
        assert_eq!(class(&slot), Some("silent"));
        slot.see(Seen::Absent);
        slot.give_up();
        assert_eq!(*slot.word(), Word::Silent);
    }
}
