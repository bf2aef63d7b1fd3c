//! What is asked beyond consulrs's own requests, by rustify's `Endpoint`.

use rustify::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError;

/// Parameters of a question; encoded once, by rustify.
type Params = Vec<(&'static str, String)>;

/// A question that consulrs does not have, such as `/v1/health/service`, or whose answer it cannot
/// read.
///
/// Shape: `path` holds plain segments only, see `check::is_plain`.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    path: String,
    params: Params,
}

impl Read {
    pub(crate) fn new(path: String) -> Self {
        Self { path, params: Params::new() }
    }

    pub(crate) fn param(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.params.push((key, value.into()));
        self
    }

    pub(crate) fn param_if(self, key: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.param(key, value),
            None => self,
        }
    }
}

impl Endpoint for Read {
    // What comes back is read by us: consulrs's own types refuse what an agent says every day.
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        query(None, &self.params)
    }
}

/// One of consulrs's own requests with a parameter that it does not know.
#[derive(Clone, Debug)]
pub(crate) struct With<E> {
    inner: E,
    params: Params,
}

impl<E> With<E> {
    pub(crate) fn new(inner: E, key: &'static str, value: impl Into<String>) -> Self {
        Self { inner, params: vec![(key, value.into())] }
    }
}

impl<E: Endpoint> Endpoint for With<E> {
    type Response = E::Response;
    const REQUEST_BODY_TYPE: RequestType = E::REQUEST_BODY_TYPE;
    const RESPONSE_BODY_TYPE: ResponseType = E::RESPONSE_BODY_TYPE;

    fn path(&self) -> String {
        self.inner.path()
    }

    fn method(&self) -> RequestMethod {
        self.inner.method()
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        query(self.inner.query()?, &self.params)
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        self.inner.body()
    }
}

fn query(before: Option<String>, params: &Params) -> Result<Option<String>, ClientError> {
    let more = if params.is_empty() { None } else { Some(rustify::http::build_query(params)?) };
    let all: Vec<String> =
        before.into_iter().chain(more).filter(|query| !query.is_empty()).collect();
    Ok((!all.is_empty()).then(|| all.join("&")))
}

#[cfg(test)]
mod tests {
    use consulrs::api::service::requests::EnableMaintenanceRequest;

    use super::*;

    #[test]
    fn parameters_are_encoded_once_and_join_those_of_consulrs() {
        let read = Read::new("health/service/stock".into())
            .param("stale", "")
            .param("dc", "a&b c")
            .param_if("filter", None);
        let url = read.url("http://127.0.0.1:8500").expect("a URL").to_string();
        assert_eq!(url, "http://127.0.0.1:8500/health/service/stock?stale=&dc=a%26b+c");

        let request = EnableMaintenanceRequest {
            id: "stock-1".into(),
            enable: true,
            ..EnableMaintenanceRequest::default()
        };
        let with = With::new(request, "reason", "new disk & fan");
        let url = with.url("http://127.0.0.1:8500/").expect("a URL").to_string();
        assert_eq!(
            url,
            "http://127.0.0.1:8500/agent/service/maintenance/stock-1?enable=true&reason=new+disk+%26+fan"
        );
    }
}
