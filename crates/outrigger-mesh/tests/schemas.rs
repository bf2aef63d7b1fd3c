//! Rendered documents as an API server would judge them, by the schemas of Istio 1.30.3 with their
//! rules in CEL; and Istio's own valid and invalid documents, so that the judge can be believed.

#[path = "schemas/check.rs"]
mod check;
#[path = "schemas/yaml.rs"]
mod yaml;

use std::fs;
use std::path::{Path, PathBuf};

use outrigger_core::{Instance, InstanceId, ServiceName};
use outrigger_mesh::{Document, Fleet, Options, Target, render};
use outrigger_policy::{Format, Policy};
use serde_json::{Value, json};

/// Kinds whose `spec` must be there.
const WANT_SPEC: [&str; 4] = ["ServiceEntry", "WasmPlugin", "WorkloadEntry", "WorkloadGroup"];

fn data(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// What an API server that knows Istio's kinds says of a resource.
fn judged(kinds: &Value, document: &Value) -> Vec<String> {
    let kind = document["kind"].as_str().unwrap_or_default();
    let version = &document["apiVersion"];
    let has = |one: &&Value| one["versions"].as_array().is_some_and(|all| all.contains(version));
    let Some(schema) = kinds[kind].as_array().and_then(|all| all.iter().find(has)) else {
        return vec![format!("no matches for kind {kind} in version {version}")];
    };
    let mut found = Vec::new();
    for name in document.as_object().into_iter().flat_map(|map| map.keys()) {
        if !["apiVersion", "kind", "metadata", "spec", "_err"].contains(&name.as_str()) {
            found.push(format!("{name}: unknown field"));
        }
    }
    match document.get("spec") {
        Some(spec) => found.extend(check::check(&schema["schema"]["spec"], spec, "spec")),
        None if WANT_SPEC.contains(&kind) => found.push("spec: Required value".to_owned()),
        None => {}
    }
    found
}

#[test]
fn the_documents_of_istio_are_judged_as_they_are_named() {
    let kinds = data("istio-1.30.3-crds.json");
    let cases = data("istio-api-1.30.3-testdata.json");
    let (mut valid, mut invalid, mut wrong) = (0, 0, Vec::new());
    for case in cases.as_array().expect("cases") {
        let document = &case["document"];
        let name = format!("{} {}", case["file"], document["metadata"]["name"]);
        let found = judged(&kinds, document);
        match document["_err"].as_str() {
            None if found.is_empty() => valid += 1,
            None => wrong.push(format!("{name} is valid, and it was said: {found:#?}")),
            Some(wanted) => {
                // The one error that is worded by the evaluator of CEL and not by the schema.
                let is_of_go = wanted == "type conversion error from";
                let wanted = if is_of_go { "no such value" } else { wanted };
                if found.iter().any(|error| error.contains(wanted)) {
                    invalid += 1;
                } else {
                    wrong.push(format!("{name} must say {wanted:?}, and it was said: {found:#?}"));
                }
            }
        }
    }
    println!("{valid} valid and {invalid} invalid documents of Istio");
    assert!(wrong.is_empty(), "{} are judged otherwise:\n{}", wrong.len(), wrong.join("\n"));
    assert!(valid >= 31 && invalid >= 76, "{valid} valid, {invalid} invalid");
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies")
}

/// The examples rendered for Istio, with two instances each.
fn rendered() -> Vec<Document> {
    let mut all = Vec::new();
    for name in ["inventory", "orders", "pricing", "storefront", "tour"] {
        let file = format!("{name}.yaml");
        let text = fs::read_to_string(examples().join(&file)).expect("an example");
        let parsed = Policy::parse(&file, &text, Format::Yaml).expect("it holds");
        let service = parsed.policy.service.clone().expect("a service");
        let instances = vec![instance(&service, 1), instance(&service, 2)];
        let fleet = Fleet::default().with(service, instances);
        let mut options = Options::default();
        options.namespace = Some("shop".to_owned());
        all.extend(render(Target::Istio, &[parsed], &fleet, &options).expect("renders"));
    }
    all
}

fn instance(service: &ServiceName, number: u8) -> Instance {
    let id = InstanceId::new(&format!("{service}-{number}")).expect("an id");
    let address = std::net::SocketAddr::from(([10, 0, 0, number], 8080));
    Instance::new(id, service.clone(), address)
}

#[test]
fn every_rendered_document_is_valid() {
    let kinds = data("istio-1.30.3-crds.json");
    let documents = rendered();
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for document in &documents {
        let value = yaml::read(&document.text);
        let found = judged(&kinds, &value);
        assert!(found.is_empty(), "{}: {found:#?}\n{}", document.path, document.text);
        *seen.entry(value["kind"].as_str().expect("a kind").to_owned()).or_default() += 1;
    }
    println!("{} documents: {seen:?}", documents.len());
    for kind in ["VirtualService", "DestinationRule", "ServiceEntry", "WorkloadEntry", "Sidecar"] {
        assert!(seen.contains_key(kind), "{kind} is not among {seen:?}");
    }
}

#[test]
fn a_field_that_nobody_knows_is_an_error_wherever_it_stands() {
    let kinds = data("istio-1.30.3-crds.json");
    let documents = rendered();
    let document = documents.iter().find(|one| one.path.ends_with(".virtualservice.yaml"));
    let value = yaml::read(&document.expect("a VirtualService").text);
    for (place, field) in [("/spec", "host"), ("/spec/http/0", "timeouts"), ("", "status2")] {
        let mut broken = value.clone();
        broken.pointer_mut(place).expect("a place")[field] = json!("x");
        let found = judged(&kinds, &broken);
        let name = format!("{field}: unknown field");
        assert!(found.iter().any(|error| error.ends_with(&name)), "{place}: {found:?}");
    }
}
