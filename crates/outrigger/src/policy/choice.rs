//! Which of several places decides; pure.

use std::sync::Arc;

use super::slot::Word;
use super::text::{Loaded, Trouble};
use crate::PolicySource;

/// The places, in the order of their precedence.
pub(crate) const PLACES: [PolicySource; 4] =
    [PolicySource::File, PolicySource::Kv, PolicySource::DefaultFile, PolicySource::DefaultKv];

/// What the places decide together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Choice {
    /// It is not known yet.
    Wait,
    /// This policy, of that place.
    Use(Arc<Loaded>, PolicySource, Option<Trouble>),
    /// Whatever is in force.
    Keep(Trouble),
    /// None: what the process was told otherwise.
    Nothing(Option<Trouble>),
}

/// Chooses by precedence, one place wholly.
///
/// Shape: `words` in the order of [`PLACES`]; `has_saved` says whether what is in force, or would
/// be, is of before the last start. A broken place never lets those below it decide; one that was
/// never heard does, unless there is something saved.
pub(crate) fn choose(words: [&Word; 4], has_saved: bool) -> Choice {
    let mut unsure = None;
    for (word, place) in words.into_iter().zip(PLACES) {
        match word {
            Word::Pending => return Choice::Wait,
            Word::Silent => {}
            Word::Says(loaded, trouble) => {
                return Choice::Use(Arc::clone(loaded), place, trouble.clone().or(unsure));
            }
            Word::Broken(trouble) => return Choice::Keep(trouble.clone()),
            Word::Unsure(trouble) if has_saved => return Choice::Keep(trouble.clone()),
            Word::Unsure(trouble) => {
                unsure.get_or_insert_with(|| trouble.clone());
            }
        }
    }
    Choice::Nothing(unsure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> Word {
        Word::Says(Loaded::for_tests(text), None)
    }

    fn source(words: [&Word; 4]) -> Option<PolicySource> {
        match choose(words, false) {
            Choice::Use(_, source, _) => Some(source),
            _ => None,
        }
    }

    #[test]
    fn the_first_place_that_speaks_decides_wholly() {
        let (one, none) = (says("timeout: 1s"), Word::Silent);
        for (at, wanted) in PLACES.into_iter().enumerate() {
            let words = std::array::from_fn(|place| if place < at { &none } else { &one });
            assert_eq!(source(words), Some(wanted));
        }
        assert_eq!(choose([&none; 4], false), Choice::Nothing(None));
    }

    #[test]
    fn a_broken_place_never_falls_through() {
        let (one, none) = (says("timeout: 1s"), Word::Silent);
        let broken = Word::Broken(Trouble::vanished());
        for words in [[&broken, &one, &one, &one], [&none, &broken, &one, &one]] {
            assert_eq!(choose(words, false), Choice::Keep(Trouble::vanished()));
        }
        assert_eq!(source([&one, &broken, &none, &none]), Some(PolicySource::File));
    }

    #[test]
    fn a_place_that_was_never_heard_lets_others_decide_unless_something_was_saved() {
        let (one, none) = (says("timeout: 1s"), Word::Silent);
        let unsure = Word::Unsure(Trouble::unheard("denied"));
        let words = [&none, &unsure, &one, &none];
        assert!(matches!(
            choose(words, false),
            Choice::Use(_, PolicySource::DefaultFile, Some(Trouble { class: "denied", .. }))
        ));
        assert!(matches!(choose(words, true), Choice::Keep(Trouble { class: "denied", .. })));
        let words = [&none, &unsure, &none, &unsure];
        assert!(matches!(choose(words, false), Choice::Nothing(Some(_))));
    }

    #[test]
    fn nothing_is_decided_before_those_above_have_spoken() {
        let (one, pending) = (says("timeout: 1s"), Word::Pending);
        assert_eq!(choose([&Word::Silent, &pending, &one, &one], false), Choice::Wait);
        assert_eq!(source([&one, &pending, &pending, &pending]), Some(PolicySource::File));
    }
}
