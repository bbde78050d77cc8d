//! The pages of a run: what its HTTP endpoint answers from, once there is something to tell and before.

use std::sync::{Arc, OnceLock};

use super::clock::now;
use super::health::Health;
use super::scrape::Scrape;
use crate::export::server::Pages;

/// Pages of a run that may still be starting: health answers at once, a scrape waits until `scrape` is there.
#[must_use]
pub fn pages(health: &Arc<Health>, scrape: &Arc<OnceLock<Scrape>>) -> Pages {
    let (alive, ready) = (Arc::clone(health), Arc::clone(health));
    let (metrics, interfaces) = (Arc::clone(scrape), Arc::clone(scrape));
    let interfaces = move || interfaces.get().map(|scrape| scrape.shared.interfaces()).unwrap_or_default();
    Pages {
        metrics: Box::new(move || metrics.get().map(Scrape::text)),
        healthy: Box::new(move || alive.alive(now())),
        ready: Box::new(move || ready.ready(now(), &interfaces())),
    }
}
