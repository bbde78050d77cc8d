#![expect(clippy::print_stdout, reason = "a command line tool")]
//! Writes the guest modules of the build to a directory, as .wasm and as text (.wat): `guest DIRECTORY`.

use anyhow::{Context, Result};
use std::{env, fs, path::Path};

fn main() -> Result<()> {
    let directory = env::args_os().nth(1).context("usage: guest DIRECTORY")?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let built = Path::new(env!("OUT_DIR"));
    for entry in fs::read_dir(built).with_context(|| built.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let module = fs::read(&path).with_context(|| path.display().to_string())?;
        let text = wasmprinter::print_bytes(&module).with_context(|| path.display().to_string())?;
        let target = directory.join(path.file_name().context("a module without a name")?);
        fs::write(&target, &module).with_context(|| target.display().to_string())?;
        fs::write(target.with_extension("wat"), &text).with_context(|| target.display().to_string())?;
        println!("{} ({} bytes) and .wat ({} lines)", target.display(), module.len(), text.lines().count());
    }
    Ok(())
}
