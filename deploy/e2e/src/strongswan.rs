//! strongSwan as the peer: Debian's charon with ESP in user space, one for each namespace; or settings for one with the kernel's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use espalier_model::suite::{AesKey, Cipher, Hmac};

use crate::lab::Host;
use crate::program::{Program, output};

/// A running charon.
pub struct StrongSwan {
    program: Program,
    folder: PathBuf,
}

const PLUGINS: &str = "random nonce openssl pem pkcs1 pkcs8 x509 revocation constraints pubkey hmac kdf gcm aes sha2 curve25519 \
                       ctr ccm chapoly kernel-libipsec kernel-netlink socket-default vici updown";

impl StrongSwan {
    /// Starts charon on a host. Its folder for swanctl is `swanctl` in the host's; what stands there is loaded.
    ///
    /// # Errors
    /// It does not start, or refuses its configuration; with its log.
    pub fn start(host: &Host) -> Result<Self> {
        Self::start_set(host, "")
    }

    /// Starts charon on a host with further settings of strongswan.conf(5), such as `rsa_pss = yes`.
    ///
    /// # Errors
    /// It does not start, or refuses its configuration; with its log.
    pub fn start_set(host: &Host, settings: &str) -> Result<Self> {
        let section = format!("charon-systemd {{\n  {settings}\n");
        Self::start_with(host, "exec charon-systemd", |vici| {
            configuration(vici).replacen("charon-systemd {\n", &section, 1)
        })
    }

    /// Starts charon on one core, ready for many handshakes at once: half-open SAs from one address are not held up, the tables
    /// are large, and nothing but errors is logged.
    ///
    /// # Errors
    /// It does not start, or refuses its configuration; with its log.
    pub fn start_under_load(host: &Host, core: usize) -> Result<Self> {
        Self::start_with(host, &format!("exec taskset --cpu-list {core} charon-systemd"), |vici| {
            let tables =
                "charon-systemd {\n  dos_protection = no\n  ikesa_table_size = 4096\n  ikesa_table_segments = 16\n";
            configuration(vici).replacen("charon-systemd {\n", tables, 1).replace("default = 1\n", "default = 0\n")
        })
    }

    fn start_with(host: &Host, start: &str, configuration: impl Fn(&Path) -> String) -> Result<Self> {
        let folder = host.folder().to_owned();
        let run = folder.join("run");
        fs::create_dir_all(&run)?;
        let settings = folder.join("strongswan.conf");
        let vici = folder.join("vici");
        fs::write(&settings, configuration(&vici)).context("cannot write strongswan.conf")?;
        let mut command = host.namespace.command("unshare");
        // Each charon needs a /run of its own for its process file.
        let script = format!("mount --bind \"$0\" /run && {start}");
        // One that was killed has left its socket.
        let _ = fs::remove_file(&vici);
        command.args(["-m", "sh", "-c", &script]).arg(&run).env("STRONGSWAN_CONF", &settings);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let program = Program::start(command, &folder.join("charon.log"))?;
        let swan = Self { program, folder };
        for _ in 0..500 {
            if vici.exists() {
                swan.control(&["--load-all"])?;
                return Ok(swan);
            }
            sleep(Duration::from_millis(10));
        }
        bail!("charon does not start:\n{}", swan.program.log())
    }

    /// Runs a command of swanctl(8).
    ///
    /// # Errors
    /// It failed; with what it wrote and charon's log.
    pub fn control(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("/usr/sbin/swanctl");
        command.args(arguments).arg("--uri").arg(format!("unix://{}", self.folder.join("vici").display()));
        command.env("SWANCTL_DIR", self.folder.join("swanctl"));
        output(command).with_context(|| format!("charon wrote:\n{}", self.log()))
    }

    /// Returns the SAs that stand, in the form of `swanctl --list-sas --raw`.
    ///
    /// # Errors
    /// charon does not answer.
    pub fn sas(&self) -> Result<String> {
        self.control(&["--list-sas", "--raw"])
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Returns what charon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }
}

/// Makes the folders in which swanctl(8) looks.
///
/// # Errors
/// What the file system says.
pub fn folders(host: &Host) -> Result<PathBuf> {
    let folder = host.folder().join("swanctl");
    for part in ["conf.d", "x509", "x509ca", "private"] {
        fs::create_dir_all(folder.join(part))?;
    }
    Ok(folder)
}

/// Returns how charon calls a cipher, in a proposal and in its list of SAs.
#[must_use]
pub fn names(cipher: Cipher) -> (String, String) {
    let bits = |key| if key == AesKey::Aes256 { 256 } else { 128 };
    let aead = |word: &str, name: &str, key| {
        let bits = bits(key);
        (format!("aes{bits}{word}"), format!("encr-alg={name} encr-keysize={bits}"))
    };
    let with = |(proposal, shown): (String, String), hmac: Hmac| {
        let (word, name) = hmac_names(hmac);
        (format!("{proposal}-{word}"), format!("{shown} integ-alg={name}"))
    };
    match cipher {
        Cipher::Gcm(key) => aead("gcm16", "AES_GCM_16", key),
        Cipher::Ccm(key) => aead("ccm16", "AES_CCM_16", key),
        Cipher::Gmac(key) => aead("gmac", "NULL_AES_GMAC", key),
        Cipher::ChaCha20Poly1305 => ("chacha20poly1305".to_owned(), "encr-alg=CHACHA20_POLY1305".to_owned()),
        Cipher::Cbc(key, hmac) => with(aead("", "AES_CBC", key), hmac),
        Cipher::Ctr(key, hmac) => with(aead("ctr", "AES_CTR", key), hmac),
        Cipher::Null(hmac) => with(("null".to_owned(), "encr-alg=NULL".to_owned()), hmac),
    }
}

/// Returns how charon calls an integrity algorithm, in a proposal and in its list of SAs.
#[must_use]
pub const fn hmac_names(hmac: Hmac) -> (&'static str, &'static str) {
    match hmac {
        Hmac::Sha256 => ("sha256", "HMAC_SHA2_256_128"),
        Hmac::Sha384 => ("sha384", "HMAC_SHA2_384_192"),
        Hmac::Sha512 => ("sha512", "HMAC_SHA2_512_256"),
    }
}

/// Returns strongswan.conf(5) for a charon with the kernel's ESP and AH, which listens to swanctl(8) at a URI. Its log names connections.
#[must_use]
pub fn kernel_configuration(vici: &str) -> String {
    let settings = listening(vici).replacen("kernel-libipsec ", "", 1);
    settings.replacen("default = 1\n", "default = 1\n      ike_name = yes\n", 1)
}

fn configuration(vici: &Path) -> String {
    listening(&format!("unix://{}", vici.display()))
}

fn listening(vici: &str) -> String {
    format!(
        "charon-systemd {{\n  load = {PLUGINS}\n  retransmit_base = 1.2\n  retransmit_timeout = 1\n  plugins {{\n    vici {{\n      \
         socket = {vici}\n    }}\n  }}\n  journal {{\n    default = -1\n  }}\n  filelog {{\n    stderr {{\n      \
         default = 1\n    }}\n  }}\n}}\n"
    )
}
