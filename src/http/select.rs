//! A selection says which transactions are logged.
