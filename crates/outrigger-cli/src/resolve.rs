//! `outrigger resolve`: which instances of a service a caller would get, and why not the others.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::anyhow;
use outrigger::balance::{Caller, EndpointSet, EndpointStatus, EndpointView, Members, SetOptions};
use outrigger::core::{Address, Endpoint, Snapshot};
use outrigger::discovery::{Query, Resolver};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli::look::ResolveArgs;
use crate::policy::Ended;
use crate::registry::named;
use crate::services::{PATIENCE, silent, table};
use crate::{Exit, clock, dev, print};

/// Tells what a caller would get.
pub(crate) async fn run(arguments: ResolveArgs) -> Exit {
    let told = tokio::select! {
        told = tell(&arguments) => told,
        exit = dev::interrupted() => return exit,
    };
    told.unwrap_or_else(|ended| ended.say())
}

async fn tell(arguments: &ResolveArgs) -> Result<Exit, Ended> {
    let registry = named(&arguments.registry)?;
    let mut stream = registry.consul.watch(&Query::new(arguments.name.clone()));
    let first = timeout(PATIENCE, stream.next()).await;
    let snapshot = first.ok().flatten().ok_or_else(|| silent(&registry))?;
    let addresses = addresses(&snapshot).await;

    // The very set that a caller keeps, before it has measured anything.
    let caller = Caller::new(0).with_zone(arguments.zone.as_deref().map(Into::into));
    let options = SetOptions::new(arguments.name.clone()).with_caller(caller);
    let wrong = |error: outrigger::balance::ConfigError| Ended::usage(error.into());
    let set = EndpointSet::new(options, clock::now()).map_err(wrong)?;
    let endpoints = snapshot.instances.iter().flat_map(|instance| {
        let found = match &instance.address {
            Address::Socket(address) => vec![*address],
            named => addresses.get(named).cloned().unwrap_or_default(),
        };
        found.into_iter().map(|address| Endpoint::new(Arc::clone(instance), address))
    });
    set.update(Members::new(1, endpoints.collect()), clock::now());

    let view = set.view(clock::now());
    let mut rows: Vec<Row> = view.endpoints.iter().map(Row::of).collect();
    let is_nowhere = |instance: &&Arc<outrigger::core::Instance>| {
        !view.endpoints.iter().any(|view| view.endpoint.instance().id == instance.id)
    };
    rows.extend(snapshot.instances.iter().filter(is_nowhere).map(|instance| Row {
        id: instance.id.to_string(),
        address: instance.address.to_string(),
        status: "unresolved",
        weight: 0.0,
        picked: false,
        why: Some("its name has no address here"),
        protocol: instance.protocol.as_str(),
    }));
    if arguments.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        print::result(&format!("{:#}", Value::Array(rows)));
    } else if !rows.is_empty() {
        print::result(&text(&rows));
        if view.panicking {
            print::note("so few are passing that a caller uses the critical ones too");
        }
    }
    if rows.iter().any(|row| row.picked) {
        return Ok(Exit::Done);
    }
    let name = &arguments.name;
    Err(Ended::does_not_hold(match rows.len() {
        0 => anyhow!("the registry knows no instance of `{name}`"),
        _ => anyhow!("`{name}` has no usable endpoint"),
    }))
}

/// The addresses of the instances that are registered by name.
async fn addresses(snapshot: &Snapshot) -> HashMap<Address, Vec<SocketAddr>> {
    let mut found = HashMap::new();
    for instance in snapshot.instances.iter() {
        if let Address::Name(host, port) = &instance.address {
            let looked_up = timeout(PATIENCE, tokio::net::lookup_host((&**host, *port))).await;
            let all = looked_up.ok().and_then(Result::ok).map(Iterator::collect);
            found.insert(instance.address.clone(), all.unwrap_or_default());
        }
    }
    found
}

struct Row {
    id: String,
    address: String,
    status: &'static str,
    weight: f64,
    picked: bool,
    why: Option<&'static str>,
    protocol: &'static str,
}

impl Row {
    fn of(view: &EndpointView) -> Self {
        let why = match view.status {
            _ if view.candidate => None,
            EndpointStatus::Critical => Some("critical in the registry"),
            EndpointStatus::Unweighted => Some("its operator gave it no weight"),
            _ => Some("another zone is nearer, or its aperture leaves it out"),
        };
        let instance = view.endpoint.instance();
        Self {
            id: instance.id.to_string(),
            address: view.endpoint.address().to_string(),
            status: view.status.as_str(),
            weight: view.weight,
            picked: view.candidate,
            why,
            protocol: instance.protocol.as_str(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id, "address": self.address, "protocol": self.protocol,
            "status": self.status, "weight": self.weight, "picked": self.picked, "why": self.why,
        })
    }
}

fn text(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        vec![
            row.id.clone(),
            row.address.clone(),
            row.protocol.to_owned(),
            row.status.to_owned(),
            format!("{}", (row.weight * 100.0).round() / 100.0),
            row.why.map_or_else(|| "gets requests".to_owned(), |why| format!("left out: {why}")),
        ]
    });
    table::table(&["ID", "ADDRESS", "PROTOCOL", "STATUS", "WEIGHT", ""], cells.collect())
}
