//! One suite of raw requests, run against the dev agent and against the real Consul, whose answers
//! must be the same.
//!
//! Each case is a script. It runs on the dev agent always, and with `OUTRIGGER_E2E=1` also on Consul
//! 1.22.7 and 1.8.7. Its own expectations must hold on each, and the transcripts are compared answer
//! by answer: status, the headers that clients read, and the body with indexes, ids and ports masked.
//! What 1.8.7 does otherwise stands in the table of `conformance/differences.rs`, and nowhere else.
//!
//! A group of cases shares one agent per version and is one test; the memory is emptied between cases.

#[path = "conformance/acl.rs"]
mod acl;
#[path = "conformance/blocking.rs"]
mod blocking;
#[path = "conformance/catalog.rs"]
mod catalog;
#[path = "conformance/checks.rs"]
mod checks;
#[path = "conformance/differences.rs"]
mod differences;
#[path = "conformance/errors.rs"]
mod errors;
#[path = "conformance/events.rs"]
mod events;
#[path = "conformance/filters.rs"]
mod filters;
#[path = "conformance/kv.rs"]
mod kv;
#[path = "conformance/maintenance.rs"]
mod maintenance;
#[path = "conformance/mask.rs"]
mod mask;
#[path = "conformance/names.rs"]
mod names;
#[path = "conformance/registration.rs"]
mod registration;
#[path = "conformance/restart.rs"]
mod restart;
#[path = "conformance/run.rs"]
mod run;
#[path = "conformance/sessions.rs"]
mod sessions;
#[path = "conformance/target.rs"]
mod target;

use run::{Group, conforms};

#[test]
fn registrations_conform() {
    conforms(&Group::open("registration", registration::CASES));
}

#[test]
fn catalogue_conforms() {
    conforms(&Group::open("catalog", catalog::CASES));
}

#[test]
fn checks_conform() {
    conforms(&Group::open("checks", checks::CASES));
}

#[test]
fn maintenance_conforms() {
    conforms(&Group::open("maintenance", maintenance::CASES));
}

#[test]
fn blocking_queries_conform() {
    conforms(&Group::open("blocking", blocking::CASES));
}

#[test]
fn restarts_conform() {
    conforms(&Group::open("restart", restart::CASES));
}

#[test]
fn filters_conform() {
    conforms(&Group::open("filters", filters::CASES));
}

#[test]
fn keys_and_values_conform() {
    conforms(&Group::open("kv", kv::CASES));
}

#[test]
fn sessions_and_locks_conform() {
    conforms(&Group::open("sessions", sessions::CASES));
}

#[test]
fn events_conform() {
    conforms(&Group::open("events", events::CASES));
}

#[test]
fn errors_conform() {
    conforms(&Group::open("errors", errors::CASES));
}

#[test]
fn names_and_sizes_conform() {
    conforms(&Group::open("names", names::CASES));
}

#[test]
fn access_control_conforms() {
    conforms(&Group::guarded("acl", acl::CASES));
}

#[test]
fn there_are_at_least_sixty_cases_and_no_name_twice() {
    let groups = [
        registration::CASES,
        catalog::CASES,
        checks::CASES,
        maintenance::CASES,
        blocking::CASES,
        restart::CASES,
        filters::CASES,
        kv::CASES,
        sessions::CASES,
        events::CASES,
        errors::CASES,
        names::CASES,
        acl::CASES,
    ];
    let mut names: Vec<_> = groups.iter().flat_map(|cases| cases.iter().map(|c| c.name)).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a case's name is its identity in the table of differences");
    assert!(count >= 60, "{count} cases");
    differences::assert_cases_exist(&names);
}
