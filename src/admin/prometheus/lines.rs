//! The lines of the text format.

use std::time::Duration;

use metrics::{Key, Label};
use metrics_exporter_prometheus::LabelSet;
use metrics_exporter_prometheus::formatting::{
    write_help_line, write_metric_line, write_type_line,
};

use crate::stats::HistogramCounts;

/// The range of the exported bounds, two per octave. Four, and those outside, would double the text and show nothing
/// that an operator would act on.
const SHOWN_MICROS: std::ops::RangeInclusive<u64> = 32..=1 << 24;

const NO_LABEL: Option<(&str, &str)> = None;

#[expect(
    clippy::default_trait_access,
    reason = "the type belongs to a dependency of that crate"
)]
pub(super) fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> LabelSet {
    let labels = labels.map(|(key, value)| Label::new(key, value.to_owned()));
    LabelSet::from_key_and_global(&Key::from_parts("", labels.to_vec()), &Default::default())
}

/// Writes the HELP and TYPE lines of a metric.
pub(super) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    write_help_line(out, name, None, None, help);
    write_type_line(out, name, None, None, kind);
}

/// Writes a value.
pub(super) fn line(out: &mut String, name: &str, labels: &LabelSet, value: impl std::fmt::Display) {
    write_metric_line(out, name, None, labels, NO_LABEL, value, None);
}

pub(super) fn histogram(out: &mut String, name: &str, labels: &LabelSet, counts: &HistogramCounts) {
    let mut below = 0;
    for (bound, count) in counts.buckets() {
        below += count;
        if let Some(bound) = bound.filter(|bound| is_shown(*bound)) {
            let le = Some(("le", seconds(bound)));
            write_metric_line(out, name, Some("bucket"), labels, le, below, None);
        }
    }
    let le = Some(("le", "+Inf"));
    write_metric_line(out, name, Some("bucket"), labels, le, below, None);
    let sum = seconds(counts.sum_micros());
    write_metric_line(out, name, Some("sum"), labels, NO_LABEL, sum, None);
    write_metric_line(out, name, Some("count"), labels, NO_LABEL, below, None);
}

/// Returns true if a bound is a power of two, or half an octave above one.
fn is_shown(micros: u64) -> bool {
    SHOWN_MICROS.contains(&micros) && micros.trailing_zeros() + 1 >= micros.ilog2()
}

pub(super) fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
