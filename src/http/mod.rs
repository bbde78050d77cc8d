//! A transaction is a request with its response, put together from the guest's records.

pub mod record;
