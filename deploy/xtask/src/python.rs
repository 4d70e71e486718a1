//! A virtual environment with what a test needs from PyPI, at pinned versions.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::camino::Utf8PathBuf;

use crate::tools;

/// Makes the environment of this name below the target folder, unless it stands already, and returns its Python.
pub(crate) fn environment(name: &str, requirements: &Path) -> Result<Utf8PathBuf> {
    let folder = tools::target_folder()?.join(name);
    let python = folder.join("bin/python");
    // Written last: what is there with these contents is whole.
    let installed = folder.join("requirements.txt");
    let wanted = fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    if fs::read(&installed).is_ok_and(|found| found == wanted) && python.exists() {
        return Ok(python);
    }
    eprintln!("── installing {name} from PyPI");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {folder}"))?;
    }
    run(Command::new("python3").args(["-m", "venv", folder.as_str()]))?;
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let pinned = ["--require-hashes", "--no-deps", "--requirement"];
    run(Command::new(python.as_str()).args(options).args(pinned).arg(requirements))?;
    fs::write(&installed, wanted).with_context(|| format!("cannot write {installed}"))?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}
