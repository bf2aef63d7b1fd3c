//! What may be in flight, and what may be sent again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger_testkit::{Scripted, Step};

use crate::cases::{Case, numbers};
use crate::findings::Findings;
use crate::replies::flags;
use crate::stage::{Stage, alike};
use crate::words::outbound;

fn slow(secs: f64, status: u16) -> Step {
    Step::answer(status).after(Duration::from_secs_f64(secs))
}

/// `6 at once, HTTP/1, 0.5 s each`
pub(crate) async fn at_once(case: Case) -> Findings {
    let [count, .., secs] = case.numbers_of_load()[..] else { panic!("{}", case.load) };
    let stage = Stage::set(&outbound(&case), alike(1, &[slow(secs, 200)]).await).await;
    let answers = stage.at_once(count as usize).await;
    stage.view();
    let (ok, rejected): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    let mut findings = Findings::default();
    for key in case.keys() {
        let wanted = case.wanted(&key);
        match &*key {
            "ok" => findings.same(&key, wanted.as_u64(), Some(ok.len() as u64)),
            "rejected" => findings.same(&key, wanted.as_u64(), Some(rejected.len() as u64)),
            "waves_s" => {
                let waves = numbers(wanted);
                let each = ok.len() / waves.len();
                for (wave, answers) in waves.iter().zip(ok.chunks(each.max(1))) {
                    for answer in answers {
                        findings.close(&key, *wave, answer.took);
                    }
                }
            }
            _ => {
                findings.holds(&key, !rejected.is_empty(), || "nobody was refused".to_owned());
                for answer in &rejected {
                    match &*key {
                        "status" => {
                            findings.same(&key, wanted.as_u64(), Some(u64::from(answer.status)));
                        }
                        "flags" => {
                            let words = wanted.as_str().expect("a text");
                            flags(&mut findings, &key, words, 0, answer);
                        }
                        "body" => findings.same(&key, wanted.as_str(), Some(&*answer.body)),
                        "header" => {
                            // The header has another name here, and says the same.
                            let is_told = wanted["x-envoy-overloaded"] == "true";
                            let reason = answer.header("x-outrigger-reason");
                            findings.same(&key, is_told, reason == Some("overloaded"));
                        }
                        other => panic!("{}: nobody looks at {other}", case.id),
                    }
                }
            }
        }
    }
    findings
}

/// Refusals of a limit that is full say nothing about the endpoint.
pub(crate) async fn overflow_is_no_error(case: Case) -> Findings {
    let count = case.numbers_of_load()[0] as usize;
    let stage = Stage::set(&outbound(&case), alike(1, &[Step::stall()]).await).await;
    // Envoy's limit of nothing is our limit of one, with that one in use.
    let filling = async {
        stage.get().await;
        unreachable!("never answered");
    };
    let asking = async {
        while stage.all_calls() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut findings = Findings::default();
        for _ in 0..count {
            let answer = stage.get().await;
            flags(
                &mut findings,
                "flags",
                case.wanted("flags").as_str().expect("a text"),
                0,
                &answer,
            );
        }
        findings.same("ejected", case.wanted("ejected").as_u64(), Some(stage.ejected()));
        findings
    };
    tokio::select! {
        findings = asking => findings,
        () = filling => unreachable!("never ends"),
    }
}

/// `10 at once, always 503 after 0.2 s`
pub(crate) async fn retries(case: Case) -> Findings {
    let [count, _, secs] = case.numbers_of_load()[..] else { panic!("{}", case.load) };
    let stage = Stage::set(&outbound(&case), alike(1, &[slow(secs, 503)]).await).await;
    let answers = stage.at_once(count as usize).await;
    stage.view();
    let all = case.number("num_retries").expect("retries") as u64 + 1;
    let full = answers.iter().filter(|answer| answer.tries() == all).count() as u64;
    let mut findings = Findings::default();
    for key in case.keys() {
        let wanted = case.wanted(&key);
        match &*key {
            "upstream_calls" => findings.same(&key, wanted.as_u64(), Some(stage.all_calls())),
            // Whoever was refused a retry gets the endpoint's own answer.
            "retry_overflow" => findings.same(&key, wanted.as_u64(), Some(count as u64 - full)),
            "flags" => {
                let flags = wanted.as_array().expect("flags");
                let used_up = flags.iter().filter(|one| *one == "URX").count() as u64;
                findings.same(&key, used_up, full);
                findings.same(&key, flags.len(), answers.len());
            }
            other => panic!("{}: nobody looks at {other}", case.id),
        }
    }
    for answer in &answers {
        assert_eq!((answer.status, answer.header("x-outrigger-reason")), (503, None));
    }
    findings
}

/// The gaps between the tries of many requests.
pub(crate) async fn backoff(case: Case) -> Findings {
    let count = case.numbers_of_load()[0] as usize;
    let at = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&at);
    let endpoint = Scripted::start_with(move |_| {
        times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        Step::answer(503)
    });
    let stage = Stage::set(&outbound(&case), vec![endpoint.await.expect("a port")]).await;
    // The first call makes everything; it is not measured.
    stage.call().await;
    at.lock().expect("nobody panics").clear();
    for _ in 0..count {
        stage.call().await;
    }
    stage.view();
    let times = at.lock().expect("nobody panics").clone();
    let retries = case.number("num_retries").expect("retries") as usize;
    let mut findings = Findings::default();
    if times.len() != count * (retries + 1) {
        let found = times.len();
        findings.holds("gap_ms_mean", false, || format!("{found} tries"));
        findings.holds("gap_ms_max", false, || format!("{found} tries"));
        return findings;
    }
    let bounds = numbers(case.wanted("gap_ms_max"));
    for (nth, (mean, most)) in numbers(case.wanted("gap_ms_mean")).iter().zip(&bounds).enumerate() {
        let mut gaps: Vec<f64> = times
            .chunks(retries + 1)
            .map(|tries| (tries[nth + 1] - tries[nth]).as_secs_f64() * 1e3)
            .collect();
        let found = gaps.iter().sum::<f64>() / count as f64;
        // Both means are of so many uniform draws below the bound; the way there and back takes
        // a millisecond or two on a busy machine.
        let sigma = most / 12_f64.sqrt() / (count as f64).sqrt();
        findings.within("gap_ms_mean", *mean, found, 4.0 * sigma * 2_f64.sqrt() + 2.0);
        gaps.sort_by(f64::total_cmp);
        // All but two: a busy machine may hold a process up. The longest of thirty draws lies in
        // the upper third, but once in 190,000 times.
        let (nearly_all, longest) = (gaps[count - 3], gaps[count - 1]);
        let is_within = nearly_all <= most * 1.15 + 5.0 && longest >= most * 0.66;
        findings.holds("gap_ms_max", is_within, || {
            format!("bound {most} ms, nearly all {nearly_all} ms, longest {longest} ms")
        });
    }
    findings
}
