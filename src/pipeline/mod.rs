//! The pipeline joins the parts that data goes through: threads, and the channels between them.
//!
//! A capture thread reads frames and fills slots; each worker owns a sandbox and turns slots into lines; the export thread
//! writes them. All channels are bounded. From a file a full one blocks, or whoever fills it does the work; live, it drops and counts.

pub mod capture;
mod condition;
pub mod keep;
pub(crate) mod key_logs;
pub mod ledger;
pub mod load;
mod opened;
mod outputs;
pub mod pool;
mod probed;
pub(crate) mod processes;
mod progress;
mod quarantine;
mod reload;
pub mod replay;
pub mod run;
pub mod scrape;
pub mod shared;
mod show;
pub mod worker;
pub mod writer;

pub use crate::flow::Shard;
pub use keep::{Keep, KeepError};
pub use run::{
    Arrangement, Config, DEFAULT_FAULT_LIMIT, DEFAULT_FAULT_MS, DEFAULT_MEMORY_MIB, Failure, GuestFile, Guests,
    GuestsError, Input, Module, PageOptions, Report, ShadowModule, run, run_shown,
};
pub use show::Show;
