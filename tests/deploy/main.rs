//! The daemon's edges and the files it is deployed with, tried against the kernel and the tools that read them.

mod commands;
mod dependencies;
mod documentation;
mod empty_root;
mod files;
#[path = "../support/fixtures.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared with tests that use other parts of it")]
mod fixtures;
mod helm;
mod live;
mod pages;
mod privileges;
mod ring;
#[path = "../support/tool.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test crate uses its part of what is shared")]
mod tool;
