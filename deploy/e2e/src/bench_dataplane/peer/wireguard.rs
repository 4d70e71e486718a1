//! The WireGuards in user space: one way to start them, and one protocol to configure them (wireguard.com/xplatform).

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
use espalier_e2e::lab::{Host, Pair};
use espalier_e2e::program::Program;
use espalier_sys::netlink::Netlink;
use ipnet::IpNet;

use crate::scene::START;

/// The interface of the tunnel.
const INTERFACE: &str = "wg0";
const PORT: u16 = 51820;
/// What wg-quick(8) gives a tunnel over a wire of 1,500 bytes, whatever the IP version outside.
const MTU: u32 = 1420;
/// All inner addresses are within; one route leads them into the tunnel.
const PREFIX: u8 = 16;

/// Keys of one end, hexadecimal.
struct Keys {
    private: String,
    public: String,
}

/// Starts a program on both hosts and brings the tunnel up.
pub(super) fn start(program: &Path, pair: &Pair) -> Result<[Program; 2]> {
    let [one, other] = &pair.hosts;
    let (first, second) = (Keys::new()?, Keys::new()?);
    Ok([end(program, (one, &first), (other, &second))?, end(program, (other, &second), (one, &first))?])
}

impl Keys {
    fn new() -> Result<Self> {
        let fails = |_| anyhow!("a key cannot be made");
        let key = PrivateKey::generate(&X25519).map_err(fails)?;
        let private: Curve25519SeedBin<'_> = key.as_be_bytes().map_err(fails)?;
        let public = key.compute_public_key().map_err(fails)?;
        Ok(Self { private: hex(private.as_ref()), public: hex(public.as_ref()) })
    }
}

fn end(program: &Path, (host, keys): (&Host, &Keys), (peer, peer_keys): (&Host, &Keys)) -> Result<Program> {
    let run = host.folder().join("run");
    std::fs::create_dir_all(&run)?;
    let mut command = host.namespace.command("unshare");
    // The socket's folder is fixed, so each needs a /run of its own.
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /run && exec \"$@\""]).arg(&run);
    command.arg(program).args(["--foreground", INTERFACE]);
    // The WireGuards in Rust would become the user who called sudo, if any.
    command.env("WG_SUDO", "true").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut program = Program::start(command, &host.folder().join("wireguard.log"))?;
    let socket = run.join("wireguard").join(format!("{INTERFACE}.sock"));
    await_file(&socket, &mut program)?;
    let request = format!(
        "set=1\nprivate_key={}\nlisten_port={PORT}\npublic_key={}\nendpoint={}:{PORT}\nallowed_ip={}/32\n\n",
        keys.private,
        peer_keys.public,
        peer.outer(true),
        peer.inner(true)
    );
    configure(&socket, &request).with_context(|| format!("it wrote:\n{}", program.log()))?;
    host.namespace.enter(|| -> Result<()> {
        let mut netlink = Netlink::open()?;
        let index = netlink.link_index(INTERFACE)?;
        netlink.set_mtu(index, MTU)?;
        netlink.add_address(index, IpNet::new(host.inner(true), PREFIX)?)?;
        Ok(netlink.set_up(index)?)
    })??;
    Ok(program)
}

fn configure(socket: &Path, request: &str) -> Result<()> {
    let mut stream = UnixStream::connect(socket).context("the program does not listen")?;
    stream.set_read_timeout(Some(START))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    let mut part = [0; 1024];
    while !answer.ends_with("\n\n") {
        let read = stream.read(&mut part)?;
        if read == 0 {
            break;
        }
        answer += &String::from_utf8_lossy(part.get(..read).unwrap_or_default());
    }
    stream.shutdown(Shutdown::Both)?;
    ensure!(answer.contains("errno=0"), "the program refused its configuration: {answer}");
    Ok(())
}

fn await_file(path: &Path, program: &mut Program) -> Result<()> {
    let deadline = Instant::now() + START;
    while !path.exists() {
        ensure!(Instant::now() < deadline, "the program does not start; it wrote:\n{}", program.log());
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
