//! The rules of Consul's index, as `outrigger-consul` has them.

/// What the head of an answer says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The index, when there is one that can be believed.
    pub(crate) index: Option<u64>,
    /// Whether the answering server knows a leader; true where nothing is said.
    pub(crate) known_leader: bool,
    /// Whether something was left out for want of rights (newer agents only).
    pub(crate) filtered: bool,
}

impl Told {
    /// Reads the headers of a 2xx answer; `header` gives one by its name.
    pub(crate) fn read<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Self {
        let is = |name: &str, wanted: &str| {
            header(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
        };
        // Raft counts from 1 in steps of 1: half of the range is beyond any real index, and to
        // wait on such a one is to sleep the whole wait.
        let index = header("x-consul-index").and_then(|value| value.trim().parse::<u64>().ok());
        Self {
            index: index.filter(|&index| index <= u64::MAX / 2),
            // Answers from Consul's streaming backend know nothing of leaders and always say no.
            known_leader: !is("x-consul-knownleader", "false")
                || is("x-consul-query-backend", "streaming"),
            filtered: is("x-consul-results-filtered-by-acls", "true"),
        }
    }
}

/// The index to wait on next, after a query that waited on `asked`; 0 asks without waiting.
pub(crate) fn next_index(asked: u64, answered: Option<u64>) -> u64 {
    let Some(answered) = answered else { return 0 };
    // The index goes backwards when the agent lost its memory: to wait on the larger one is to
    // miss every change until the counter has caught up.
    if answered < asked {
        return 0;
    }
    // 0 means "do not block": left as it is, this watch is a busy loop.
    answered.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_index_asks_again_from_zero_and_zero_is_waited_on_as_one() {
        assert_eq!(next_index(40, Some(39)), 0);
        assert_eq!(next_index(40, Some(41)), 41);
        assert_eq!(next_index(0, Some(0)), 1);
        assert_eq!(next_index(40, None), 0);
    }

    #[test]
    fn an_index_that_is_none_is_not_believed() {
        for text in ["abc", "", "-1", "18446744073709551616", "18446744073709551615", "1.5"] {
            let told = Told::read(|name| (name == "x-consul-index").then_some(text));
            assert_eq!(told.index, None, "{text:?}");
        }
        assert_eq!(Told::read(|_| Some(" 7 ")).index, Some(7));
    }

    #[test]
    fn a_streamed_answer_does_not_speak_of_leaders() {
        let lost = |name: &str| (name == "x-consul-knownleader").then_some("false");
        assert!(!Told::read(lost).known_leader);
        let streamed = |name: &str| {
            lost(name).or_else(|| (name == "x-consul-query-backend").then_some("streaming"))
        };
        assert!(Told::read(streamed).known_leader);
    }
}
