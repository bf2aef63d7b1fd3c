//! User events.

use http::header::HeaderValue;

use super::{Call, INDEX, Outcome, array, mark_filtered, visible};
use crate::acl::{Access, Denied, Resource};
use crate::clock;
use crate::model::Event;
use crate::reply::{Refusal, Reply};
use crate::request::check_datacenter;
use crate::state::event::Events;

const PAYLOAD_MAX: usize = 300;

impl Call {
    pub(super) fn event_fire(&self) -> Outcome {
        let query = &self.request.query;
        check_datacenter(query, &self.identity().datacenter)?;
        let name = self.request.named("Missing name")?;
        let size = self.request.body.len();
        if size > PAYLOAD_MAX {
            return Err(Refusal::TooLarge(format!(
                "Event payload too large, received {size} bytes, max size: {PAYLOAD_MAX} bytes. \
                 User events should be kept small for efficient gossip propagation."
            )));
        }
        let filter = |key: &str| query.get(key).unwrap_or_default().to_owned();
        let event = Event {
            id: String::new(),
            name: name.to_owned(),
            payload: self.request.body.to_vec(),
            node_filter: filter("node"),
            service_filter: filter("service"),
            tag_filter: filter("tag"),
            ltime: 0,
        };
        if !event.tag_filter.is_empty() && event.service_filter.is_empty() {
            return Err(Refusal::server("Cannot provide tag filter without service filter"));
        }
        if !self.authority()?.may(Resource::Event, Access::Write, name) {
            return Err(Denied::Plain.into());
        }
        let fired = self.change(|state, _| state.fire(event));
        Ok(Reply::json(&Events::view(&fired)))
    }

    /// Waits while the newest event is still the one that the asker knows: its index says which, not
    /// how many.
    pub(super) async fn event_list(&self) -> Outcome {
        let options = self.options()?;
        let authority = self.authority()?;
        let name = self.request.query.get("name").unwrap_or_default();
        let deadline = clock::now() + options.wait;
        let mut changes = self.shared.changes();
        loop {
            changes.catch_up();
            let (views, index, hidden) = {
                let state = self.state();
                let (seen, hidden) = visible(&authority, state.events.list(name), |event| {
                    authority.may(Resource::Event, Access::Read, &event.name)
                });
                let index = Events::index(seen.last().copied());
                (seen.into_iter().map(Events::view).collect(), index, hidden)
            };
            if options.index == index
                && tokio::time::timeout_at(deadline, changes.changed()).await.is_ok()
            {
                continue;
            }
            let mut reply = mark_filtered(array(views), hidden);
            reply.set(INDEX, HeaderValue::from(index));
            return Ok(reply);
        }
    }
}
