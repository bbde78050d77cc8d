//! The pipeline joins the parts: threads, the channels between them, clocks and signals.
//!
//! One capture thread reads frames and fills slots; each worker owns a sandbox and turns slots into lines; the export
//! thread writes them. All channels are bounded. From a file a full one blocks; live, it drops and counts.

pub mod capture;
pub mod export;
pub mod ledger;
pub mod polled;
pub mod privileges;
pub mod quarantine;
pub mod replay;
pub mod run;
pub mod shutdown;
pub mod worker;

pub use run::{Config, Failure, Report, run};
