//! What Consul 1.8.7 answers otherwise than 1.22.7, which the dev agent follows.
//!
//! Fields and headers that only newer versions have, and longer texts of the same refusals, are
//! listed in `mask.rs` (`NEW_KEYS`, `old_text`). Here are the answers that differ in substance.

/// One answer of 1.8.7.
#[derive(Debug)]
pub(crate) struct Difference {
    case: &'static str,
    /// The step: method and path, with ` #2` and so on when the case takes it more than once.
    step: &'static str,
    pub(crate) status: u16,
    /// Part of the body.
    pub(crate) text: &'static str,
    /// For the reader.
    #[expect(dead_code, reason = "says why, to people")]
    why: &'static str,
}

const fn old(
    case: &'static str,
    step: &'static str,
    status: u16,
    text: &'static str,
    why: &'static str,
) -> Difference {
    Difference { case, step, status, text, why }
}

const TABLE: &[Difference] = &[
    old(
        "an unknown id cannot be deregistered",
        "PUT /v1/agent/service/deregister/nope",
        200,
        "",
        "deregistering what is not there was a success",
    ),
    old(
        "unknown checks cannot be reported",
        "PUT /v1/agent/check/pass/nope",
        500,
        "does not have associated TTL",
        "a check that is gone is told as one without TTL",
    ),
    old(
        "unknown checks cannot be reported",
        "PUT /v1/agent/check/warn/nope",
        500,
        "does not have associated TTL",
        "a check that is gone is told as one without TTL",
    ),
    old(
        "unknown checks cannot be reported",
        "PUT /v1/agent/check/fail/nope",
        500,
        "does not have associated TTL",
        "a check that is gone is told as one without TTL",
    ),
    old(
        "unknown checks cannot be reported",
        "PUT /v1/agent/check/update/nope",
        500,
        "does not have associated TTL",
        "a check that is gone is told as one without TTL",
    ),
    old(
        "unknown checks cannot be reported",
        "PUT /v1/agent/check/deregister/nope",
        200,
        "",
        "deregistering what is not there was a success",
    ),
    old(
        "a restarted agent knows nothing and counts anew",
        "PUT /v1/agent/check/pass/service:web",
        500,
        "does not have associated TTL",
        "a heartbeat after a restart gets the old wording",
    ),
    old(
        "a gRPC check follows the health it gets",
        "GET /v1/health/checks/web #2",
        200,
        "gRPC application didn't report service healthy",
        "the status that was answered is not named",
    ),
    old(
        "impossible checks are refused",
        "PUT /v1/agent/service/register #6",
        400,
        "Interval must be > 0",
        "fewer kinds of checks are listed",
    ),
    old(
        "maintenance is asked for properly",
        "PUT /v1/agent/service/maintenance/nope?enable=true",
        404,
        "No service registered with ID \"nope\"",
        "another wording",
    ),
    old("paths that are not there are 404", "GET /v1/nope", 404, "", "without a word"),
    old("paths that are not there are 404", "GET /v2/kv/x", 404, "", "without a word"),
    old(
        "events are asked for properly",
        "PUT /v1/event/fire/big",
        200,
        "",
        "the bound of payloads came later",
    ),
    old(
        "names of services are filtered",
        "GET /v1/catalog/services?filter=ServiceName==web",
        200,
        "consul",
        "this list took no filter",
    ),
    old(
        "a value may have 512 KiB and not a byte more",
        "PUT /v1/kv/big #2",
        413,
        "Request body(524289 bytes) too large, max size: 524288 bytes.",
        "the link in it differs",
    ),
    old(
        "a key may not begin or end with a space",
        "PUT /v1/kv/%20a",
        200,
        "true",
        "any key was taken",
    ),
    old(
        "a key may not begin or end with a space",
        "PUT /v1/kv/a%20",
        200,
        "true",
        "any key was taken",
    ),
    old(
        "an absent session is an empty list",
        "GET /v1/session/info/short",
        500,
        "UUID must be 36 characters",
        "ids were looked up as UUIDs",
    ),
    old(
        "a check is registered by itself",
        "PUT /v1/agent/check/register",
        500,
        "ServiceID \"nope\" does not exist",
        "the same words with another status",
    ),
];

/// The difference that stands for this step, if there is one.
pub(crate) fn of(case: &str, step: &str) -> Option<&'static Difference> {
    TABLE.iter().find(|d| d.case == case && d.step == step)
}

/// The steps of a case that differ.
pub(crate) fn steps(case: &str) -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter(move |d| d.case == case).map(|d| d.step)
}

/// A difference of a case that is not there any more is out of date.
pub(crate) fn assert_cases_exist(names: &[&str]) {
    for difference in TABLE {
        assert!(names.contains(&difference.case), "no case {:?}", difference.case);
    }
}
