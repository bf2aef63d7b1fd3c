//! Who leads: always this agent, the only one.

use super::{Call, Outcome};
use crate::reply::Reply;
use crate::request::check_datacenter;

impl Call {
    pub(super) fn status_leader(&self) -> Outcome {
        check_datacenter(&self.request.query, &self.identity().datacenter)?;
        Ok(Reply::json(&self.server()))
    }

    pub(super) fn status_peers(&self) -> Outcome {
        check_datacenter(&self.request.query, &self.identity().datacenter)?;
        Ok(Reply::json(&[self.server()]))
    }

    fn server(&self) -> String {
        format!("127.0.0.1:{}", self.identity().server_port)
    }
}
