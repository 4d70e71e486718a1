//! The commands of the README, as they stand there: what a new user types works.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use espalier_e2e::lab::{Host, Lab, outer};
use espalier_e2e::pki::write_secret;
use espalier_e2e::program::{Program, ours, output};
use espalier_sys::netns::NetNs;

const SOON: Duration = Duration::from_secs(20);

/// A machine: a network namespace with its own `/etc`, `/var/lib` and `/run`.
struct Machine<'a> {
    namespace: &'a NetNs,
    folder: std::path::PathBuf,
    holder: Program,
}

impl<'a> Machine<'a> {
    fn new(namespace: &'a NetNs, folder: &Path) -> Self {
        for part in ["etc", "lib", "run"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let script = "cp -a /etc/. etc/ && echo \"$0 controller.example\" >> etc/hosts && mount --bind etc /etc && \
                      mount --bind lib /var/lib && mount --bind run /run && echo ready && exec sleep 600";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(outer(Lab::GATEWAY, true).to_string()).current_dir(folder);
        let mut holder = Program::start(command, &folder.join("mounts.log")).unwrap();
        holder.await_log("ready", 1, SOON).unwrap();
        Self { namespace, folder: folder.to_owned(), holder }
    }

    /// Returns a line of the README as a command on this machine.
    fn command(&self, line: &str) -> Command {
        let programs = ours("espalier-agent").unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.parent().unwrap().display());
        let mut command = self.namespace.command("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()));
        // nsenter leaves the working directory behind.
        command.args(["sh", "-c", &format!("cd '{}' && exec {line}", self.folder.display())]).env("PATH", path);
        command
    }

    fn start(&self, line: &str) -> Program {
        Program::start(self.command(line), &self.folder.join("program.log")).unwrap()
    }
}

/// Returns the commands of a section, in order, each on one line.
fn commands(section: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let part = text.split("\n## ").find(|part| part.starts_with(section)).unwrap().to_owned();
    let blocks = part.split("\n```").skip(1).step_by(2);
    blocks.map(|block| block.trim().replace("\\\n", " ")).collect()
}

/// Runs a command until it succeeds.
fn eventually(command: impl Fn() -> Command) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        match output(command()) {
            Ok(text) => return text,
            Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
        }
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn what_the_readme_says_works() {
    let lab = Lab::new(1).unwrap();
    let [host]: &[Host; 1] = lab.hosts.as_slice().try_into().unwrap();
    let (at_switch, at_host) = (lab.folder().join("switch"), host.folder().join("machine"));
    let (operator, node) = (Machine::new(&lab.switch, &at_switch), Machine::new(&host.namespace, &at_host));
    let lines = commands("Run it");
    let [run_controller, token, run_agent, status, rotate, leave] = &lines[..] else { panic!("{lines:#?}") };

    let mut controller = operator.start(run_controller);
    let answer = eventually(|| operator.command(token));
    // Behind it stands what curl says of its progress.
    let answer = serde_json::Deserializer::from_str(&answer).into_iter::<serde_json::Value>().next().unwrap().unwrap();
    write_secret(&at_host.join("token"), answer["token"].as_str().unwrap_or_else(|| panic!("{answer}"))).unwrap();

    let mut agent = node.start(&run_agent.replace("192.0.2.11", &host.outer(true).to_string()));
    let shown = eventually(|| node.command(status));
    assert!(shown.contains("connected, epoch 1"), "{shown}");
    assert!(output(operator.command(rotate)).unwrap().contains("monday"));
    assert!(agent.terminate().unwrap().success());
    output(node.command(leave)).unwrap();
    assert!(output(node.command(status)).is_err(), "nobody answers any more");
    assert!(controller.terminate().unwrap().success());
}
