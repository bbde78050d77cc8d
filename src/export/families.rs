//! Families of counters as the Prometheus library's own structures, which it sorts and writes.

use prometheus::core::Desc;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::counters::{Kind, Tally};

/// Every family of a tally.
#[must_use]
pub fn metric_families(tally: &Tally) -> Vec<MetricFamily> {
    let families = tally.families().iter().map(|(family, counts)| {
        let kind = if family.kind == Kind::Gauge { MetricType::GAUGE } else { MetricType::COUNTER };
        let unit = if family.kind == Kind::Seconds { 1e9 } else { 1.0 };
        let values = counts.iter().map(|(value, count)| {
            let labels = if family.label.is_empty() { vec![] } else { vec![(family.label, value.as_str())] };
            // Exact up to 2^53.
            (labels, *count as f64 / unit)
        });
        self::family(family.name, family.help, kind, values)
    });
    families.collect()
}

/// A gauge that is always 1: what it says is in its labels. `all`: the labels of each thing that it describes.
#[must_use]
pub fn info((name, help): (&str, &str), all: &[&[(&str, &str)]]) -> MetricFamily {
    family(name, help, MetricType::GAUGE, all.iter().map(|labels| (labels.to_vec(), 1.0)))
}

/// A family of one value without a label.
#[must_use]
pub fn plain(name: &str, help: &str, kind: MetricType, value: f64) -> MetricFamily {
    family(name, help, kind, [(vec![], value)])
}

fn family<'a>(
    name: &str,
    help: &str,
    kind: MetricType,
    values: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
) -> MetricFamily {
    let metric = |(labels, value): (Vec<(&str, &str)>, f64)| {
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut metric = Metric::from_label(labels.into_iter().map(pair).collect());
        if kind == MetricType::GAUGE {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        } else {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        metric
    };
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(values.into_iter().map(metric).collect());
    family
}

/// Descriptions of families, as a registry wants them of whoever collects these.
#[must_use]
pub fn descriptions(families: &[MetricFamily]) -> Vec<Desc> {
    let description = |family: &MetricFamily| {
        let labels = family
            .get_metric()
            .first()
            .map(|metric| metric.get_label().iter().map(|label| label.name().to_owned()).collect::<Vec<_>>());
        let (name, help) = (family.name().to_owned(), family.help().to_owned());
        Desc::new(name, help, labels.unwrap_or_default(), std::collections::HashMap::new())
    };
    families.iter().filter_map(|family| description(family).ok()).collect()
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;
    use crate::counters::{PAYLOAD, families};

    families! {
        WAITED = Seconds "waited_seconds_total" [] "waited", "Waited.";
        QUEUED = Gauge "queued" ["queue"] "queued", "Queued \\ here.";
    }

    #[test]
    fn a_tally_is_written_as_prometheus_reads_it() {
        let mut tally = Tally::default();
        tally.add(&WAITED, "", 1_500_000_000);
        tally.add(&QUEUED, "a\"b\nc", 1 << 53);
        tally.add(&PAYLOAD, "parsed", 3);
        let mut families = metric_families(&tally);
        families.push(info(("it_info", "It."), &[&[("version", "1")], &[("version", "2")]]));
        assert_eq!(descriptions(&families).len(), 4, "each name is one that Prometheus takes");
        let wanted = concat!(
            "# HELP waited_seconds_total Waited.\n# TYPE waited_seconds_total counter\nwaited_seconds_total 1.5\n",
            "# HELP queued Queued \\\\ here.\n# TYPE queued gauge\nqueued{queue=\"a\\\"b\\nc\"} 9007199254740992\n",
            "# HELP picotap_payload_bytes_total TCP payload bytes, by what became of them.\n",
            "# TYPE picotap_payload_bytes_total counter\npicotap_payload_bytes_total{account=\"parsed\"} 3\n",
            "# HELP it_info It.\n# TYPE it_info gauge\nit_info{version=\"1\"} 1\nit_info{version=\"2\"} 1\n",
        );
        assert_eq!(TextEncoder::new().encode_to_string(&families).unwrap(), wanted);
    }
}
