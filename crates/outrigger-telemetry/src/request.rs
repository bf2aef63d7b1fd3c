//! What the layers need to see of a request, in whichever form it is passed.

use http::{Extensions, HeaderMap, Method, Request, Uri};
use outrigger_core::{Call, Carry, Dispatch};

/// A request over HTTP that carries its context: [`Call`] and [`Dispatch`] inside our stack, a
/// plain `http::Request` under plain tower.
pub trait HttpRequest: Carry {
    /// Its method.
    fn method(&self) -> &Method;
    /// Its target.
    fn uri(&self) -> &Uri;
    /// Its headers.
    fn headers(&self) -> &HeaderMap;
    /// Its headers, to write to.
    fn headers_mut(&mut self) -> &mut HeaderMap;
    /// What else was attached to it.
    fn extensions(&self) -> &Extensions;
    /// What else was attached to it, to add to.
    fn extensions_mut(&mut self) -> &mut Extensions;
}

macro_rules! http_request {
    ($outer:ident, $($field:ident).+) => {
        impl<B> HttpRequest for $outer<Request<B>> {
            http_request!(@methods $($field).+);
        }
    };
    (@methods $($field:ident).*) => {
        fn method(&self) -> &Method {
            self.$($field).*.method()
        }
        fn uri(&self) -> &Uri {
            self.$($field).*.uri()
        }
        fn headers(&self) -> &HeaderMap {
            self.$($field).*.headers()
        }
        fn headers_mut(&mut self) -> &mut HeaderMap {
            self.$($field).*.headers_mut()
        }
        fn extensions(&self) -> &Extensions {
            self.$($field).*.extensions()
        }
        fn extensions_mut(&mut self) -> &mut Extensions {
            self.$($field).*.extensions_mut()
        }
    };
}

http_request!(Call, request);
http_request!(Dispatch, request);

impl<B> HttpRequest for Request<B> {
    fn method(&self) -> &Method {
        self.method()
    }
    fn uri(&self) -> &Uri {
        self.uri()
    }
    fn headers(&self) -> &HeaderMap {
        self.headers()
    }
    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }
    fn extensions(&self) -> &Extensions {
        self.extensions()
    }
    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }
}

/// The method as a label: one of the nine known ones or `_OTHER`.
pub(crate) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}
