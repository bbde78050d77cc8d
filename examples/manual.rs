//! Writes the man pages and shell completions of the Debian package: `manual DIRECTORY`.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use anyhow::{Context, Result};
use clap::CommandFactory;
use picotap::cli::Cli;
use picotap::manual;
use std::{env, path::Path};

fn main() -> Result<()> {
    let directory = env::args_os().nth(1).context("usage: manual DIRECTORY")?;
    let directory = Path::new(&directory);
    for file in manual::write(&Cli::command(), directory).with_context(|| directory.display().to_string())? {
        println!("{}", file.display());
    }
    Ok(())
}
