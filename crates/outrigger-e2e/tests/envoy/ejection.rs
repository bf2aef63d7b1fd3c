//! Who is taken out, for how long, and who gets the traffic then.

use std::time::{Duration, Instant};

use outrigger_testkit::Step;

use crate::cases::{Case, numbers};
use crate::findings::Findings;
use crate::stage::{Stage, alike};
use crate::words::outbound;

/// `5 hosts, all 500`
pub(crate) async fn max_ejected(case: Case) -> Findings {
    let hosts = case.numbers_of_load()[0] as usize;
    let stage = Stage::set(&outbound(&case), alike(hosts, &[Step::answer(500)]).await).await;
    for _ in 0..hosts * 12 {
        stage.call().await;
    }
    let mut findings = Findings::default();
    findings.same("ejected", case.wanted("ejected").as_u64(), Some(stage.ejected()));
    findings
}

/// What counts as an error: the load names it.
pub(crate) async fn counts(case: Case) -> Findings {
    let mut policy = outbound(&case);
    let step = match &*case.load {
        "connect-refused" => Step::answer(200),
        "route-timeout" => {
            policy.push_str("timeout: 60ms\n");
            Step::stall()
        }
        "reset" => Step::reset(),
        status => Step::answer(status.parse().expect("a status")),
    };
    let mut endpoints = alike(1, &[step]).await;
    if case.load == "connect-refused" {
        endpoints[0].refuse().await;
    }
    let stage = Stage::set(&policy, endpoints).await;
    for _ in 0..6 {
        stage.call().await;
    }
    let mut findings = Findings::default();
    findings.same("ejected", case.wanted("ejected").as_u64(), Some(stage.ejected()));
    findings
}

/// Three of four are ejected and then well again: who gets the traffic?
pub(crate) async fn panic(case: Case) -> Findings {
    let [bad, all] = case.numbers_of_load()[..] else { panic!("{}", case.load) };
    let (bad, all) = (bad as usize, all as usize);
    let stage = Stage::set(&outbound(&case), alike(all, &[]).await).await;
    for endpoint in &stage.endpoints[..bad] {
        endpoint.follow([Step::answer(500)]);
    }
    for _ in 0..all * 12 {
        stage.call().await;
    }
    assert_eq!(stage.ejected(), bad as u64, "ejected: {:?}", stage.calls());
    for endpoint in &stage.endpoints {
        endpoint.follow([Step::answer(200)]);
    }
    let before = stage.calls();
    let wanted = numbers(case.wanted("split"));
    for _ in 0..wanted.iter().sum::<f64>() as usize {
        stage.call().await;
    }
    let found: Vec<u64> =
        stage.calls().iter().zip(before).map(|(now, before)| now - before).collect();
    let mut findings = Findings::default();
    findings.split("split", &wanted, &found);
    findings
}

/// The only endpoint is ejected.
pub(crate) async fn nobody_left(case: Case) -> Findings {
    let stage = Stage::set(&outbound(&case), alike(1, &[Step::answer(500)]).await).await;
    for _ in 0..5 {
        stage.call().await;
    }
    assert_eq!(stage.ejected(), 1);
    let answer = stage.get().await;
    let mut findings = Findings::default();
    findings.same("status", case.wanted("status").as_u64(), Some(u64::from(answer.status)));
    findings.same("body", case.wanted("body").as_str(), Some(&*answer.body));
    let flags = case.wanted("flags").as_str().expect("a text");
    crate::replies::flags(&mut findings, "flags", flags, 0, &answer);
    findings
}

/// How many bad answers there are until all bad endpoints are out.
pub(crate) async fn merge_window(case: Case) -> Findings {
    let [bad, all, every] = case.numbers_of_load()[..] else { panic!("{}", case.load) };
    let stage = Stage::set(&outbound(&case), alike(all as usize, &[]).await).await;
    for endpoint in &stage.endpoints[..bad as usize] {
        endpoint.follow([Step::answer(500)]);
    }
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(every / 1e3));
    let mut answers = 0;
    for _ in 0..40 {
        ticks.tick().await;
        answers += u64::from(stage.call().await == Some(500));
    }
    // Envoy's first figure is with a worker that hears of it a second later; we have no such
    // worker, as with the second.
    let mut findings = Findings::default();
    let windows = case.policy["update_merge_window"].as_array().expect("windows");
    let none = windows.iter().position(|window| window == "0s").expect("no window");
    let wanted = numbers(case.wanted("bad_responses"))[none] as u64;
    findings.same("bad_responses", wanted, answers);
    findings
}

/// One bad endpoint of two, until it was out five times, well for 3 s, and then out once more.
pub(crate) async fn multiplier(case: Case) -> Findings {
    let stage = Stage::set(&outbound(&case), alike(2, &[]).await).await;
    let bad = stage.endpoints[0].address();
    stage.endpoints[0].follow([Step::answer(500)]);
    let wanted = numbers(case.wanted("ejected_for_s"));
    let began = Instant::now();
    let mut well_until = None;
    let spans = loop {
        stage.call().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let events = stage.ejections.0.lock().expect("nobody panics").clone();
        let of_it: Vec<_> = events.iter().filter(|(_, address, _)| *address == bad).collect();
        let spans: Vec<f64> = of_it
            .chunks_exact(2)
            .map(|pair| {
                assert!(pair[0].2 && !pair[1].2, "out and back in turn");
                (pair[1].0 - pair[0].0).as_secs_f64()
            })
            .collect();
        match well_until {
            None if spans.len() == wanted.len() => {
                stage.endpoints[0].follow([Step::answer(200)]);
                well_until = Some(Instant::now() + Duration::from_secs(3));
            }
            Some(until) if spans.len() == wanted.len() && Instant::now() >= until => {
                stage.endpoints[0].follow([Step::answer(500)]);
            }
            _ => {}
        }
        if spans.len() > wanted.len() || began.elapsed() > Duration::from_secs(35) {
            break spans;
        }
    };
    let mut findings = Findings::default();
    findings.same("ejected_for_s", wanted.len() + 1, spans.len());
    let base = case.time("base_ejection_time").expect("a time").as_secs_f64();
    let interval = case.time("interval").expect("a time").as_secs_f64();
    // The last is as short as the first, after six quiet intervals.
    let nths = (1..=wanted.len()).chain([1]);
    for ((wanted, nth), span) in wanted.iter().chain(&wanted[..1]).zip(nths).zip(spans) {
        // Where in an interval an ejection begins is chance, for Envoy and for us.
        let bounds = base * nth as f64..=base * nth as f64 + interval + 0.1;
        assert!(bounds.contains(wanted), "{wanted} s is no ejection number {nth}");
        findings.holds("ejected_for_s", bounds.contains(&span), || {
            format!("number {nth}: {span:.3} s, not within {bounds:?}")
        });
    }
    findings
}
