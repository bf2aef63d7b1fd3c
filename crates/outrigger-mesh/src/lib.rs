//! Policies rendered to meshes and proxies: the same rules elsewhere, with a verdict on every field.
//!
//! Pure: policies, instances and options in, files out; the same input makes the same bytes. Each
//! document says of its parts from which line of the policy they come.
//!
//! ```
//! use outrigger_mesh::{Fleet, Options, Target, render};
//! use outrigger_policy::{Format, Policy};
//!
//! let text = "version: 1\nservice: inventory\ntimeout: 3s\n";
//! let parsed = Policy::parse("inventory.yaml", text, Format::Yaml)?;
//! let documents = render(Target::Istio, &[parsed], &Fleet::default(), &Options::default())?;
//! assert_eq!(documents[0].path, "inventory.virtualservice.yaml");
//! assert!(documents[0].text.contains("timeout: 3s # inventory.yaml:3 timeout"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to … | see |
//! | --- | --- |
//! | render | [`render()`], [`Target`], [`Document`] |
//! | know what becomes of a file's fields | [`judge`], [`Judged`], [`Verdict`] |
//! | know it of every field there is | [`table`] |

mod bucket;
mod envoy;
mod istio;
mod lines;
mod render;
mod scene;
mod tries;
mod verdict;
mod yaml;

pub use render::{Document, Fleet, Options, RenderError, Target, UnknownTarget, render};
pub use verdict::{Judged, Told, Verdict, judge, table};
