//! User events: the last 256, under an index made from the newest one's id.

use std::collections::VecDeque;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::model::Event;

const KEPT: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Events {
    events: VecDeque<Event>,
    ltime: u64,
}

impl Events {
    /// The event as the firing client sees it, before the clock of the cluster is known.
    pub(crate) fn view(event: &Event) -> Value {
        let payload = (!event.payload.is_empty())
            .then(|| base64::engine::general_purpose::STANDARD.encode(&event.payload));
        json!({
            "ID": event.id, "Name": event.name, "Payload": payload,
            "NodeFilter": event.node_filter, "ServiceFilter": event.service_filter,
            "TagFilter": event.tag_filter, "Version": 1, "LTime": event.ltime,
        })
    }

    /// Adds an event that this agent's filters let through.
    pub(crate) fn push(&mut self, mut event: Event) {
        // Serf's clock has ticked once for the agent's own start.
        self.ltime = self.ltime.max(1) + 1;
        event.ltime = self.ltime;
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(crate) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Event> + 'a {
        self.events.iter().filter(move |event| name.is_empty() || event.name == name)
    }

    /// *Source*: Consul's documentation of events: the index is not monotonic, it stands for the
    /// newest id; its two halves are joined by exclusive or.
    pub(crate) fn index(newest: Option<&Event>) -> u64 {
        let Some(event) = newest else { return 1 };
        let id = u128::from_str_radix(&event.id.replace('-', ""), 16).unwrap_or(1);
        ((id >> 64) as u64) ^ (id as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_one_that_consul_makes_of_the_same_id() {
        let event = Event {
            id: "464f70a0-53ef-8db1-0657-19ed33a24482".to_owned(),
            name: "deploy".to_owned(),
            payload: Vec::new(),
            node_filter: String::new(),
            service_filter: String::new(),
            tag_filter: String::new(),
            ltime: 2,
        };
        assert_eq!(Events::index(Some(&event)), 4_618_557_198_917_552_435);
    }
}
