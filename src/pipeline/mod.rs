//! The pipeline joins the parts: threads, the channels between them, clocks and signals.
//!
//! A capture thread reads frames and fills slots; each worker owns a sandbox and turns slots into lines; the export thread
//! writes them. All channels are bounded. From a file a full one blocks; live, it drops and counts.

pub mod capture;
pub mod clock;
pub mod health;
pub mod ledger;
pub mod load;
pub mod opened;
mod outputs;
pub mod pages;
pub mod polled;
pub mod privileges;
pub mod progress;
pub mod quarantine;
pub mod reload;
pub mod replay;
pub mod run;
pub mod scrape;
pub mod sd_notify;
pub mod shared;
pub mod shutdown;
pub mod worker;
pub mod writer;

pub use run::{Config, Failure, Input, Module, Report, run};
