//! A Linux kernel as a process (User-Mode Linux), for what the machine's own kernel may lack: ESP and AH.
//!
//! A guest stands in the place of a host of a lab, at its wire. It has the machine's files and root's rights over them, processes of its
//! own, and one processor. All of it ends with its value; what it mounts is seen by nobody else.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::lab::{Host, Lab, UPLINK, outer};
use crate::program::{Program, output};

/// A running guest.
pub struct Guest {
    door: Mutex<Door>,
    commands: TcpStream,
    _folder: TempDir,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its exit status, as sh(1) counts.
    pub status: i32,
    /// What it wrote.
    pub output: String,
}

/// The kernel, and where it calls back: first to be given commands, then with what each of them writes.
struct Door {
    kernel: Program,
    listener: TcpListener,
}

const KERNEL: &str = "/usr/bin/linux.uml";
const MODULES: &str = "/usr/lib/uml/modules";
const INIT: &str = include_str!("guest/init.sh");
const XSTATE: &str = include_str!("guest/xstate.c");
const MEMORY: &str = "1G";
/// Time to boot, and to take a command.
const SOON: Duration = Duration::from_secs(30);
/// Time for a command to write something.
const PATIENCE: Duration = Duration::from_secs(60);
const LINES_OF_CONSOLE: usize = 30;

impl Guest {
    /// Boots a guest in the place of a host, at its addresses, and waits until it takes commands. It needs root.
    ///
    /// # Errors
    /// It does not boot; with the end of its console.
    pub fn boot(lab: &Lab, host: &Host) -> Result<Self> {
        ensure!(Path::new(KERNEL).is_file(), "{KERNEL} is missing: cargo verify installs user-mode-linux");
        take_over(lab, host)?;
        let address = SocketAddr::new(outer(Lab::GATEWAY, true), 0);
        let listener = lab.switch.enter(|| TcpListener::bind(address))??;
        listener.set_nonblocking(true)?;
        let folder = TempDir::with_prefix("espalier-guest-").context("cannot make a folder")?;
        prepare(folder.path(), host, listener.local_addr()?)?;
        let kernel = Program::start(kernel(folder.path(), host), &folder.path().join("console"))?;
        let mut door = Door { kernel, listener };
        let commands = door.called()?;
        Ok(Self { door: Mutex::new(door), commands, _folder: folder })
    }

    /// Starts a command of sh(1), one line, and returns what can be read of it: its output, then `status` and its exit status.
    ///
    /// # Errors
    /// The guest is gone; with the end of its console.
    pub fn start(&self, command: &str) -> Result<TcpStream> {
        ensure!(!command.contains('\n'), "a command of a guest is one line");
        // The next one to call back is this command, since no other is let in before.
        let mut door = self.door();
        let sent = (&self.commands).write_all(format!("{command}\n").as_bytes());
        sent.with_context(|| door.console())?;
        door.called()
    }

    /// Runs a command of sh(1), one line.
    ///
    /// # Errors
    /// The guest is gone, or writes nothing for a minute.
    pub fn run(&self, command: &str) -> Result<Finished> {
        let mut stream = self.start(command)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut output = Vec::new();
        stream.read_to_end(&mut output).with_context(|| format!("{command:?} does not end"))?;
        let output = String::from_utf8_lossy(&output);
        let (output, status) = output.rsplit_once("status ").with_context(|| self.door().console())?;
        Ok(Finished { status: status.trim().parse()?, output: output.to_owned() })
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        // A thread that panicked has left nothing half done.
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    fn called(&mut self) -> Result<TcpStream> {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline && !self.kernel.has_ended() {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(2)),
                Err(error) => return Err(error).context("the door of the guest failed"),
            }
        }
        bail!("{}", self.console())
    }

    fn console(&self) -> String {
        let log = self.kernel.log();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines.get(lines.len().saturating_sub(LINES_OF_CONSOLE)..).unwrap_or_default();
        format!("the guest does not answer; its console ends with:\n{}", end.join("\n"))
    }
}

/// Leaves the wire of a host to a guest. What the switch hands over then is what a real wire would: no trains, and whole checksums.
fn take_over(lab: &Lab, host: &Host) -> Result<()> {
    let mut ip = host.namespace.command("ip");
    ip.args(["address", "flush", "dev", UPLINK]);
    output(ip)?;
    let mut ethtool = lab.switch.command("ethtool");
    let off = ["tx", "off", "tso", "off", "gso", "off", "tx-udp-segmentation", "off"];
    ethtool.args(["-K", &format!("port{}", host.number)]).args(off);
    output(ethtool).map(drop)
}

/// Writes what the guest reads when it boots.
fn prepare(folder: &Path, host: &Host, door: SocketAddr) -> Result<()> {
    // modprobe(8) looks below lib/modules of a folder, which need not be the root.
    fs::create_dir(folder.join("lib"))?;
    symlink(MODULES, folder.join("lib/modules"))?;
    let shown = folder.display();
    write_script(&folder.join("modprobe"), &format!("#!/bin/sh\nexec modprobe --dirname {shown} \"$@\"\n"))?;
    let (ipv4, ipv6) = (host.outer(true), host.outer(false));
    let door = format!("/dev/tcp/{}/{}", door.ip(), door.port());
    let init = format!("#!/bin/bash\nfolder={shown} ipv4={ipv4}/24 ipv6={ipv6}/64 door={door}\n{INIT}");
    write_script(&folder.join("init"), &init)?;
    fs::write(folder.join("xstate.c"), XSTATE)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(folder.join("xstate.so")).arg(folder.join("xstate.c"));
    output(compiler).map(drop)
}

/// Returns the command that boots. Processes of a guest are processes of this machine: all of them end with the first one of a namespace
/// of theirs, and that one with the caller's thread. A kernel that panics ends its whole group of processes.
fn kernel(folder: &Path, host: &Host) -> Command {
    let mut command = host.namespace.command("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"]).process_group(0);
    // The first one of a namespace cannot be aborted, so the kernel is the second.
    command.args([
        "sh",
        "-c",
        "\"$@\"; exit",
        "sh",
        KERNEL,
        &format!("mem={MEMORY}"),
        "rootfstype=hostfs",
        "rw",
        "quiet",
    ]);
    command.args(["con=null", "con0=null,fd:1", &format!("vec0:transport=raw,ifname={UPLINK}")]);
    command.arg(format!("uml_dir={}", folder.display())).arg(format!("init={}", folder.join("init").display()));
    command.env("LD_PRELOAD", folder.join("xstate.so"));
    command
}

fn write_script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
}
