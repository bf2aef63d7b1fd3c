//! Six languages, eight capabilities: the services of `examples/` on a real Consul, most of them
//! behind a sidecar, read back from a real Jaeger, restarted, stopped and killed under load.
//!
//! `docs/languages.md` is the table that this test made; `OUTRIGGER_BLESS=1` writes it anew. The
//! load is 50 requests a second and a sample of the trouble; with `OUTRIGGER_SOAK=1` it is 300 and all
//! of it, and a real Zipkin tells the trace too.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints figures, and what it skips"
)]

#[path = "polyglot/cells.rs"]
mod cells;
#[path = "polyglot/flaky.rs"]
mod flaky;
#[path = "polyglot/readers.rs"]
mod readers;
#[path = "polyglot/stage.rs"]
mod stage;
#[path = "polyglot/table.rs"]
mod table;
#[path = "polyglot/tracing.rs"]
mod tracing;
#[path = "polyglot/trouble.rs"]
mod trouble;
#[path = "polyglot/zipkin.rs"]
mod zipkin;

use cells::Cells;
use stage::Stage;

#[test]
fn six_languages_do_eight_things_and_nobody_notices_one_leave() {
    let Some(mut stage) = Stage::set() else { return };
    let mut table = table::Table::default();
    for service in stage.services() {
        let cells = Cells { stage: &stage, service };
        table.row(
            service,
            [
                cells.registers(),
                cells.is_found(),
                cells.calls_by_name(),
                cells.is_balanced(),
                cells.is_limited(),
                cells.breaks_circuits(),
                cells.is_traced(),
            ],
        );
    }
    stage.one_trace_through_all_languages();
    stage.other_clients_read_what_a_sidecar_registers();
    stage.spring_finds_what_a_sidecar_registers();
    stage.a_service_that_registers_itself_alone_is_limited_by_its_callers_only();
    for (service, drained) in stage.a_rolling_restart() {
        table.last(service, drained);
    }
    stage.instances_hang();
    stage.instances_are_killed();
    table.end(&stage);
}

#[test]
fn a_trace_through_five_languages_is_read_from_zipkin() {
    zipkin::tells_the_trace_through_five_languages();
}
