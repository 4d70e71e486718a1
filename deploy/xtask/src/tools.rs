//! Programs that the tests call: found, or installed with the system's package manager.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;
use cargo_metadata::camino::Utf8PathBuf;

/// A program and the Debian package that brings it.
const NEEDED: [(&str, &str); 15] = [
    ("curl", "curl"),
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("iperf3", "iperf3"),
    ("nft", "nftables"),
    ("ping", "iputils-ping"),
    ("python3", "python3"),
    ("setpriv", "util-linux"),
    ("taskset", "util-linux"),
    ("swanctl", "strongswan-swanctl"),
    ("charon-systemd", "charon-systemd"),
    ("pki", "strongswan-pki"),
    ("tshark", "tshark"),
    ("linux.uml", "user-mode-linux"),
    ("modprobe", "kmod"),
];
/// Debian packages that bring plugins of a program above, and a file of each.
const PLUGINS: [(&str, &str); 3] = [
    ("/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so", "libcharon-extra-plugins"),
    ("/usr/lib/ipsec/plugins/libstrongswan-gcm.so", "libstrongswan-standard-plugins"),
    ("/usr/lib/ipsec/plugins/libstrongswan-curve25519.so", "libstrongswan-extra-plugins"),
];

/// Programs that the demo calls.
const FOR_DEMO: [&str; 2] = ["iproute2", "iputils-ping"];

/// Installs what the tests lack. Without root it says what to install instead.
pub(crate) fn install_missing() -> Result<()> {
    install(&missing())
}

/// Installs what the demo lacks. Without root it says what to install instead.
pub(crate) fn install_for_demo() -> Result<()> {
    install(&missing().into_iter().filter(|package| FOR_DEMO.contains(package)).collect::<Vec<_>>())
}

/// Returns the root of the repository.
pub(crate) fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("deploy/xtask lies two below the root")
}

/// Builds what ships and returns the path of one of its programs.
pub(crate) fn built(program: &str) -> Result<Utf8PathBuf> {
    eprintln!("── building; the first time takes minutes");
    let built = cargo().args(["build", "--release", "--workspace"]).status();
    if !built.context("cannot start cargo")?.success() {
        bail!("the build failed");
    }
    Ok(target_folder()?.join("release").join(program))
}

/// Returns cargo, without what the cargo that started us has told of this package: build scripts that look at it would run again, and
/// all that depends on them would be built anew each time.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Returns the folder that cargo builds in.
pub(crate) fn target_folder() -> Result<Utf8PathBuf> {
    Ok(MetadataCommand::new().no_deps().exec()?.target_directory)
}

/// Tells whether this is root.
pub(crate) fn is_root() -> Result<bool> {
    let user = Command::new("id").arg("-u").output().context("cannot run id")?;
    Ok(user.stdout.trim_ascii() == b"0")
}

fn missing() -> Vec<&'static str> {
    let programs = NEEDED.iter().filter(|(program, _)| !found(program));
    let plugins = PLUGINS.iter().filter(|(file, _)| !Path::new(file).is_file());
    let venv = [("", "python3-venv")];
    let lacking = venv.iter().filter(|_| !makes_environments());
    programs.chain(plugins).chain(lacking).map(|(_, package)| *package).collect()
}

/// Tells whether Python can make virtual environments, which Debian's does with one package more.
fn makes_environments() -> bool {
    let check = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    check.is_ok_and(|output| output.status.success())
}

fn install(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root()? {
        bail!("programs are missing; run as root: apt-get update && apt-get install --yes {list}");
    }
    eprintln!("── installing {list}");
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], missing].concat())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(["--quiet"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot run apt-get; install the packages by hand")?;
    if !status.success() {
        bail!("apt-get {} failed", arguments.join(" "));
    }
    Ok(())
}

fn found(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(Into::into);
    env::split_paths(&path).chain(system).any(|folder| folder.join(program).is_file())
}
