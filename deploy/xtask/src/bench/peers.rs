//! Fetches the programs that the data plane is compared with: each into a folder of its own below the target folder, none into the system.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::tools;

/// Where a peer's program comes from.
enum Source {
    /// A crate at a version, and its program.
    Crate { name: &'static str, version: &'static str, program: &'static str },
    /// A package of a Debian release, and its program. The release pins the version.
    Debian { release: &'static str, package: &'static str, program: &'static str },
    /// Our own agent, built with a `--cfg`.
    Agent { cfg: &'static str },
}

/// The peers that have to be fetched, by the names that `--peers` takes.
const PEERS: [(&str, Source); 5] = [
    ("gotatun", Source::Crate { name: "gotatun-cli", version: "0.10.2", program: "gotatun" }),
    ("boringtun", Source::Crate { name: "boringtun-cli", version: "0.7.1", program: "boringtun-cli" }),
    ("wireguard-go-12", Source::Debian { release: "bookworm", package: "wireguard-go", program: "wireguard-go" }),
    ("wireguard-go-trixie", Source::Debian { release: "trixie", package: "wireguard-go", program: "wireguard-go" }),
    ("null-crypto", Source::Agent { cfg: "espalier_null_crypto" }),
];
/// The file in a peer's folder that says why its program is not there.
const WHY_NOT: &str = "why-not";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Fetches the peers that the flags of a measurement name, or all. One that cannot be had is no error: the measurement says why.
pub(crate) fn fetch<'a>(flags: impl Iterator<Item = &'a str>) -> Result<()> {
    let wanted = wanted(flags);
    let root = tools::root()?;
    let target = tools::target_folder()?;
    for (peer, source) in PEERS.iter().filter(|(peer, _)| wanted.as_ref().is_none_or(|list| list.contains(peer))) {
        let folder = target.as_std_path().join("peers").join(peer);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let why_not = folder.join(WHY_NOT);
        match source.fetch(root, &folder) {
            Ok(()) if why_not.exists() => fs::remove_file(&why_not)?,
            Ok(()) => {}
            Err(error) => {
                eprintln!("── {peer} cannot be had: {error:#}");
                fs::write(&why_not, format!("{error:#}\n"))?;
            }
        }
    }
    Ok(())
}

/// Reads the peers out of `--peers a,b` or `--peers=a,b`, if they are named.
fn wanted<'a>(flags: impl Iterator<Item = &'a str>) -> Option<Vec<&'a str>> {
    let (mut named, mut follows) = (None, false);
    for flag in flags {
        let list = if follows { Some(flag) } else { flag.strip_prefix("--peers=") };
        if let Some(list) = list {
            named.get_or_insert_with(Vec::new).extend(list.split(','));
        }
        follows = flag == "--peers";
    }
    named
}

impl Source {
    fn fetch(&self, root: &Path, folder: &Path) -> Result<()> {
        match self {
            Self::Crate { name, version, program } => {
                let there = folder.join("bin").join(program);
                // The folder tells no version, so the name of a file does.
                let mark = folder.join(format!("is-{version}"));
                if there.is_file() && mark.is_file() {
                    return Ok(());
                }
                eprintln!("── building {name} {version}; this takes minutes, once");
                let mut cargo = tools::cargo();
                cargo.args(["install", "--quiet", "--locked", "--force", "--root"]).arg(folder);
                run(cargo.arg(format!("{name}@{version}")))?;
                Ok(fs::write(mark, "")?)
            }
            Self::Debian { release, package, program } => {
                if folder.join("usr/bin").join(program).is_file() {
                    return Ok(());
                }
                eprintln!("── fetching {package} of Debian {release}");
                from_debian(folder, release, package)
            }
            Self::Agent { cfg } => {
                let mut git = Command::new("git");
                git.args(["grep", "--quiet", cfg, "--", "agent/*.rs"]).current_dir(root);
                ensure!(git.status().context("cannot run git")?.success(), "the agent knows no --cfg {cfg}");
                eprintln!("── building the agent with --cfg {cfg}; the first time takes minutes");
                let mut cargo = tools::cargo();
                cargo
                    .args(["build", "--quiet", "--release", "--package", "espalier-agent", "--target-dir"])
                    .arg(folder);
                run(cargo.env("RUSTFLAGS", format!("--cfg {cfg}")).current_dir(root))
            }
        }
    }
}

/// Fetches a package of a release that need not be the system's, with sources, lists and cache of its own, and unpacks it.
fn from_debian(folder: &Path, release: &str, package: &str) -> Result<()> {
    ensure!(Path::new(KEYRING).is_file(), "{KEYRING} is missing: the package debian-archive-keyring brings it");
    let targets =
        Command::new("apt-get").args(["indextargets", "--format", "$(SITE)", "Created-By: Packages"]).output();
    let targets = String::from_utf8(targets.context("cannot run apt-get")?.stdout)?;
    let site = targets.lines().find(|site| site.trim_end_matches('/').ends_with("/debian"));
    let site = site.context("apt has no source of Debian's packages")?;
    let sources = folder.join("debian.sources");
    let text = format!("Types: deb\nURIs: {site}\nSuites: {release}\nComponents: main\nSigned-By: {KEYRING}\n");
    fs::write(&sources, text)?;
    let (lists, cache) = (folder.join("lists"), folder.join("cache"));
    fs::create_dir_all(lists.join("partial"))?;
    fs::create_dir_all(cache.join("archives/partial"))?;
    let apt = || {
        let mut command = Command::new("apt-get");
        command.arg("--quiet").arg("--quiet").current_dir(folder);
        for (option, value) in [
            ("Dir::Etc::SourceList", sources.as_path()),
            ("Dir::Etc::SourceParts", Path::new("/dev/null")),
            ("Dir::State::Lists", &lists),
            ("Dir::Cache", &cache),
            ("Dir::State::status", Path::new("/dev/null")),
            // The user to whom apt else gives up its rights need not reach this folder.
            ("APT::Sandbox::User", Path::new("root")),
        ] {
            command.arg("--option").arg(format!("{option}={}", value.display()));
        }
        command
    };
    run(apt().arg("update"))?;
    run(apt().args(["download", package]))?;
    let fetched = |entry: fs::DirEntry| Some(entry.path()).filter(|path| path.extension().is_some_and(|e| e == "deb"));
    let file = fs::read_dir(folder)?.filter_map(Result::ok).find_map(fetched);
    run(Command::new("dpkg").arg("--extract").arg(file.context("apt-get has brought no package")?).arg(folder))?;
    // The lists of a whole release are large, and serve no more.
    fs::remove_dir_all(lists)?;
    Ok(fs::remove_dir_all(cache)?)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.display().to_string()).collect();
        bail!("{program} {} failed", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_the_measurement_say_which_peers_are_wanted() {
        assert_eq!(wanted(["--rounds", "1"].into_iter()), None);
        assert_eq!(wanted(["--peers", "plain,gotatun", "--check"].into_iter()), Some(vec!["plain", "gotatun"]));
        let split = ["--peers=plain", "--peers", "boringtun"];
        assert_eq!(wanted(split.into_iter()), Some(vec!["plain", "boringtun"]));
    }
}
