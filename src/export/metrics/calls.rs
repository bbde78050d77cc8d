//! Calls of gRPC, by OpenTelemetry's conventions for RPC: how long they take, by outcome.

use std::collections::HashMap;

use prometheus::Registry;

use super::admitted::{Admission, Admitted};
use super::labels::OTHER;
use super::{SECONDS, shown_label};
use crate::export::histogram::{Histograms, LocalHistogram};
use crate::http::Transaction;
use crate::http::grpc::{is_server_error, status_name};

/// Number of an outcome that is not known.
const UNKNOWN: u8 = 254;
/// Number of a code that has no name.
const UNNAMED: u8 = 255;

/// The family, and which methods are label values.
#[derive(Debug)]
pub(super) struct Calls {
    seconds: Histograms,
    methods: Option<Admission>,
}

/// What one worker counts by itself.
#[derive(Debug, Default)]
pub(super) struct LocalCalls {
    series: HashMap<(u8, u16), LocalHistogram, foldhash::fast::RandomState>,
    methods: Admitted,
    touched: bool,
}

impl Calls {
    /// `methods`: how many may become values of the label `rpc_method`; without a number there is no such label.
    pub(super) fn new(registry: &Registry, methods: Option<usize>) -> Result<Self, prometheus::Error> {
        let mut labels = vec!["rpc_system_name", "rpc_response_status_code", "error_type"];
        if methods.is_some() {
            labels.push("rpc_method");
        }
        let seconds = Histograms::new(
            "rpc_server_call_duration_seconds",
            "Time from the first byte of a gRPC call to the last of its response.",
            &labels,
            &SECONDS,
        )?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { seconds, methods: methods.map(Admission::new) })
    }

    fn series(&self, status: u8, method: Option<&str>) -> LocalHistogram {
        let (code, error) = match status_name(status.into()) {
            Some(name) => (name, if is_server_error(status.into()) { name } else { "" }),
            None if status == UNKNOWN => ("", ""),
            None => (OTHER, OTHER),
        };
        let labels = ["grpc", code, error].into_iter().chain(method);
        self.seconds.local(&labels.collect::<Vec<_>>())
    }
}

impl LocalCalls {
    /// Counts a transaction, if it is a call of which the duration is known.
    pub(super) fn observe(&mut self, shared: &Calls, transaction: &Transaction) {
        let Some(time) = transaction.duration().filter(|_| transaction.is_grpc()) else { return };
        let status = match transaction.grpc_status() {
            None => UNKNOWN,
            Some(code) => u8::try_from(code).ok().filter(|_| status_name(code).is_some()).unwrap_or(UNNAMED),
        };
        let Self { series, methods, touched } = self;
        let admission = shared.methods.as_ref();
        let method = admission.map_or(0, |admission| methods.number(transaction.grpc_name(), admission, shown_label));
        let local = series.entry((status, method));
        local
            .or_insert_with(|| shared.series(status, admission.map(|_| methods.value(method))))
            .observe(time as f64 / 1e9);
        *touched = true;
    }

    /// Hands over what was counted since the last time.
    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.touched) {
            self.series.values_mut().for_each(LocalHistogram::flush);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::export::metrics::{LabelCaps, Metrics, Observer};
    use crate::http::Settings;
    use crate::http::test_wire::Wire;

    #[test]
    fn calls_are_counted_by_their_outcome() {
        let mut wire = Wire::new(Settings::default());
        let ask = "POST /pkg.Greeter/SayHello h2\ncontent-type: application/grpc";
        for (stream, status) in [(1, "0"), (3, "5"), (5, "13"), (7, "99"), (9, "70000")] {
            let answer = format!("h2 200\ncontent-type: application/grpc\ngrpc-status: {status}");
            wire.ask_on(stream, ask, 0).end_on(0, stream, 5, 0).answer_on(stream, &answer, 0).end_on(1, stream, 0, 0);
        }
        wire.get(1, "/pkg.Greeter/SayHello").reply(1, 200, 0);
        let lines = |routes: Option<usize>| {
            let metrics = Arc::new(Metrics::new(LabelCaps { routes, ..LabelCaps::default() }).unwrap());
            let mut observer = Observer::new(Arc::clone(&metrics));
            wire.done.iter().for_each(|transaction| observer.observe(transaction));
            observer.flush();
            let text = metrics.text().unwrap();
            let counts = text.lines().filter_map(|line| line.strip_prefix("rpc_server_call_duration_seconds_count"));
            counts.map(str::to_owned).collect::<Vec<_>>()
        };
        let without = lines(None);
        assert_eq!(without.len(), 5, "{without:?}");
        assert!(without.contains(&r#"{rpc_system_name="grpc"} 1"#.to_owned()), "{without:?}");
        let internal: Vec<_> = without.iter().filter(|line| line.contains("INTERNAL")).collect();
        assert!(internal.len() == 1 && internal[0].matches("INTERNAL").count() == 2, "{without:?}");
        let not_found: Vec<_> = without.iter().filter(|line| line.contains("NOT_FOUND")).collect();
        assert!(not_found.len() == 1 && !not_found[0].contains("error_type"), "{without:?}");
        let with = lines(Some(1));
        assert!(with.iter().all(|line| line.contains(r#"rpc_method="pkg.Greeter/SayHello""#)), "{with:?}");
    }
}
