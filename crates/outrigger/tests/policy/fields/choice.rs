//! `balance`, `subsets`, `eject`: which endpoint a request goes to.

use std::sync::Arc;
use std::time::Duration;

use outrigger::core::Reason;
use outrigger::discovery::{
    CatalogueStream, InMemoryRegistry, KeyWatcher, Query, Resolver, SnapshotStream,
};

use crate::fleet::{Caller, Registry, policy, text};

#[tokio::test]
async fn algorithm_is_how_endpoints_take_turns() {
    let registry = Registry::default();
    let _one = registry.named("one", |_| {}).await;
    let _two = registry.named("two", |instance| instance.weights.passing = 3).await;
    registry.push(&policy("balance: { algorithm: round_robin, slow_start: none }"));
    let caller = registry.caller().await;
    let spread = caller.spread("/", 80).await;
    // 20 and 60, but for what a busy machine has to try again.
    assert!((18..=22).contains(&spread["one"]), "by turns, and by weight: {spread:?}");

    let lots = policy("balance: { algorithm: random, slow_start: none }");
    registry.push(&lots);
    caller.obeys(&lots).await;
    let spread = caller.spread("/", 400).await;
    // 300 wanted, with a deviation of 8.7: six of them to each side.
    assert!((248..=352).contains(&spread["two"]), "{spread:?}");
}

#[tokio::test]
async fn slow_start_spares_a_newcomer() {
    let registry = Registry::default();
    let _old = registry.named("old", |_| {}).await;
    let slow = "balance: { algorithm: random, slow_start: { window: 1h, floor: 0.05 } }";
    registry.push(&policy("balance: { algorithm: random, slow_start: none }"));
    let caller = registry.caller().await;
    caller.text("/").await;
    let text = policy(slow);
    registry.push(&text);
    caller.obeys(&text).await;
    let _new = registry.named("new", |_| {}).await;
    sees_endpoints(&caller, 2).await;
    let spread = caller.spread("/", 200).await;
    // Its weight is a twentieth of the other's: 9.5 wanted, with a deviation of 3.
    let share = spread.get("new").copied().unwrap_or(0);
    assert!(share <= 28, "{spread:?}");

    let text = policy("balance: { algorithm: random, slow_start: none }");
    registry.push(&text);
    caller.obeys(&text).await;
    let spread = caller.spread("/", 200).await;
    assert!((58..=142).contains(&spread["new"]), "{spread:?}");
}

async fn sees_endpoints(caller: &Caller, wanted: usize) {
    let seen = async {
        while caller.0.services()[0].endpoints.len() != wanted {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), seen).await.expect("the set is known");
}

#[tokio::test]
async fn locality_keeps_to_the_callers_zone() {
    let registry = Registry::default();
    let _near = registry.named("near", |instance| instance.zone = Some("a".into())).await;
    let _far = registry.named("far", |instance| instance.zone = Some("b".into())).await;
    registry.push(&policy("balance: { locality: { prefer: zone } }"));
    let fleet = registry.builder().zone("a").join().await.expect("valid settings");
    let caller = Caller(fleet);
    assert_eq!(caller.spread("/", 40).await["near"], 40);
    let text = policy("balance: { algorithm: round_robin, slow_start: none, locality: none }");
    registry.push(&text);
    caller.obeys(&text).await;
    let spread = caller.spread("/", 40).await;
    assert_eq!((spread["near"], spread["far"]), (20, 20));
}

#[tokio::test]
async fn spill_below_lets_traffic_over_in_proportion() {
    let registry = Registry::default();
    let zone = |zone: &'static str| {
        move |instance: &mut outrigger::core::Instance| instance.zone = Some(zone.into())
    };
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(registry.named("near", zone("a")).await);
    }
    all.push(registry.named("far", zone("b")).await);
    // Two of the four near ones answer 503 and are ejected: half is usable, and 0.5 / 0.8 stay.
    for _ in 0..2 {
        all.push(registry.endpoint_as(zone("a"), |_| async { text(503, "bad") }).await);
    }
    registry.push(&policy(
        "balance: { algorithm: random, slow_start: none, panic_below: 0, locality: { prefer: zone, spill_below: 1 } }\n\
         eject: { consecutive_errors: 1, max_ejected: 0.9, base_time: 60s }\nretry: { attempts: 0 }",
    ));
    let caller = Caller(registry.builder().zone("a").join().await.expect("valid settings"));
    let mut bad = 0;
    for _ in 0..400 {
        bad += u32::from(caller.get("/").await.expect("an answer").status() == 503);
        if bad == 2 {
            break;
        }
    }
    assert_eq!(bad, 2, "both were asked once");
    let spread = caller.spread("/", 300).await;
    // Four of six are usable where all should be: a third goes over; 100 wanted, deviation 8.2.
    assert!((50..=150).contains(&spread["far"]), "{spread:?}");
}

#[tokio::test]
async fn aperture_is_a_slice_that_stays() {
    let registry = Registry::default();
    let mut all = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        all.push(registry.named(name, |_| {}).await);
    }
    registry.push(&policy("balance: { algorithm: random, aperture: 2 }"));
    let caller = registry.caller().await;
    let first = caller.spread("/", 60).await;
    assert_eq!(first.len(), 2, "{first:?}");
    let again = caller.spread("/", 60).await;
    assert!(again.keys().eq(first.keys()), "{first:?} {again:?}");
    let text = policy("balance: { algorithm: round_robin, slow_start: none }");
    registry.push(&text);
    caller.obeys(&text).await;
    assert_eq!(caller.spread("/", 60).await.len(), 6, "none is all");
}

#[tokio::test]
async fn panic_below_ignores_ejection_when_too_few_are_left() {
    let registry = Registry::default();
    let _bad = registry.endpoint_as(|_| {}, |_| async { text(503, "bad") }).await;
    let rules = |panic_below: &str| {
        policy(&format!(
            "balance: {{ panic_below: {panic_below} }}\nretry: {{ attempts: 0 }}\n\
             eject: {{ consecutive_errors: 2, max_ejected: 1.0, base_time: 60s }}"
        ))
    };
    registry.push(&rules("0"));
    let caller = registry.caller().await;
    for _ in 0..2 {
        assert_eq!(caller.get("/").await.expect("an answer").status(), 503);
    }
    let error = caller.get("/").await.expect_err("nobody is left");
    assert_eq!(error.reason(), Some(Reason::NoEndpoint));
    let text = rules("0.5");
    registry.push(&text);
    caller.obeys(&text).await;
    assert_eq!(caller.get("/").await.expect("panic").status(), 503);
}

#[tokio::test]
async fn an_ejected_endpoint_gets_nothing_until_its_time_is_over() {
    let registry = Registry::default();
    let _good = registry.named("good", |_| {}).await;
    let _bad = registry
        .endpoint_as(
            |_| {},
            |request| async move {
                let is_ill = request.uri().path() == "/ill";
                text(if is_ill { 500 } else { 200 }, "bad")
            },
        )
        .await;
    let balance = "balance: { algorithm: round_robin, slow_start: none }\nretry: { attempts: 0 }";
    let eject = |more: &str| {
        policy(&format!(
            "{balance}\neject: {{ consecutive_errors: 2, interval: 50ms, base_time: 300ms, \
             max_ejected: 0.5, {more} }}"
        ))
    };
    registry.push(&eject("errors: gateway"));
    let caller = registry.caller().await;
    let ill = async || {
        for _ in 0..8 {
            caller.get("/ill").await.expect("an answer");
        }
    };
    ill().await;
    assert_eq!(caller.spread("/", 8).await["bad"], 4, "500 is no gateway error");

    let text = eject("errors: server");
    registry.push(&text);
    caller.obeys(&text).await;
    ill().await;
    assert_eq!(caller.spread("/", 8).await.get("bad"), None, "ejected");
    let back = async {
        while !caller.spread("/", 4).await.contains_key("bad") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), back).await.expect("it comes back");

    let none = policy(&format!("{balance}\neject: none"));
    registry.push(&none);
    caller.obeys(&none).await;
    ill().await;
    assert_eq!(caller.spread("/", 8).await["bad"], 4, "nobody is ejected");
}

#[tokio::test]
async fn success_ratio_below_ejects_who_fails_now_and_then() {
    let registry = Registry::default();
    let _good = registry.named("good", |_| {}).await;
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let _bad = registry
        .endpoint_as(
            |_| {},
            move |_| {
                let nth = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                async move { text(if nth.is_multiple_of(2) { 500 } else { 200 }, "bad") }
            },
        )
        .await;
    registry.push(&policy(
        "balance: { algorithm: round_robin, slow_start: none }\nretry: { attempts: 0 }\n\
         eject: { consecutive_errors: 1000, interval: 100ms, base_time: 60s, max_ejected: 0.5, \
         success_ratio_below: 0.8, min_requests: 5 }",
    ));
    let caller = registry.caller().await;
    let gone = async {
        loop {
            let mut bad = 0;
            for _ in 0..10 {
                let response = caller.get("/").await.expect("an answer");
                let text = response.into_body().text().await.expect("a text");
                bad += u32::from(text == "bad");
            }
            if bad == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), gone).await.expect("ejected by its ratio");
}

#[tokio::test]
async fn subsets_are_told_by_version_tag_and_meta() {
    let registry = Registry::default();
    let _old = registry.named("old", |instance| instance.version = Some("1.9.0".into())).await;
    let _new = registry.named("new", |instance| instance.version = Some("2.1.0".into())).await;
    let _canary = registry.named("canary", |instance| instance.tags.push("canary".into())).await;
    let _gold = registry
        .named("gold", |instance| {
            instance.meta.insert("tier".into(), "gold".into());
        })
        .await;
    registry.push(&policy(
        "balance: { algorithm: round_robin, slow_start: none }\nsubsets:\n  v2: { version: \">=2\" }\n  canaries: { tag: canary }\n  golden: { meta: { tier: gold } }\n\
         routes:\n  - { name: a, match: { path_prefix: /v2 }, split: [ { subset: v2 } ] }\n  \
         - { name: b, match: { path_prefix: /tag }, split: [ { subset: canaries } ] }\n  \
         - { name: c, match: { path_prefix: /meta }, split: [ { subset: golden } ] }",
    ));
    let caller = registry.caller().await;
    for (path, wanted) in [("/v2", "new"), ("/tag", "canary"), ("/meta", "gold")] {
        let spread = caller.spread(path, 12).await;
        assert_eq!(spread.get(wanted), Some(&12), "{path}: {spread:?}");
    }
    assert_eq!(caller.spread("/", 40).await.len(), 4, "what no route splits goes everywhere");
}

/// One registry for each datacenter.
#[derive(Debug)]
struct Datacenters {
    here: InMemoryRegistry,
    dc2: InMemoryRegistry,
}

impl Resolver for Datacenters {
    fn watch(&self, query: &Query) -> SnapshotStream {
        match query.datacenter.as_deref() {
            None => self.here.watch(query),
            Some("dc2") => self.dc2.watch(query),
            Some(other) => panic!("nobody asked for {other}"),
        }
    }

    fn catalogue(&self, datacenter: Option<&str>) -> CatalogueStream {
        self.here.catalogue(datacenter)
    }
}

#[tokio::test]
async fn failover_asks_other_datacenters_while_nobody_is_here() {
    let (here, there) = (Registry::default(), Registry::default());
    let near = here.named("near", |_| {}).await;
    let _far = there.named("far", |instance| instance.datacenter = Some("dc2".into())).await;
    let both = Datacenters { here: here.0.clone(), dc2: there.0.clone() };
    here.push(&policy("balance: { failover: [dc2] }\neject: none"));
    let fleet = outrigger::builder("orders")
        .registry(Arc::new(both), None)
        .keys(Arc::new(here.0.clone()) as Arc<dyn KeyWatcher>)
        .join()
        .await
        .expect("valid settings");
    let caller = Caller(fleet);
    caller.text("/").await;
    sees_endpoints(&caller, 2).await;
    assert_eq!(caller.spread("/", 20).await["near"], 20);
    let id = here.0.instances(&crate::fleet::name("stock"))[0].id.clone();
    here.0.remove(&crate::fleet::name("stock"), &id);
    drop(near);
    sees_endpoints(&caller, 1).await;
    assert_eq!(caller.spread("/", 20).await["far"], 20);
}
