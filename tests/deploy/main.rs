//! The daemon's edges and the files it is deployed with, tried against the kernel and the tools that read them.

mod files;
mod live;
mod privileges;
mod require;
