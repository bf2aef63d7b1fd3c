//! Other languages' clients of Consul, Prometheus, Traefik and fabio read what we register.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::stage::Stage;

impl Stage {
    /// Go's, Python's and Node's client find both instances of pricing, healthy, with zone and version.
    pub(crate) fn other_clients_read_what_a_sidecar_registers(&self) {
        let Some(folder) = readers() else {
            assert!(!crate::stage::is_ci(), "the readers are missing: .ci/install readers");
            eprintln!("SKIPPED other languages' clients: .ci/install readers");
            return;
        };
        let mut expected: Vec<_> =
            self.fleet.of("pricing").map(|instance| instance.address.port()).collect();
        expected.sort_unstable();
        let go = Command::new(folder.join("go/reader"));
        let mut python = Command::new("python3");
        python.arg(folder.join("read.py")).env("PYTHONPATH", folder.join("python"));
        let mut node = Command::new("node");
        node.arg(folder.join("read.js"));
        for (client, mut command) in [("Go's", go), ("py-consul", python), ("npm's", node)] {
            let told = command.arg("pricing").env("CONSUL_HTTP_ADDR", self.consul.url()).output();
            let told = told.unwrap_or_else(|error| panic!("{client} client: {error}"));
            let errors = String::from_utf8_lossy(&told.stderr);
            let found: Value = serde_json::from_slice(&told.stdout)
                .unwrap_or_else(|error| panic!("{client} client: {error}: {errors}"));
            let found: Vec<_> = found.as_array().into_iter().flatten().collect();
            let mut ports: Vec<_> = found.iter().filter_map(|one| one["port"].as_u64()).collect();
            ports.sort_unstable();
            let wanted: Vec<_> = expected.iter().copied().map(u64::from).collect();
            assert_eq!(ports, wanted, "{client} client finds both");
            for one in found {
                assert_eq!(one["address"], "127.0.0.1", "{client} client");
                assert_eq!(one["status"], "passing", "{client} client");
                assert_eq!((&one["zone"], &one["version"]), (&"here".into(), &"0.1.0".into()));
                let tags: Vec<_> = one["tags"].as_array().into_iter().flatten().collect();
                assert!(tags.iter().any(|tag| **tag == "python"), "{client} client: {tags:?}");
            }
        }
        println!("Go's client, py-consul and npm's consul read both instances of pricing");
        self.prometheus_traefik_and_fabio_read_them_too(&folder);
    }

    /// Prometheus by its own `consul_sd`, Traefik's tags by its own parser. fabio cannot be had from
    /// the module proxy: its tag is read as its documentation has it.
    fn prometheus_traefik_and_fabio_read_them_too(&self, folder: &Path) {
        let mut reader = Command::new(folder.join("others/reader"));
        let told = reader.arg("pricing").env("CONSUL_HTTP_ADDR", self.consul.url()).output();
        let told = told.unwrap_or_else(|error| panic!("the reader: {error}"));
        let errors = String::from_utf8_lossy(&told.stderr);
        let found: Value = serde_json::from_slice(&told.stdout)
            .unwrap_or_else(|error| panic!("the reader: {error}: {errors}"));
        let targets: Vec<_> = found["targets"].as_array().into_iter().flatten().collect();
        assert_eq!(targets.len(), 2, "Prometheus finds both: {found:#}");
        for target in &targets {
            let address = target["__address__"].as_str().unwrap_or_default();
            let mut known = self.fleet.of("pricing").map(|instance| instance.address.to_string());
            assert!(known.any(|known| known == address), "{target:#}");
            assert_eq!(target["__meta_consul_health"], "passing", "{target:#}");
            assert_eq!(target["__meta_consul_service_metadata_zone"], "here", "{target:#}");
            assert_eq!(target["__meta_consul_service_metadata_version"], "0.1.0", "{target:#}");
            let tags = target["__meta_consul_tags"].as_str().unwrap_or_default();
            assert!(tags.contains(",python,"), "as its relabelling expects a tag: {tags}");
            // `urlprefix-HOST/PATH OPTION=VALUE…`, one route a tag.
            let fabio = tags.split(',').find_map(|tag| tag.strip_prefix("urlprefix-"));
            let (route, options) = fabio.and_then(|tag| tag.split_once(' ')).unwrap_or_default();
            assert_eq!((route, options), ("pricing.example/", "strip=/pricing"), "{tags}");
        }
        for routed in found["routed"].as_array().into_iter().flatten() {
            assert_eq!(routed["enable"], true, "{routed:#}");
            let rule = &routed["http"]["routers"]["pricing"]["rule"];
            assert_eq!(rule, "Host(`pricing.example`) && PathPrefix(`/`)", "{routed:#}");
        }
        println!(
            "Prometheus' consul_sd finds both, Traefik's parser and fabio's grammar their tags"
        );
    }

    /// Billing alone, without a sidecar, finds them by Spring Cloud LoadBalancer.
    pub(crate) fn spring_finds_what_a_sidecar_registers(&self) {
        let Some(alone) = self.fleet.alone("java", &[]).expect("it starts") else { return };
        let answer = alone.ask("/ask/pricing");
        let told = answer.json().unwrap_or_default();
        let mut ids = self.fleet.of("pricing").map(|instance| instance.id.as_str());
        assert!(ids.any(|id| told["answered_by"] == id), "{answer}");
        println!("Spring Cloud LoadBalancer finds an instance that a sidecar registered: {answer}");
    }
}

/// Where they were built.
fn readers() -> Option<PathBuf> {
    outrigger_e2e::polyglot::installed("OUTRIGGER_READERS").map(PathBuf::from)
}
