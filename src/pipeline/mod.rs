//! The pipeline: threads, channels and the clock.

pub mod privileges;
