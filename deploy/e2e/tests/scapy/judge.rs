//! The process that judges, and what is asked of it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

/// A Python process with scapy. It ends with this value.
pub(crate) struct Judge {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// One SA as scapy names its parts.
#[derive(Clone, Serialize)]
pub(crate) struct Association {
    pub(crate) protocol: &'static str,
    pub(crate) spi: u32,
    pub(crate) crypt: Option<&'static str>,
    pub(crate) crypt_key: Option<String>,
    pub(crate) auth: Option<&'static str>,
    pub(crate) auth_key: Option<String>,
    pub(crate) tunnel: Option<(String, String)>,
    pub(crate) udp: bool,
    pub(crate) esn: bool,
}

/// Packets to open, with the upper half of their numbers, and packets to seal, with their whole numbers.
#[derive(Serialize)]
struct Question<'q> {
    sas: &'q [Association],
    open: Vec<(String, u32)>,
    seal: Vec<(String, u64)>,
}

#[derive(Deserialize)]
struct Answer {
    opened: Vec<Verdict>,
    sealed: Vec<Verdict>,
}

/// A packet, or what scapy says against it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Verdict {
    Packet(String),
    Refused { error: String },
}

impl Judge {
    /// Starts it with the Python that `cargo verify` has prepared.
    pub(crate) fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("ESPALIER_SCAPY")
            .map_or_else(|| folder.join("../../target/scapy/bin/python"), PathBuf::from);
        assert!(python.exists(), "scapy is not installed; cargo verify installs it: {}", python.display());
        let mut command = Command::new(python);
        command.arg(folder.join("tests/scapy/judge.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (questions, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, questions, answers: BufReader::new(answers) }
    }

    /// Has packets opened. The number is the upper half of each one's.
    pub(crate) fn open(&mut self, sas: &[Association], packets: &[(Vec<u8>, u32)]) -> Vec<Result<Vec<u8>, String>> {
        let open = packets.iter().map(|(packet, upper)| (hex(packet), *upper)).collect();
        self.ask(&Question { sas, open, seal: vec![] }).opened.into_iter().map(Verdict::into_result).collect()
    }

    /// Has packets sealed under these numbers.
    pub(crate) fn seal(&mut self, sas: &[Association], packets: &[(Vec<u8>, u64)]) -> Vec<Result<Vec<u8>, String>> {
        let seal = packets.iter().map(|(packet, number)| (hex(packet), *number)).collect();
        self.ask(&Question { sas, open: vec![], seal }).sealed.into_iter().map(Verdict::into_result).collect()
    }

    fn ask(&mut self, question: &Question<'_>) -> Answer {
        let mut line = serde_json::to_vec(question).unwrap();
        line.push(b'\n');
        self.questions.write_all(&line).unwrap();
        self.questions.flush().unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("scapy answers {answer:?}: {error}"))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Verdict {
    fn into_result(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Packet(text) => Ok(unhex(&text)),
            Self::Refused { error } => Err(error),
        }
    }
}

/// Writes bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
