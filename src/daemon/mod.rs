//! The daemon is what makes the program a service: the request to stop, signals, health, the service manager, and the dropping
//! of privileges. No data goes through it, and it knows nothing of the pipeline.

pub mod health;
pub mod privileges;
pub(crate) mod sd_notify;
pub mod shutdown;
pub mod signals;
