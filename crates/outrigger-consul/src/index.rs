//! The rules of Consul's index.

use http::HeaderMap;

/// What the head of an answer says about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The index, when there is one that can be believed.
    pub(crate) index: Option<u64>,
    /// Milliseconds since the answering server last heard its leader.
    pub(crate) last_contact_ms: u64,
    /// Whether that server knows a leader; true where nothing is said.
    pub(crate) known_leader: bool,
    /// Whether something was left out for want of rights (newer agents only).
    pub(crate) filtered: bool,
}

impl Told {
    /// Reads the headers of a 2xx answer, or of a KV answer that says 404. The index of any other
    /// answer means nothing: on a loss of the leader it is a 500 with `X-Consul-Index: 1`.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is = |name: &str, wanted: &str| {
            text(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
        };
        // Raft counts from 1 in steps of 1: half of the range is beyond any real index, and to
        // wait on such a one is to sleep the whole wait.
        let index = text("x-consul-index").and_then(|value| value.trim().parse::<u64>().ok());
        Self {
            index: index.filter(|&index| index <= u64::MAX / 2),
            last_contact_ms: text("x-consul-lastcontact")
                .and_then(|value| value.trim().parse().ok())
                .unwrap_or(0),
            // Consul 1.22 answers waiting reads of health from a stream that knows nothing of
            // leaders, and says "false" in every one of them.
            known_leader: !is("x-consul-knownleader", "false")
                || is("x-consul-query-backend", "streaming"),
            filtered: is("x-consul-results-filtered-by-acls", "true"),
        }
    }
}

/// The index to wait on next, after a query that waited on `asked`; 0 asks without waiting.
pub(crate) fn next_index(asked: u64, answered: Option<u64>) -> u64 {
    // Nothing to wait on: ask again, paced by the caller.
    let Some(answered) = answered else { return 0 };
    // Consul's index can go backwards, for one when a raft snapshot is restored. To keep waiting
    // on the larger one is to miss every change until the counter has caught up, with nothing in
    // the log to show for it; asking again from 0 costs one full answer.
    if answered < asked {
        return 0;
    }
    // 0 means "do not block": left as it is, a server that answers 0 turns this watch into a busy
    // loop. 1 is always safe to wait on.
    // Source: Consul HTTP API, "Blocking Queries", "Implementation Details".
    answered.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(index: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert("x-consul-index", index.parse().expect("a header value"));
        Told::read(&headers).index
    }

    #[test]
    fn a_falling_index_asks_again_from_zero() {
        assert_eq!(next_index(40, Some(39)), 0);
        assert_eq!(next_index(40, Some(40)), 40);
        assert_eq!(next_index(40, Some(41)), 41);
    }

    #[test]
    fn zero_is_waited_on_as_one_and_nothing_is_not_waited_on() {
        assert_eq!(next_index(0, Some(0)), 1);
        assert_eq!(next_index(40, None), 0);
    }

    #[test]
    fn an_index_that_is_none_is_not_believed() {
        for text in ["abc", "", "-1", "18446744073709551616", "18446744073709551615", "1.5"] {
            assert_eq!(told(text), None, "{text:?}");
        }
        assert_eq!(told(" 7 "), Some(7));
    }

    #[test]
    fn a_streamed_answer_does_not_speak_of_leaders() {
        let mut headers = HeaderMap::new();
        headers.insert("x-consul-knownleader", "false".parse().expect("a header value"));
        assert!(!Told::read(&headers).known_leader);
        headers.insert("x-consul-query-backend", "streaming".parse().expect("a header value"));
        assert!(Told::read(&headers).known_leader);
    }

    #[test]
    fn an_answer_without_headers_is_taken_as_healthy() {
        let told = Told::read(&HeaderMap::new());
        assert_eq!(told, Told { known_leader: true, ..Told::default() });
    }
}
