//! Families as Prometheus text 0.0.4 and as OpenMetrics 1.0. The formats differ in the family names of counters, in escaping and in the
//! end.

use std::fmt::Write as _;

use pharos_model::catalogue::metrics::{MetricKind, MetricSpec, Metrics};
use pharos_model::snapshot::Family;
use pharos_model::subject::Label;

/// The two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// Chooses the format that the client prefers (RFC 9110, 12.5.1). OpenMetrics is chosen only if the client names it. A client that
    /// refuses both gets the older format, since an answer helps more than an error.
    pub fn from_accept<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let ranges: Vec<Range> = accept.flat_map(|value| value.split(',')).map(Range::parse).collect();
        let named = ranges.iter().filter(|range| range.is_open_metrics()).map(|range| range.quality).reduce(f64::max);
        let text = ["text/plain", "text/*", "*/*"].iter().find_map(|media| {
            let fitting = ranges.iter().filter(|range| range.media.eq_ignore_ascii_case(media));
            fitting.map(|range| range.quality).reduce(f64::max)
        });
        match named {
            Some(quality) if quality > 0.0 && quality >= text.unwrap_or(0.0) => Self::OpenMetrics,
            _ => Self::Text,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A media type of an `Accept` header.
struct Range<'a> {
    media: &'a str,
    version: Option<&'a str>,
    quality: f64,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { media: parts.next().unwrap_or_default(), version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => range.quality = value.trim().parse().unwrap_or(0.0),
                "version" => range.version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        range
    }

    /// Whether the media type is OpenMetrics, in the version that is written here or in one without a difference that matters here.
    fn is_open_metrics(&self) -> bool {
        self.media.eq_ignore_ascii_case("application/openmetrics-text") && matches!(self.version, None | Some("1.0.0" | "0.0.1"))
    }
}

/// Writes `# HELP` and `# TYPE` of a metric.
pub(super) fn head(out: &mut String, metric: &str, spec: &MetricSpec, format: Format) {
    let kind = match spec.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
    };
    let family = match format {
        Format::Text => metric,
        Format::OpenMetrics => metric.strip_suffix("_total").unwrap_or(metric),
    };
    let help = spec.help.replace('\\', "\\\\").replace('\n', "\\n");
    // OpenMetrics escapes quotes in help texts; the older text format does not.
    let help = if format == Format::OpenMetrics { help.replace('"', "\\\"") } else { help };
    let _ = writeln!(out, "# HELP {family} {help}\n# TYPE {family} {kind}");
}

/// Writes the lines of a family's series, with the labels of the subject first. Both formats have equal lines.
pub(super) fn lines(out: &mut String, subject: &[Label], family: &Family) {
    let mut prefix = String::new();
    for label in subject {
        push_label(&mut prefix, &label.name, &label.value);
    }
    for (row, value) in family.values.iter().enumerate() {
        out.push_str(&family.metric);
        if !prefix.is_empty() || !family.labels.is_empty() {
            out.push('{');
            out.push_str(&prefix);
            for label in &family.labels {
                push_label(out, &label.name, label.values.text(row).unwrap_or_default());
            }
            // Every label ends with a comma, so the last comma is removed.
            out.pop();
            out.push('}');
        }
        let _ = writeln!(out, " {}", Number(*value));
    }
}

fn push_label(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str("=\"");
    // Nearly every value needs no escaping, so a scan for the three escaped bytes is cheaper than checking each character.
    if value.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        for char in value.chars() {
            match char {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                char => out.push(char),
            }
        }
    } else {
        out.push_str(value);
    }
    out.push_str("\",");
}

/// A value as both formats write it.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value == f64::INFINITY => f.write_str("+Inf"),
            value if value == f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

/// The catalogue in the order in which metrics are shown.
pub(super) fn catalogue() -> impl Iterator<Item = (&'static str, &'static MetricSpec)> {
    Metrics::shipped().iter()
}
