//! Who may call.

use outrigger_policy::{Authorize, AuthorizeMode, AuthorizeRule, From, Verdict};

use super::{SECURITY, labels};
use crate::render::Document;
use crate::scene::Scene;
use crate::yaml::Map;

/// Deny first, then the allow list, and mutual TLS, without which nobody has a name.
pub(super) fn of(scene: &Scene<'_>) -> Vec<Document> {
    let inbound = scene.policy.inbound.as_ref();
    let Some(authorize) = inbound.and_then(|inbound| inbound.authorize.as_ref()) else {
        return Vec::new();
    };
    let selector = || Map::new().with("matchLabels", scene.own_workloads());
    let said = |key: &str| scene.lines.inbound(key);
    let strict = Map::new().with("selector", selector()).said(
        "mtls",
        Map::new().with("mode", "STRICT"),
        said("inbound.authorize"),
    );
    let mut all = vec![scene.resource(SECURITY, "PeerAuthentication", "", strict)];
    let mut rules = |action: &str, suffix: &str, rules: &[AuthorizeRule], key: &str| {
        let rules: Vec<Map> = rules.iter().map(rule).collect();
        let spec = Map::new().with("selector", selector()).with("action", action);
        // No rule at all holds nothing: an ALLOW without rules lets nobody in.
        let spec = if rules.is_empty() { spec } else { spec.said("rules", rules, said(key)) };
        all.push(scene.annotated(
            SECURITY,
            "AuthorizationPolicy",
            suffix,
            dry_run(authorize),
            spec,
            &[],
        ));
    };
    if !authorize.deny.is_empty() {
        rules("DENY", "-deny", &authorize.deny, "inbound.authorize.deny");
    }
    if authorize.default == Verdict::Deny {
        rules("ALLOW", "-allow", &authorize.allow, "inbound.authorize.allow");
    }
    all
}

fn dry_run(authorize: &Authorize) -> Option<Map> {
    (authorize.mode == AuthorizeMode::Observe).then(|| Map::new().with("istio.io/dry-run", "true"))
}

fn rule(rule: &AuthorizeRule) -> Map {
    let mut map = Map::new();
    let (mut names, mut anybody) = (Vec::new(), false);
    for from in &rule.from {
        match from {
            From::Service(name) => names.push(labels::resource(name.as_str())),
            _ => anybody = true,
        }
    }
    let source = |key: &str, values: Vec<String>| {
        vec![Map::new().with("source", Map::new().with(key, values))]
    };
    if anybody {
        // Whoever can prove a name: one without an identity is nobody.
        map = map.with("from", source("principals", vec!["*".to_owned()]));
    } else if !names.is_empty() {
        map = map.with("from", source("serviceAccounts", names));
    }
    let methods: Vec<&str> = rule.methods.iter().map(http::Method::as_str).collect();
    let paths: Vec<&str> = rule.paths.iter().map(outrigger_policy::PathPattern::as_str).collect();
    let operation = Map::new()
        .maybe("methods", (!methods.is_empty()).then_some(methods))
        .maybe("paths", (!paths.is_empty()).then_some(paths));
    if operation.is_empty() {
        map
    } else {
        map.with("to", vec![Map::new().with("operation", operation)])
    }
}
