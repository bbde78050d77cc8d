//! The manual: man pages of the command and its subcommands, and shell completions, all generated from the one list of
//! options.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Command;
use clap_complete::{Shell, generate_to};

/// The shells with completions, and the directory of each.
const SHELLS: [(Shell, &str); 3] = [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")];

/// The completions for a shell.
#[must_use]
pub fn completions(command: &Command, shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut command.clone(), command.get_name(), &mut out);
    out
}

/// The manual page of the command, or of one of its subcommands.
///
/// # Errors
/// There is no such subcommand.
pub fn page(command: &Command, subcommand: Option<&str>) -> io::Result<Vec<u8>> {
    let mut built = command.clone().disable_help_subcommand(true);
    built.build();
    let page = match subcommand {
        None => Some(built),
        Some(name) => built.find_subcommand(name).cloned(),
    };
    let page = page.ok_or(io::ErrorKind::NotFound)?;
    let mut out = Vec::new();
    clap_mangen::Man::new(page).render(&mut out)?;
    Ok(out)
}

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
        assert_eq!(text("man/picotap.1").into_bytes(), page(&command, None).expect("a page"));
        assert_eq!(text("man/picotap-replay.1").into_bytes(), page(&command, Some("replay")).expect("a page"));
        assert!(page(&command, Some("other")).is_err());
        assert_eq!(text("completions/fish/picotap.fish").into_bytes(), completions(&command, Shell::Fish));
        for name in ["completions/bash/picotap.bash", "completions/zsh/_picotap", "completions/fish/picotap.fish"] {
            assert!(text(name).contains("stats"), "{name}");
            assert!(files.contains(&directory.path().join(name)), "{files:?}");
        }
    }
}
