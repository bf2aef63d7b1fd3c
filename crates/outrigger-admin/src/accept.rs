//! Which format of metrics a scraper wants.

use crate::MetricsFormat;

/// The format that an `Accept` header asks for; plain text where it does not say.
///
/// Shape: OpenMetrics where its quality is not below that of plain text, as Prometheus means it
/// (RFC 9110, section 12.5.1). A scraper that knows only other versions of it gets plain text.
pub(crate) fn metrics_format(accept: Option<&str>) -> MetricsFormat {
    let (mut open, mut text) = (0, 0);
    for range in accept.unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut quality = 1_000;
        let mut is_ours = true;
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => quality = thousandths(value),
                "version" => is_ours = value == "1.0.0",
                _ => {}
            }
        }
        match kind.as_str() {
            "application/openmetrics-text" if is_ours => open = open.max(quality),
            "text/plain" | "text/*" | "*/*" => text = text.max(quality),
            _ => {}
        }
    }
    if open > 0 && open >= text { MetricsFormat::OpenMetrics } else { MetricsFormat::Text }
}

/// A quality of 0 to 1 in thousandths; nonsense is 0.
fn thousandths(text: &str) -> u32 {
    let quality: f32 = text.parse().unwrap_or(0.0);
    // Within 0..=1000 by the clamp; NaN becomes 0.
    (quality.clamp(0.0, 1.0) * 1_000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_that_it_likes_best() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, wanted) in [
            (Some(prometheus), MetricsFormat::OpenMetrics),
            (Some("application/openmetrics-text"), MetricsFormat::OpenMetrics),
            (Some("text/plain, application/openmetrics-text;q=0.5"), MetricsFormat::Text),
            (Some("application/openmetrics-text;q=0"), MetricsFormat::Text),
            (Some("application/openmetrics-text;version=0.0.1"), MetricsFormat::Text),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), MetricsFormat::Text),
            (Some("application/openmetrics-text;q=NaN"), MetricsFormat::Text),
            (Some(";;q=,"), MetricsFormat::Text),
            (None, MetricsFormat::Text),
        ] {
            assert_eq!(metrics_format(accept), wanted, "{accept:?}");
        }
    }
}
