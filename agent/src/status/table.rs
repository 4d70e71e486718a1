//! The status as people read it.

use std::fmt;

use super::{ChildStatus, PeerStatus, Status};

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = self.peers.iter().filter(|peer| peer.up).count();
        let node = self.node.as_deref().unwrap_or("no plan yet");
        writeln!(f, "node        {node}")?;
        match &self.controller {
            None => writeln!(f, "controller  none: the plan is a file")?,
            Some(it) if it.connected => {
                writeln!(f, "controller  {} connected, epoch {} generation {}", it.address, it.epoch, it.generation)?;
            }
            Some(it) => writeln!(
                f,
                "controller  {} NOT connected ({}); carrying out epoch {} generation {}",
                it.address, it.reason, it.epoch, it.generation
            )?,
        }
        if self.keylog {
            writeln!(f, "keylog      ON: whoever reads the keys reads the traffic")?;
        }
        let offloads: Vec<_> = self.offloads.iter().map(|(name, state)| format!("{name} {state}")).collect();
        if !offloads.is_empty() {
            writeln!(f, "offloads    {}", offloads.join(", "))?;
        }
        writeln!(f, "peers       {up} of {} up\n", self.peers.len())?;
        let width = self.peers.iter().map(|peer| peer.id.len()).max().unwrap_or_default().max(4);
        writeln!(
            f,
            "{:width$}  STATE  CHILDREN  {:>12}  {:>12}  FOR       {:18}  NAT     MOVES  PATH",
            "PEER", "PACKETS IN", "PACKETS OUT", "KEY EXCHANGE"
        )?;
        for peer in &self.peers {
            write_peer(f, peer, width)?;
        }
        let dropped: Vec<_> = self.dropped.iter().filter(|(_, packets)| **packets > 0).collect();
        if dropped.is_empty() {
            return writeln!(f, "\nno packet was dropped");
        }
        writeln!(f, "\nPACKETS DROPPED")?;
        dropped.iter().try_for_each(|(reason, packets)| writeln!(f, "{packets:>12}  {reason}"))
    }
}

fn write_peer(f: &mut fmt::Formatter<'_>, peer: &PeerStatus, width: usize) -> fmt::Result {
    let state = match (peer.up, peer.away) {
        (true, _) if !peer.wanted.is_empty() => "calls",
        (true, _) if peer.path.is_empty() => "idle",
        (true, _) => "up",
        (false, true) => "away",
        (false, false) => "DOWN",
    };
    let received: u64 = peer.children.iter().map(|child| child.received.packets).sum();
    let sent: u64 = peer.children.iter().map(|child| child.sent.packets).sum();
    writeln!(
        f,
        "{:width$}  {state:5}  {:>8}  {received:>12}  {sent:>12}  {:8}  {:18}  {:6}  {:5}  {}",
        peer.id,
        peer.children.len(),
        time(peer.seconds),
        peer.key_exchange,
        peer.nat,
        if peer.mobike { "yes" } else { "no" },
        peer.path
    )?;
    if let Some(ppk) = &peer.ppk {
        writeln!(f, "{:width$}  postquantum preshared key {ppk}", "")?;
    }
    for child in &peer.children {
        let esn = if child.esn { "esn" } else { "no esn" };
        let ChildStatus { rule, suite, mode, around, .. } = child;
        writeln!(f, "{:width$}  rule {rule}: {suite}, {mode}, {esn}, in {around}", "")?;
    }
    if !peer.addresses.is_empty() {
        writeln!(f, "{:width$}  virtual addresses {}", "", peer.addresses.join(", "))?;
    }
    if !peer.dns.is_empty() {
        writeln!(f, "{:width$}  name servers {}", "", peer.dns.join(", "))?;
    }
    let reasons = [
        (&peer.missing, ""),
        (&peer.wanted, ": on demand, and packets ask for it"),
        (&peer.waiting, ": on demand, waits for a packet"),
    ];
    reasons.iter().try_for_each(|(rules, why)| {
        rules.iter().try_for_each(|rule| writeln!(f, "{:width$}  no child SA for rule {rule}{why}", ""))
    })
}

/// Writes a time with its two largest units.
fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::status::{ControllerStatus, Traffic};

    fn status() -> Status {
        let child = ChildStatus {
            rule: "default".to_owned(),
            spi_in: 1,
            spi_out: 2,
            suite: "aes256gcm16".to_owned(),
            mode: "tunnel".to_owned(),
            esn: true,
            around: "udp".to_owned(),
            received: Traffic { packets: 5, bytes: 500 },
            sent: Traffic { packets: 7, bytes: 700 },
            replayed: 0,
            unauthentic: 0,
        };
        let peer = |id: &str, children: Vec<ChildStatus>| PeerStatus {
            id: id.to_owned(),
            up: !children.is_empty(),
            away: false,
            missing: if children.is_empty() { vec!["default".to_owned()] } else { Vec::new() },
            waiting: Vec::new(),
            wanted: Vec::new(),
            path: "192.0.2.1:4500 > 192.0.2.2:4500".to_owned(),
            key_exchange: "x25519+mlkem768".to_owned(),
            nat: "theirs".to_owned(),
            mobike: true,
            seconds: 3_700,
            ppk: (id == "b").then(|| "ppk-1".to_owned()),
            addresses: vec!["10.3.0.7".to_owned()],
            dns: Vec::new(),
            children,
        };
        Status {
            version: "0.1.0".to_owned(),
            node: Some("a.node.mesh.example".to_owned()),
            controller: Some(ControllerStatus {
                address: "192.0.2.9:7443".to_owned(),
                connected: false,
                reason: "connection refused".to_owned(),
                epoch: 1,
                generation: 7,
            }),
            certificate_not_after: None,
            keylog: false,
            offloads: BTreeMap::from([("tun-segmentation".to_owned(), "tcp only".to_owned())]),
            packets: BTreeMap::new(),
            peers: vec![peer("b", vec![child]), peer("c", Vec::new())],
            dropped: BTreeMap::from([("replayed".to_owned(), 3), ("no_sa".to_owned(), 0)]),
            ike: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_down_is_shown_as_down() {
        let text = status().to_string();
        for part in [
            "NOT connected (connection refused)",
            "offloads    tun-segmentation tcp only",
            "theirs  yes    192.0.2.1:4500",
            "1 of 2 up",
            "1h1m",
            "rule default: aes256gcm16, tunnel, esn, in udp",
            "no child SA for rule default",
            "3  replayed",
            "key ppk-1",
            "virtual addresses 10.3.0.7",
            "x25519+mlkem768",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.contains("DOWN") && !text.contains("no_sa"));
        assert!(!status().is_ready());
        assert_eq!(status().down(), ["c"]);
    }

    #[test]
    fn a_peer_whose_rules_wait_for_packets_is_idle_and_not_down() {
        let mut status = status();
        let peer = &mut status.peers[1];
        (peer.up, peer.waiting) = (true, std::mem::take(&mut peer.missing));
        peer.path.clear();
        let text = status.to_string();
        assert!(text.contains("c     idle") && text.contains("rule default: on demand, waits for a packet"), "{text}");
        assert!(status.is_ready());
        let peer = &mut status.peers[1];
        peer.wanted = std::mem::take(&mut peer.waiting);
        let text = status.to_string();
        assert!(text.contains("c     calls") && text.contains("rule default: on demand, and packets ask"), "{text}");
        assert!(status.is_ready());
    }

    #[test]
    fn a_peer_that_has_to_call_and_is_away_keeps_no_node_from_being_ready() {
        let mut status = status();
        status.peers[1].away = true;
        assert!(status.is_ready() && status.to_string().contains("c     away"), "{status}");
        status.peers[0].up = false;
        assert!(!status.is_ready());
        let empty = Status { node: None, ..status };
        assert!(!empty.is_ready(), "without a plan nothing is known to be away");
    }
}
