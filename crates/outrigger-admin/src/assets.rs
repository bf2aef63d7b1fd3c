//! The page: three files in the program, and nothing from outside.

use bytes::Bytes;

pub(crate) const PAGE: Bytes = Bytes::from_static(include_bytes!("page/page.html"));
pub(crate) const SCRIPT: Bytes = Bytes::from_static(include_bytes!("page/page.js"));
pub(crate) const STYLE: Bytes = Bytes::from_static(include_bytes!("page/page.css"));
/// How the JSON looks.
pub(crate) const OPENAPI: Bytes = Bytes::from_static(include_bytes!("openapi.json"));
