//! A sample is one value of one of picotap's own metrics, as the pipeline hands it over.

use std::fmt::Write;

/// What a metric's value may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grow.
    Counter,
    /// Anything.
    Gauge,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of the metric; of a counter it ends in `_total`.
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// Counter or gauge: the same for all samples of a name.
    pub kind: Kind,
    /// Label names and values; different for each sample of a name.
    pub labels: Vec<(&'static str, String)>,
    /// Value. A whole number is exact up to 2^53.
    pub value: f64,
}

impl Sample {
    /// A counter's value. From 2^53 on it is rounded, as Prometheus does.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: Kind::Counter, labels: Vec::new(), value: value as f64 }
    }

    /// A gauge's value.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: Kind::Gauge, labels: Vec::new(), value }
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}

/// Appends samples in Prometheus' text format, version 0.0.4: those of one name together, names in the order of their
/// first sample.
pub fn write(samples: &[Sample], out: &mut String) {
    let mut order: Vec<&Sample> = Vec::with_capacity(samples.len());
    let mut first: Vec<&str> = Vec::new();
    for sample in samples {
        if !first.contains(&sample.name) {
            first.push(sample.name);
        }
        order.push(sample);
    }
    let place = |name: &str| first.iter().position(|known| *known == name);
    order.sort_by_key(|sample| place(sample.name));
    let mut last = "";
    for sample in order {
        if sample.name != last {
            let kind = if sample.kind == Kind::Counter { "counter" } else { "gauge" };
            let help = sample.help.replace('\\', r"\\").replace('\n', r"\n");
            line(out, format_args!("# HELP {} {help}\n# TYPE {} {kind}\n", sample.name, sample.name));
            last = sample.name;
        }
        out.push_str(sample.name);
        for (place, (name, value)) in sample.labels.iter().enumerate() {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            line(out, format_args!("{}{name}=\"{value}\"", if place == 0 { '{' } else { ',' }));
        }
        line(out, format_args!("{} {}\n", if sample.labels.is_empty() { "" } else { "}" }, sample.value));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default(); // a String takes everything
}

/// What the kernel says of this process, under the names that Prometheus' client libraries use. `stat` and `statm` are the
/// texts of `/proc/self/stat` and `/proc/self/statm`; what cannot be read is left out.
#[must_use]
pub fn process(stat: &str, statm: &str, ticks_per_second: f64, page_bytes: f64) -> Vec<Sample> {
    // Field 2 is the program's name in brackets, which may itself hold spaces and brackets.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |number: usize| after_name.split_whitespace().nth(number.saturating_sub(3))?.parse::<f64>().ok();
    let pages = |number: usize| statm.split_whitespace().nth(number)?.parse::<f64>().ok();
    let mut samples = Vec::new();
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        let help = "Processor time used, user and system.";
        let cpu = Sample::gauge("process_cpu_seconds_total", help, (user + system) / ticks_per_second);
        samples.push(Sample { kind: Kind::Counter, ..cpu });
    }
    if let Some(threads) = field(20) {
        samples.push(Sample::gauge("process_threads", "Threads.", threads));
    }
    if let Some(resident) = pages(1) {
        samples.push(Sample::gauge("process_resident_memory_bytes", "Resident memory.", resident * page_bytes));
    }
    if let Some(virtual_pages) = pages(0) {
        let help = "Address space, most of it reserved for sandboxes and not memory.";
        samples.push(Sample::gauge("process_virtual_memory_bytes", help, virtual_pages * page_bytes));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_stand_together() {
        let samples = [
            Sample::counter("a_total", "A\\.", 1).label("x", "1"),
            Sample::gauge("b", "B.", 0.5),
            Sample::counter("a_total", "A\\.", 1 << 53).label("x", "a\"b\\c\nd").label("y", "z"),
        ];
        let mut out = String::new();
        write(&samples, &mut out);
        let wanted = concat!(
            "# HELP a_total A\\\\.\n# TYPE a_total counter\na_total{x=\"1\"} 1\n",
            "a_total{x=\"a\\\"b\\\\c\\nd\",y=\"z\"} 9007199254740992\n",
            "# HELP b B.\n# TYPE b gauge\nb 0.5\n",
        );
        assert_eq!(out, wanted);
    }

    #[test]
    fn the_kernels_numbers_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 19";
        let samples = process(stat, "100 20 3 4 5 6 7", 100.0, 4096.0);
        let found: Vec<_> = samples.iter().map(|sample| (sample.name, sample.value)).collect();
        let wanted = [
            ("process_cpu_seconds_total", 2.0),
            ("process_threads", 17.0),
            ("process_resident_memory_bytes", 81920.0),
            ("process_virtual_memory_bytes", 409_600.0),
        ];
        assert_eq!(found, wanted);
        assert!(process("", "", 100.0, 4096.0).is_empty());
    }

    #[test]
    fn this_process_can_be_read() {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap();
        assert_eq!(process(&read("stat"), &read("statm"), 100.0, 4096.0).len(), 4);
    }
}
