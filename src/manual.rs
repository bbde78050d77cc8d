//! The manual: man pages of the command and its subcommands, and shell completions, all generated from the one list of
//! options.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Command;
use clap_complete::{Shell, generate_to};

/// The shells with completions, and the directory of each.
const SHELLS: [(Shell, &str); 3] = [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")];

/// Writes `man/*.1` and `completions/{bash,zsh,fish}/*` below `directory`. Returns the files, sorted by name.
///
/// # Errors
/// A directory or file cannot be created.
pub fn write(command: &Command, directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let man = directory.join("man");
    fs::create_dir_all(&man)?;
    clap_mangen::generate_to(command.clone(), &man)?;
    for entry in fs::read_dir(&man)? {
        files.push(entry?.path());
    }
    let name = command.get_name().to_owned();
    for (shell, subdirectory) in SHELLS {
        let completions = directory.join("completions").join(subdirectory);
        fs::create_dir_all(&completions)?;
        files.push(generate_to(shell, &mut command.clone(), &name, &completions)?);
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction};

    #[test]
    fn every_option_and_subcommand_is_in_the_manual() {
        let switch = Arg::new("stats").long("stats").action(ArgAction::SetTrue).help("Print the counters at the end");
        let command =
            Command::new("picotap").arg(switch).subcommand(Command::new("replay").about("Run an event again"));
        let directory = tempfile::tempdir().expect("a directory");
        let files = write(&command, directory.path()).expect("written");
        let text = |name: &str| fs::read_to_string(directory.path().join(name)).expect(name);
        assert!(text("man/picotap.1").contains("Print the counters at the end"));
        assert!(text("man/picotap-replay.1").contains("Run an event again"));
        for name in ["completions/bash/picotap.bash", "completions/zsh/_picotap", "completions/fish/picotap.fish"] {
            assert!(text(name).contains("stats"), "{name}");
            assert!(files.contains(&directory.path().join(name)), "{files:?}");
        }
    }
}
