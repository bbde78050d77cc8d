//! The outputs of a run: what takes the transactions of all workers.

use std::sync::Arc;

use super::run::Config;
use super::shared::Shared;
use crate::export::Origin;
use crate::export::chunk::ChunkSender;
use crate::export::consumer::Output;
use crate::export::log::LogOutput;
use crate::export::metrics::Metrics;
use crate::stream::InterfaceNames;

/// Every output that is asked for, in the order in which each takes a transaction. The log comes last, since it alone may
/// wait: whoever sees a line finds its transaction in the metrics.
pub(super) fn outputs(
    config: &Config,
    interfaces: &InterfaceNames,
    shared: &Shared,
    metrics: Option<&Arc<Metrics>>,
    chunks: ChunkSender,
) -> Vec<Box<dyn Output>> {
    let mut outputs: Vec<Box<dyn Output>> = Vec::new();
    if let Some(metrics) = metrics {
        outputs.push(Box::new(Arc::clone(metrics)));
    }
    if config.summary {
        outputs.push(Box::new(shared.summary.clone()));
    }
    let origin = Origin { interfaces: interfaces.clone(), sensor: config.settings.sensor.clone() };
    let (format, selection) = (config.format, config.selection.clone());
    outputs.push(Box::new(LogOutput { format, origin, selection, chunks }));
    outputs
}
