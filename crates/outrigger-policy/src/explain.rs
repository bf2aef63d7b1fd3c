//! Where each value comes from, and what becomes of one request.

mod request;

pub use request::{RequestExplanation, RequestSample, SampleError, Skipped, Step};

use std::fmt;

use serde::Serialize;

use crate::effective::{Effective, Origin, Writer};
use crate::fields::{POLICY, ROUTE};
use crate::read::Parsed;
use crate::tree::Node;
use crate::view::{View, first_items};

/// Every value that holds under a policy, with where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The policy's name and version.
    pub policy: String,
    /// What concerns the service as a whole.
    pub service: Vec<Effective>,
    /// The routes in their order; the last is `default`.
    pub routes: Vec<RouteExplanation>,
    /// What the service itself reads.
    pub inbound: Vec<Effective>,
    /// Sections that are checked, and not obeyed yet; with their places.
    pub waiting: Vec<String>,
}

/// Every value that holds for a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RouteExplanation {
    /// Its name.
    pub name: String,
    /// The values.
    pub values: Vec<Effective>,
}

/// Keys of the top level that routes may override.
const INHERITED: [&str; 5] = ["timeout", "idle_timeout", "retry", "hedge", "breaker"];

impl Parsed {
    /// Every value that holds, with where it comes from.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let top = View::of(&self.tree);
        let is_of_service = |key: &str| {
            !INHERITED.contains(&key)
                && !["version", "routes", "inbound", "telemetry"].contains(&key)
        };
        let mut service = self.writer(None);
        for field in POLICY.fields.iter().filter(|field| is_of_service(field.key)) {
            service.field(field, &top, "");
        }
        // What is hashed is told with each route.
        service.lines.retain(|line| line.key != "balance.hash_on");
        let items = self.tree.get("routes").map(first_items).unwrap_or_default();
        let mut routes: Vec<_> = items
            .iter()
            .zip(&self.policy.routes)
            .map(|(item, route)| RouteExplanation {
                name: route.name.to_string(),
                values: self.route(item),
            })
            .collect();
        routes.push(RouteExplanation { name: "default".to_owned(), values: self.default_route() });
        let mut inbound = self.writer(None);
        for key in ["inbound", "telemetry"] {
            if let Some(field) = POLICY.field(key) {
                inbound.field(field, &top, "");
            }
        }
        let name = self.policy.service.as_ref().map_or("_default", |name| name.as_str());
        Explanation {
            policy: format!("{name} {} ({})", self.version, self.name()),
            service: service.lines,
            routes,
            inbound: inbound.lines,
            waiting: self.waiting(),
        }
    }

    /// What is read and cannot be obeyed by this version.
    fn waiting(&self) -> Vec<String> {
        let at = |node: &Node| self.source().place(node.span);
        let mesh = self.tree.get("mesh").map(|mesh| {
            format!("{}: `mesh` waits for the detection of meshes; instances are called", at(mesh))
        });
        let authorize = self.tree.get("inbound").and_then(|inbound| inbound.get("authorize"));
        let authorize = authorize.map(|authorize| {
            format!(
                "{}: `inbound.authorize` waits for identities; the service refuses a policy that \
                 enforces it",
                at(authorize)
            )
        });
        mesh.into_iter().chain(authorize).collect()
    }

    fn writer(&self, own: Option<(usize, usize)>) -> Writer<'_> {
        Writer { source: self.source(), own, lines: Vec::new() }
    }

    /// What holds in a route.
    fn route(&self, item: &Node) -> Vec<Effective> {
        let mut writer = self.writer(Some((item.span.start, item.span.end)));
        let own = View::of(item);
        let both = own.clone().under(&self.tree);
        for field in ROUTE.fields {
            match field.key {
                "name" | "balance" => {}
                // Told as the whole section, so that the budget stands there as well.
                key if INHERITED.contains(&key) => {
                    if let Some(field) = POLICY.field(key) {
                        writer.field(field, &both, "");
                    }
                }
                "split" | "sticky" | "mirror" | "fault" | "headers"
                    if item.get(field.key).is_none() => {}
                _ => writer.field(field, &own, ""),
            }
        }
        // What a matcher does not look at is no value.
        writer
            .lines
            .retain(|line| !line.key.starts_with("match.") || line.origin != Origin::Default);
        self.hash_on(&mut writer, &both);
        writer.lines
    }

    fn default_route(&self) -> Vec<Effective> {
        let top = View::of(&self.tree);
        let mut writer = self.writer(None);
        for field in INHERITED.iter().filter_map(|key| POLICY.field(key)) {
            writer.field(field, &top, "");
        }
        self.hash_on(&mut writer, &top);
        writer.lines
    }

    fn hash_on(&self, writer: &mut Writer<'_>, view: &View<'_>) {
        let table = POLICY.field("balance").and_then(|field| field.kind.table());
        let field = table.and_then(|table| table.field("hash_on"));
        if let Some(field) = field
            && self.policy.balance.algorithm.is_hashing()
        {
            writer.field(field, &view.section("balance"), "balance");
        }
    }

    /// What holds in the route at a place of the plan; the last is `default`.
    pub(crate) fn route_at(&self, at: usize) -> Vec<Effective> {
        let items = self.tree.get("routes").map(first_items).unwrap_or_default();
        items.get(at).map_or_else(|| self.default_route(), |item| self.route(item))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\nservice", self.policy)?;
        table(&self.service, f)?;
        for route in &self.routes {
            writeln!(f, "\nroute {}", route.name)?;
            table(&route.values, f)?;
        }
        writeln!(f, "\nread by the service itself")?;
        table(&self.inbound, f)?;
        if !self.waiting.is_empty() {
            writeln!(f, "\nnot obeyed yet")?;
        }
        self.waiting.iter().try_for_each(|waiting| writeln!(f, "  {waiting}"))
    }
}

/// Three columns, no wider than they need.
fn table(lines: &[Effective], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let width = |text: &str| text.chars().count();
    let key = lines.iter().map(|line| width(&line.key)).max().unwrap_or(0);
    let value = lines.iter().map(|line| width(&line.value)).max().unwrap_or(0).min(48);
    for line in lines {
        let pad = value.saturating_sub(width(&line.value));
        writeln!(f, "  {:key$}  {}{:pad$}  {}", line.key, line.value, "", line.origin)?;
    }
    Ok(())
}
