//! `picotap probes check`: what probes can do on this machine.

use std::io::{self, Write};

use super::{ProbeError, Probes, Scope, Target};

/// Writes what the kernel takes, what would be probed, and what cannot be read. Whether anything can be probed.
///
/// # Errors
/// What is to be looked at cannot be, or nothing can be written.
pub fn check(scope: &Scope, out: &mut impl Write) -> Result<io::Result<bool>, ProbeError> {
    let survey = scope.survey()?;
    let probes = Probes::load();
    Ok(report(&survey, probes, out))
}

fn report(survey: &super::Survey, probes: Result<Probes, ProbeError>, out: &mut impl Write) -> io::Result<bool> {
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
    for target in &survey.targets {
        let Target { path, processes, .. } = target;
        let libraries: Vec<String> = target.libraries().map(|library| library.to_string()).collect();
        write!(out, "probe    {}: {}, {processes} processes", path.display(), libraries.join(" and "))?;
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
    for (library, (processes, path)) in &survey.unread {
        writeln!(out, "dark     {library}: {processes} processes, such as with {}", path.display())?;
    }
    for (path, error) in &survey.failed {
        writeln!(out, "failed   {}: cannot be looked at: {error}", path.display())?;
    }
    if survey.hidden > 0 {
        writeln!(out, "hidden   {} processes cannot be looked at without root", survey.hidden)?;
    }
    if survey.partial {
        writeln!(out, "partial  there are more processes or files than are looked at")?;
    }
    if survey.targets.is_empty() {
        writeln!(out, "nothing  no process runs OpenSSL 3 or Go's crypto/tls with symbols")?;
    }
    Ok(able > 0)
}
