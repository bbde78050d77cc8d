//! The daemon's edges and the files it is deployed with, tried against the kernel and the tools that read them.

mod dependencies;
mod documentation;
mod empty_root;
mod files;
mod helm;
mod live;
mod privileges;
#[path = "../support/tool.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test crate uses its part of what is shared")]
mod tool;
