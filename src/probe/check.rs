//! `picotap probes check`: what probes can do on this machine.

use std::io::{self, Write};

use super::programs::{self, Programs};
use super::survey::{Survey, Turn};
use super::{ProbeError, Scope, follow, shown};

/// Writes what the kernel takes, what would be probed, and what cannot be read. Whether anything can be probed.
///
/// # Errors
/// What is to be looked at cannot be, or nothing can be written.
pub fn check(scope: &Scope, out: &mut impl Write) -> Result<io::Result<bool>, ProbeError> {
    let mut survey = Survey::new(scope.clone());
    let turn = follow::first_turn(scope, &mut survey)?;
    let programs = programs::load().map(|(programs, _)| programs);
    Ok(report(scope, &survey, &turn, programs, out))
}

fn report(
    scope: &Scope,
    survey: &Survey,
    turn: &Turn,
    probes: Result<Programs, ProbeError>,
    out: &mut impl Write,
) -> io::Result<bool> {
    let uname = nix::sys::utsname::uname().ok();
    let release = uname.as_ref().map(|uname| uname.release().to_string_lossy());
    let release = release.as_deref().unwrap_or("of unknown release");
    let mut probes = match probes {
        Ok(probes) => {
            writeln!(out, "kernel   Linux {release}: takes probes")?;
            Some(probes)
        }
        Err(error) => {
            writeln!(out, "kernel   Linux {release}: {error}")?;
            None
        }
    };
    let mut able = 0;
    for target in &turn.found {
        let libraries: Vec<String> = target.points.iter().map(|(library, _)| library.to_string()).collect();
        let processes = survey.users(&target.identity);
        write!(out, "probe    {}: {}, {processes} processes", shown(&target.path), libraries.join(" and "))?;
        // For as long as it takes to say so.
        match probes.as_mut().map(|probes| probes.attach(target)) {
            Some(Err(ProbeError::Attach { cause, .. })) => writeln!(out, ": cannot be attached: {cause}")?,
            Some(Err(error)) => writeln!(out, ": {error}")?,
            Some(Ok(())) => {
                able += 1;
                writeln!(out)?;
            }
            None => writeln!(out)?,
        }
    }
    for (library, (processes, path)) in survey.unread() {
        writeln!(out, "dark     {library}: {processes} processes, such as with {}", shown(path))?;
    }
    for (path, error) in &turn.failed {
        writeln!(out, "failed   {}: cannot be looked at: {error}", shown(path))?;
    }
    if survey.hidden() > 0 {
        writeln!(out, "hidden   {} processes cannot be looked at: needed root, or CAP_SYS_PTRACE", survey.hidden())?;
    }
    if survey.is_partial() {
        writeln!(out, "partial  there are more processes or files than are looked at")?;
    }
    if turn.found.is_empty() {
        let which = match scope {
            Scope::Off | Scope::Auto => "no process runs".to_owned(),
            Scope::Process(process) => format!("process {process} does not run"),
            Scope::File(path) => format!("{} does not have", shown(path)),
        };
        writeln!(out, "nothing  {which} OpenSSL 3 or Go's crypto/tls")?;
    }
    Ok(able > 0)
}
