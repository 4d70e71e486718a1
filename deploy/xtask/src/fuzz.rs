//! `cargo fuzz-all`: runs the fuzz targets under libFuzzer, on stable Rust.
//!
//! The passes that libFuzzer needs are plain flags of the code generator. They hold for what is fuzzed and all it uses, but for no
//! build script, so the build names its target and has a folder of its own.

mod report;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;
use clap::Args;

use report::Report;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The same in seconds, for a quick look.
    #[arg(long, conflicts_with = "minutes")]
    seconds: Option<u64>,
    /// Only this target; may be given several times.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Put what was found into the corpora of the tree, as few inputs as reach the same code.
    #[arg(long)]
    keep: bool,
}

/// Coverage for libFuzzer: counters of edges, the places that they stand for, and the operands of comparisons.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// A corpus of the tree holds no more inputs and no more bytes than this.
const MOST_INPUTS: usize = 300;
const MOST_BYTES: u64 = 1 << 19;

/// Where everything of one target lies.
struct Folders {
    /// The corpus in the tree.
    corpus: PathBuf,
    seeds: PathBuf,
    /// What this machine has found so far.
    found: PathBuf,
    least: PathBuf,
}

/// Builds, and runs the targets one after another. Returns whether none of them has found anything.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let (root, target) = (metadata.workspace_root.into_std_path_buf(), metadata.target_directory.into_std_path_buf());
    let corpora = root.join("agent/fuzz/corpus");
    let names = chosen(&corpora, &options.target)?;
    let (folder, host) = (target.join("fuzz"), host()?);
    build(&root, &folder, &host)?;
    let program = folder.join(host).join("release/espalier-fuzz");
    let seconds = options.seconds.unwrap_or(60 * options.minutes);
    let mut reports = Vec::new();
    for name in names {
        eprintln!("── {name}: {seconds} s");
        let folders = Folders::make(&corpora, &folder, &name)?;
        seed(&program, &name, &folders)?;
        let report = fuzz(&program, &name, &folders, seconds)?;
        if options.keep && report.passed {
            keep(&program, &name, &folders)?;
        }
        reports.push(report);
    }
    eprintln!("\n{}", report::table(&reports));
    Ok(reports.iter().all(|report| report.passed))
}

/// Returns the targets to run: those that have a corpus, or the ones that are asked for.
fn chosen(corpora: &Path, wanted: &[String]) -> Result<Vec<String>> {
    let entries = fs::read_dir(corpora).with_context(|| format!("cannot read {}", corpora.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
        bail!("there is no target {unknown}; there are {}", names.join(", "));
    }
    names.retain(|name| wanted.is_empty() || wanted.contains(name));
    Ok(names)
}

fn host() -> Result<String> {
    let version = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8(version.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it runs on")
}

fn build(root: &Path, folder: &Path, host: &str) -> Result<()> {
    eprintln!("── building for libFuzzer; the first time takes minutes");
    let status = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["build", "--release", "--package", "espalier-fuzz", "--features", "libfuzzer", "--target", host])
        .arg("--target-dir")
        .arg(folder)
        .env("RUSTFLAGS", RUSTFLAGS)
        // A wrong sum or a false assumption is a finding too.
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true")
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true")
        .status();
    if !status.context("cannot start cargo")?.success() {
        bail!("the build failed");
    }
    Ok(())
}

impl Folders {
    fn make(corpora: &Path, folder: &Path, name: &str) -> Result<Self> {
        let of = |kind: &str| folder.join(kind).join(name);
        let folders = Self { corpus: corpora.join(name), seeds: of("seeds"), found: of("found"), least: of("least") };
        for stale in [&folders.seeds, &folders.least] {
            if stale.exists() {
                fs::remove_dir_all(stale).with_context(|| format!("cannot empty {}", stale.display()))?;
            }
        }
        for folder in [&folders.seeds, &folders.found, &folders.least] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(folders)
    }
}

/// Returns a command that runs one target.
fn command(program: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command.env("ESPALIER_FUZZ_TARGET", name);
    command
}

fn seed(program: &Path, name: &str, folders: &Folders) -> Result<()> {
    let status = command(program, name).env("ESPALIER_FUZZ_SEEDS", &folders.seeds).status();
    if !status.context("cannot start the target")?.success() {
        bail!("{name} has no inputs to start from");
    }
    Ok(())
}

/// Runs one target. What it says goes to a file, what counts of it into the report.
fn fuzz(program: &Path, name: &str, folders: &Folders, seconds: u64) -> Result<Report> {
    let log = folders.found.with_extension("log");
    let crashes = folders.found.with_file_name("");
    let status = command(program, name)
        .args([&folders.found, &folders.corpus, &folders.seeds])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}{name}-", crashes.display()))
        .args(["-timeout=20", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1"])
        .stderr(File::create(&log).with_context(|| format!("cannot write {}", log.display()))?)
        .status()
        .context("cannot start the target")?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let report = Report::read(name, &said, status.success());
    eprintln!("{}", report::table(std::slice::from_ref(&report)));
    if !report.passed {
        let end: Vec<_> = said.lines().rev().take(40).collect();
        end.iter().rev().for_each(|line| eprintln!("{line}"));
        eprintln!("run it again: ESPALIER_FUZZ_TARGET={name} {} FILE", program.display());
    }
    Ok(report)
}

/// Replaces a corpus of the tree by as few inputs as reach the same code, the shortest first.
fn keep(program: &Path, name: &str, folders: &Folders) -> Result<()> {
    let status = command(program, name)
        .args(["-merge=1", "-set_cover_merge=1", "-timeout=20"])
        .args([&folders.least, &folders.found, &folders.corpus, &folders.seeds])
        .stderr(File::create(folders.found.with_extension("merge.log"))?)
        .status();
    if !status.context("cannot start the target")?.success() {
        bail!("the corpus of {name} cannot be merged");
    }
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&folders.least)? {
        let entry = entry?;
        inputs.push((entry.metadata()?.len(), entry.file_name(), entry.path()));
    }
    inputs.sort();
    let (all, mut bytes) = (inputs.len(), 0);
    inputs.truncate(MOST_INPUTS);
    inputs.retain(|(length, ..)| {
        bytes += length;
        bytes <= MOST_BYTES
    });
    fs::remove_dir_all(&folders.corpus)?;
    fs::create_dir_all(&folders.corpus)?;
    for (_, file, path) in &inputs {
        fs::copy(path, folders.corpus.join(file))?;
    }
    eprintln!("{name}: {} of {all} inputs are kept", inputs.len());
    Ok(())
}
