//! The page that Prometheus reads.

use std::fmt::Write;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::{BOUNDS, Buckets};
use super::{MetricInfo, MetricKind, Metrics, Sample, Series};

impl Metrics {
    /// The content type of [`Metrics::encode`].
    pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    /// The content type of [`Metrics::encode_openmetrics`].
    pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Writes all metrics in Prometheus' text format, version 0.0.4.
    ///
    /// Shape: less than [`MAX_PAGE`](super::MAX_PAGE) bytes; labels with an empty value are left
    /// out.
    pub fn encode(&self, page: &mut String) {
        write_page(page, &[(None, self)]);
    }

    /// Writes the metrics of several members of one process as one page, in Prometheus' text
    /// format: each series has the label `member` before its own.
    ///
    /// Shape: as [`Metrics::encode`], and the bound is each member's own.
    pub fn encode_members(members: &[(&str, &Self)], page: &mut String) {
        let members: Vec<_> = members.iter().map(|(name, one)| (Some(*name), *one)).collect();
        write_page(page, &members);
    }

    /// The same in the OpenMetrics format.
    pub fn encode_members_openmetrics(members: &[(&str, &Self)], page: &mut String) {
        let members: Vec<_> = members.iter().map(|(name, one)| (Some(*name), *one)).collect();
        write_openmetrics(page, &members);
    }

    /// Writes all metrics in the OpenMetrics format, version 1.0.
    ///
    /// Shape: as [`Metrics::encode`], with units and the closing `# EOF`.
    pub fn encode_openmetrics(&self, page: &mut String) {
        write_openmetrics(page, &[(None, self)]);
    }
}

/// Who measures, where there are several, and what.
type Member<'a> = (Option<&'a str>, &'a Metrics);
/// The series of one metric, of every member.
type Shared = Vec<(Option<String>, Series)>;

/// What all members tell, metric by metric.
fn families(members: &[Member<'_>]) -> Vec<(&'static MetricInfo, Shared)> {
    let mut families: Vec<(&'static MetricInfo, Shared)> = Vec::new();
    for (name, metrics) in members {
        let mut at = 0;
        // Each is visited in the order of the catalogue, and whole.
        metrics.visit(|info, series| {
            if at == families.len() {
                families.push((info, Vec::new()));
            }
            families[at].1.push((name.map(str::to_owned), series));
            at += 1;
        });
    }
    families
}

fn write_page(page: &mut String, members: &[Member<'_>]) {
    page.push_str("# HELP target_info who measures\n# TYPE target_info gauge\n");
    for (name, metrics) in members {
        let resource = metrics.resource.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let labels: Vec<_> = name.map(|name| (MEMBER, name)).into_iter().chain(resource).collect();
        write_line(page, "target_info", &labels, None, 1);
    }
    for (info, shared) in families(members) {
        write_head(page, info);
        for (member, series) in &shared {
            write_series(page, info, member.as_deref(), series);
        }
    }
}

fn write_openmetrics(page: &mut String, members: &[Member<'_>]) {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page { families: families(members) }));
    if prometheus_client::encoding::text::encode(page, &registry).is_err() {
        // Writing to a string does not fail; a bug in the encoder must not end the process.
        tracing::warn!("metrics could not be encoded");
    }
}

/// The label that tells members of one process apart.
const MEMBER: &str = "member";

fn write_head(page: &mut String, info: &MetricInfo) {
    let name = info.prometheus_name();
    let suffix = if info.kind == MetricKind::Counter { "_total" } else { "" };
    let kind = info.kind.as_str();
    let _ = writeln!(page, "# HELP {name}{suffix} {}\n# TYPE {name}{suffix} {kind}", info.help);
}

fn write_series(page: &mut String, info: &MetricInfo, member: Option<&str>, series: &Series) {
    let name = info.prometheus_name();
    for (values, sample) in series {
        let own = info.labels.iter().copied().zip(values.iter().map(String::as_str));
        let labels: Vec<_> = member.map(|name| (MEMBER, name)).into_iter().chain(own).collect();
        match sample {
            Sample::Counter(value) => {
                write_line(page, &format!("{name}_total"), &labels, None, value);
            }
            Sample::Gauge(value) => write_line(page, &name, &labels, None, value),
            Sample::Histogram(buckets) => write_histogram(page, &name, &labels, buckets),
        }
    }
}

fn write_histogram(page: &mut String, name: &str, labels: &[(&str, &str)], read: &Buckets) {
    let bucket = format!("{name}_bucket");
    let mut below = 0;
    for (bound, count) in BOUNDS.iter().zip(read.counts) {
        below += count;
        write_line(page, &bucket, labels, Some(&bound.to_string()), below);
    }
    write_line(page, &bucket, labels, Some("+Inf"), read.count());
    write_line(page, &format!("{name}_sum"), labels, None, read.sum_seconds);
    write_line(page, &format!("{name}_count"), labels, None, read.count());
}

fn write_line(
    page: &mut String,
    name: &str,
    labels: &[(&str, &str)],
    le: Option<&str>,
    value: impl std::fmt::Display,
) {
    page.push_str(name);
    let mut open = false;
    for (label, text) in labels.iter().copied().chain(le.map(|le| ("le", le))) {
        if text.is_empty() {
            continue;
        }
        page.push(if open { ',' } else { '{' });
        open = true;
        page.extend(label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
        page.push_str("=\"");
        write_escaped(page, text);
        page.push('"');
    }
    if open {
        page.push('}');
    }
    let _ = writeln!(page, " {value}");
}

fn write_escaped(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => page.push_str("\\\\"),
            '"' => page.push_str("\\\""),
            '\n' => page.push_str("\\n"),
            c => page.push(c),
        }
    }
}

/// What was read, in the form that prometheus-client encodes.
#[derive(Debug)]
struct Page {
    families: Vec<(&'static MetricInfo, Shared)>,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (info, shared) in &self.families {
            let unit = (info.unit == "s").then_some(Unit::Seconds);
            let kind = match info.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
                MetricKind::Histogram => MetricType::Histogram,
            };
            let name = info.name.replace('.', "_");
            let mut metric = encoder.encode_descriptor(&name, info.help, unit.as_ref(), kind)?;
            let of_all = shared.iter().flat_map(|(member, series)| {
                series.iter().map(move |(values, sample)| (member, values, sample))
            });
            for (member, values, sample) in of_all {
                let own = info
                    .labels
                    .iter()
                    .zip(values)
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(label, value)| (label.replace('.', "_"), value.clone()));
                let member = member.iter().map(|name| (MEMBER.to_owned(), name.clone()));
                let labels: Vec<(String, String)> = member.chain(own).collect();
                let one = metric.encode_family(&labels)?;
                match sample {
                    Sample::Counter(value) => ConstCounter::new(*value).encode(one)?,
                    Sample::Gauge(value) => ConstGauge::new(*value).encode(one)?,
                    Sample::Histogram(read) => {
                        let mut one = one;
                        let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
                        let buckets: Vec<_> = bounds.zip(read.counts).collect();
                        one.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
                            read.sum_seconds,
                            read.count(),
                            &buckets,
                            None,
                        )?;
                    }
                }
            }
        }
        Ok(())
    }
}
