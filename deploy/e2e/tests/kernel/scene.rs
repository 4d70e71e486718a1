//! One scenario: its node, and the gateway, which it shares with others.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::Result;
use espalier_e2e::agent::Agent;
use espalier_e2e::guest::Finished;
use espalier_e2e::lab::{Host, UPLINK};
use espalier_e2e::ping::{CANARY, CANARY_HEX};
use espalier_e2e::pki::write_secret;
use espalier_e2e::program::output;
use espalier_e2e::wire::{Capture, Seen};
use espalier_model::sa::{Encapsulation, Form};

use crate::case::{By, Case, KEY};
use crate::judge::{Judge, name};

/// A node under way.
pub(crate) struct Scene<'j> {
    pub(crate) agent: Agent,
    pub(crate) judge: &'j Judge,
    pub(crate) case: Case,
    place: usize,
}

const TRANSFER: usize = 300_000;
const PATIENCE: Duration = Duration::from_secs(20);

impl<'j> Scene<'j> {
    /// Starts the agent at a place of the table.
    pub(crate) fn new(judge: &'j Judge, case: Case, place: usize) -> Self {
        let node = judge.node(place);
        write_secret(&node.folder().join("gateway.psk"), &format!("{KEY}\n")).unwrap();
        let agent = Agent::start(node, &case.plan(node, judge.gateway()), &[]).unwrap();
        Self { agent, judge, case, place }
    }

    pub(crate) fn node(&self) -> &'j Host {
        self.judge.node(self.place)
    }

    /// Watches the node's wire.
    pub(crate) fn capture(&self) -> Capture {
        Capture::start(&self.node().namespace, UPLINK, None).unwrap()
    }

    /// Lets the given end begin, and waits for the SAs.
    pub(crate) fn connect(&mut self) {
        self.agent.await_log("running", 1).unwrap();
        if self.case.by == By::Gateway {
            self.control("--initiate");
        }
        self.agent.await_children(1).unwrap();
        let form = self.case.form;
        let shown = format!("suite={} mode={} esn={} around={}", form.suite(), form.mode, form.esn, form.around());
        self.agent.await_log(&shown, 1).unwrap();
    }

    /// Asks charon for something that concerns the child of this scenario.
    pub(crate) fn control(&self, what: &str) {
        self.try_control(what).unwrap();
    }

    /// The same, where it may refuse.
    pub(crate) fn try_control(&self, what: &str) -> Result<String> {
        self.judge.control(&[what, "--child", &name(self.place)])
    }

    /// Sets the SAs up, passes packets of every kind through them, and checks what the wire shows and what the kernel has counted.
    pub(crate) fn assert_passes(&mut self) {
        let capture = self.capture();
        self.connect();
        let ends = self.case.ends(self.node()).into_iter().zip(self.case.ends(self.judge.gateway()));
        let scene = &*self;
        thread::scope(|scope| {
            for (near, far) in ends {
                scope.spawn(move || {
                    scene.assert_answered(near, far);
                    scene.assert_echoed(near);
                });
            }
        });
        self.assert_protected(capture.stop().unwrap());
        self.assert_counted();
    }

    /// Checks that the wire shows nothing that it should not.
    pub(crate) fn assert_protected(&self, seen: Seen) {
        assert!(seen.esp > 100, "the SAs were used: {seen:?}");
        assert_eq!(seen.canaries > 0, !self.case.encrypts(), "what can be read: {seen:?}");
        assert_eq!(seen.ip_fragments, 0, "nothing was too long: {seen:?}");
    }

    /// Sends echo requests both ways at once, up to the longest packets.
    fn assert_answered(&self, near: IpAddr, far: IpAddr) {
        let longest = self.case.longest_packet() - if near.is_ipv4() { 28 } else { 48 };
        let pings = |from, to| {
            // Until two are answered: on a busy machine the guest may stand still for longer than ping(8) waits for a last reply.
            let ping = |size| {
                format!("ping -n -q -p {CANARY_HEX} -i 0.2 -c 2 -w 20 -M do -s {size} -I {from} {to} & all=\"$all $!\"")
            };
            let all = [16, 1001, longest].map(ping).join("; ");
            format!("{all}; for ping in $all; do wait $ping || lost=1; done; [ -z \"$lost\" ]")
        };
        thread::scope(|scope| {
            let gateway = scope.spawn(move || self.judge.run(&pings(far, near)));
            let mut node = self.node().namespace.command("sh");
            node.args(["-c", &pings(near, far)]);
            output(node).unwrap();
            let Finished { status, output } = gateway.join().unwrap();
            assert_eq!(status, 0, "from the gateway:\n{output}");
        });
    }

    /// Has a connection opened by the gateway, sends much over it, and checks that it comes back as it was.
    fn assert_echoed(&self, near: IpAddr) {
        let address = SocketAddr::new(near, 7);
        let listener = self.node().namespace.enter(|| TcpListener::bind(address).unwrap()).unwrap();
        let sent: Vec<u8> = CANARY.iter().copied().cycle().take(TRANSFER).collect();
        let command = format!("exec 4<>/dev/tcp/{near}/7 && exec timeout {} cat <&4 >&4", PATIENCE.as_secs());
        let _gateway = self.judge.start_command(&command);
        let stream = accepted(&listener);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| (&stream).write_all(&sent).unwrap());
            let mut returned = vec![0; TRANSFER];
            (&stream).read_exact(&mut returned).unwrap();
            assert!(returned == sent, "{TRANSFER} bytes come back as they were");
        });
    }

    /// Checks that the kernel has SAs of this form, and that each has passed packets and refused none.
    fn assert_counted(&self) {
        let Form { ah, esn, mode, encapsulation, .. } = self.case.form;
        let states = self.states();
        let protocol = if ah.is_some() { "ah" } else { "esp" };
        let count = |text: &str| states.matches(text).count();
        // Where the gateway took seconds to start, the agent has started as well: the pair that lost stands for a while.
        let (all, both_started) = (count("\tproto "), self.agent.program.log().contains("IKE SA replaced"));
        assert!(all == 2 || (all == 4 && both_started), "one SA each way:\n{states}");
        assert_eq!(count(&format!("\tproto {protocol} ")), all, "{states}");
        assert_eq!(count(&format!(" mode {mode}\n")), all, "{states}");
        assert_eq!(count("encap type espinudp"), if encapsulation == Encapsulation::Udp { all } else { 0 }, "{states}");
        assert_eq!(count("esn context:"), if esn { all } else { 0 }, "{states}");
        assert_eq!(count(" failed 0\n"), all, "nothing is refused:\n{states}");
        assert!(count(" 0(packets)") <= all - 2, "two are used:\n{states}");
    }

    /// Returns the kernel's SAs with this node.
    fn states(&self) -> String {
        let [near, far] = [self.node(), self.judge.gateway()].map(|host| host.outer(self.case.ipv4));
        let list = |from, to| format!("ip -s xfrm state list src {from} dst {to}");
        self.judge.run(&format!("{}; {}", list(near, far), list(far, near))).output
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let charon = self.judge.log(&format!("<{}|", name(self.place)));
            let agent = self.agent.program.log();
            let errors = self.judge.run("grep -v '\\s0$' /proc/net/xfrm_stat").output;
            eprintln!("{}\nagent:\n{agent}\ncharon:\n{charon}\nkernel:\n{}\n{errors}", self.case, self.states());
        }
    }
}

/// Waits for a connection.
fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(5)),
            Err(error) => panic!("the gateway does not connect: {error}"),
        }
    }
}
