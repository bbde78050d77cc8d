//! The outputs of a run: what takes the transactions of all workers.

use std::sync::Arc;

use super::run::{Arrangement, Config};
use super::shared::Shared;
use crate::export::Origin;
use crate::export::chunk::ChunkSender;
use crate::export::consumer::{Consumer, Output};
use crate::export::log::LogOutput;
use crate::export::metrics::Metrics;
use crate::export::sorted::SortedOutput;
use crate::http::Transaction;
use crate::stream::InterfaceNames;
use crate::view::View;
use crate::view::ranked::RankedOutput;

/// Every output that is asked for, in the order in which each takes a transaction. The log comes last, since it alone may
/// wait: whoever sees a line finds its transaction in the metrics.
pub(super) fn outputs(
    config: &Config,
    interfaces: &InterfaceNames,
    shared: &Shared,
    metrics: Option<&Arc<Metrics>>,
    view: Option<&Arc<View>>,
    chunks: ChunkSender,
) -> Vec<Box<dyn Output>> {
    let mut outputs: Vec<Box<dyn Output>> = Vec::new();
    if let Some(metrics) = metrics {
        outputs.push(Box::new(Arc::clone(metrics)));
    }
    if let Some(view) = view {
        outputs.push(Box::new(Arc::clone(view)));
    }
    if config.summary {
        outputs.push(Box::new(shared.summary.clone()));
    }
    let origin = Origin { interfaces: interfaces.clone(), sensor: config.settings.sensor.clone() };
    let (format, subject, selection) = (config.format, config.subject, config.selection.clone());
    let (terminal, columns) = (config.terminal.clone(), config.columns.clone());
    let interfaces = interfaces.clone();
    if !config.lines {
        outputs.push(Box::new(NoLog(chunks)));
        return outputs;
    }
    if let Some(Arrangement::Ranked(ranking)) = &config.arrangement {
        outputs.push(Box::new(RankedOutput::new(ranking.clone(), selection, interfaces, chunks)));
        return outputs;
    }
    let log = LogOutput { format, subject, terminal, columns, origin, selection, chunks };
    match &config.arrangement {
        Some(Arrangement::Sorted(order, limit)) => {
            let left_out = Arc::clone(&shared.left_out);
            outputs.push(Box::new(SortedOutput::new(log, order.clone(), *limit, config.workers, left_out)));
        }
        _ => outputs.push(Box::new(log)),
    }
    outputs
}

/// Takes the place of the log where there is none: the export thread waits for lines as long as somebody may send them.
struct NoLog(ChunkSender);

impl Output for NoLog {
    fn consumer(&self) -> Box<dyn Consumer> {
        Box::new(Self(self.0.clone()))
    }
}

impl Consumer for NoLog {
    fn transaction(&mut self, _: &Transaction) {}
}
