//! The form of child SAs: what both ends want, what comes of it, and what is said where nothing does.

use espalier_model::profile::{Confidentiality, Dscp, Encap, Esn, Mode, Padding, Protection};
use espalier_model::sa::{Encapsulation, Form, OriginalAddresses, Transform};
use espalier_model::suite::AhSuite;

use super::*;

const FAR: Duration = Duration::from_secs(4_000);

/// Peers whose profiles, for the IKE SA and its child, are changed alike.
fn peers(change: impl Fn(usize, &mut Profile)) -> [PeerConfig; 2] {
    [0, 1].map(|side| {
        let mut peer = peer(side, psk("secret"));
        change(side, &mut peer.profile);
        change(side, &mut peer.children[0].profile);
        peer
    })
}

/// The same, with traffic between the two ends themselves.
fn between_ends(change: impl Fn(usize, &mut Profile)) -> [PeerConfig; 2] {
    let mut peers = peers(change);
    for (side, peer) in peers.iter_mut().enumerate() {
        (peer.children[0].local, peer.children[0].remote) = (end(side), end(1 - side));
    }
    peers
}

fn end(side: usize) -> Vec<TrafficSelector> {
    host(&format!("192.0.2.{side}"))
}

fn host(address: &str) -> Vec<TrafficSelector> {
    let net = format!("{address}/32").parse().unwrap();
    vec![TrafficSelector::from_net(Protocol::Any, PortRange::ANY, net)]
}

/// Lets the pair become quiet, with time for what is asked for again soon.
fn settle(peers: [PeerConfig; 2]) -> Pair {
    let mut pair = Pair::with_peers(peers);
    pair.drive(|_| 1);
    pair
}

/// The same with one end behind a NAT, whose address is what the other end knows.
fn behind_nat(side: usize, mut peers: [PeerConfig; 2]) -> Pair {
    peers[1 - side].endpoints = vec!["198.51.100.9:500".parse().unwrap()];
    let mut pair = Pair::new([node(0, None, vec![]), node(1, None, vec![])]);
    pair.nat = Some((side, "198.51.100.9".parse().unwrap()));
    pair.configure(peers);
    pair.drive(|_| 1);
    pair
}

fn form_of(sa: &ChildSa) -> Form {
    sa.form()
}

/// Both ends hold one child of the same form, and its last installed halves fit crosswise.
fn assert_form(pair: &Pair, form: Form, pairs: usize) {
    for (here, there) in [(0, 1), (1, 0)] {
        let (node, other) = (&pair.nodes[here], &pair.nodes[there]);
        let status = node.endpoint.status();
        assert_eq!(status.len(), 1, "{:?} {:?}", node.down, node.refused);
        assert_eq!(status[0].children.len(), 1, "{:?}", node.refused);
        assert_eq!(status[0].children[0].form, form);
        assert_eq!((node.inbound.len(), node.outbound.len()), (pairs, pairs), "each pair is installed once");
        let (sends, receives) = (node.outbound.last().unwrap(), other.inbound.last().unwrap());
        assert_eq!((form_of(sends), form_of(receives)), (form, form));
        let hides = !(form.mode == Mode::Transport && form.esp.is_some());
        assert_eq!((sends.padding, receives.padding), (hides, hides), "only an inner packet has a length of its own");
        assert!(fits(&sends.transform, &receives.transform));
    }
}

fn fits(sends: &Transform, receives: &Transform) -> bool {
    let esp = match (sends.esp(), receives.esp()) {
        (Some(a), Some(b)) => a.spi == b.spi && a.keymat == b.keymat && a.suite == b.suite && a.esn == b.esn,
        (a, b) => a.is_none() && b.is_none(),
    };
    let ah = match (sends.ah(), receives.ah()) {
        (Some(a), Some(b)) => a.spi == b.spi && a.keymat == b.keymat && a.suite == b.suite && a.esn == b.esn,
        (a, b) => a.is_none() && b.is_none(),
    };
    let own = sends.esp().zip(sends.ah()).is_none_or(|(esp, ah)| esp.spi != ah.spi && esp.keymat != ah.keymat);
    esp && ah && own
}

fn wanted(profile: &Profile) -> Form {
    let (esp, ah) = match profile.protection {
        Protection::Esp => (Some(profile.esp[0]), None),
        Protection::Ah => (None, Some(profile.ah[0])),
        Protection::AhEsp => (Some(profile.esp[0]), Some(profile.ah[0])),
    };
    let udp = profile.encap == Encap::Always && ah.is_none();
    Form {
        esp,
        ah,
        esn: profile.esn != Esn::Off,
        mode: profile.mode,
        encapsulation: if udp { Encapsulation::Udp } else { Encapsulation::Ip },
    }
}

/// Every form that two agents can have of each other.
fn forms() -> Vec<Profile> {
    let mut all = Vec::new();
    for protection in Protection::ALL {
        for mode in Mode::ALL {
            for esn in [Esn::Off, Esn::Preferred, Esn::Required] {
                for encap in [Encap::Always, Encap::Auto, Encap::Never] {
                    if *protection == Protection::Esp || encap != Encap::Always {
                        all.push(Profile { protection: *protection, mode: *mode, esn, encap, ..profile() });
                    }
                }
            }
        }
    }
    all
}

#[test]
fn every_form_is_set_up_and_stays_when_either_end_or_both_rekey() {
    for form in forms() {
        for leads in [0, 1] {
            let mut peers = between_ends(|_, profile| *profile = form.clone());
            (peers[0].initiate, peers[1].initiate) = (leads == 0, leads == 1);
            let mut pair = settle(peers);
            pair.wait(Duration::from_secs(4));
            pair.drive(|_| 1);
            assert_form(&pair, wanted(&form), 1);
            let first = pair.nodes[0].inbound[0].transform.spi();
            pair.wait(FAR);
            pair.drive(|_| 1);
            pair.wait(Duration::from_secs(6));
            pair.drive(|_| 1);
            let status = pair.nodes[0].endpoint.status();
            assert_eq!((status.len(), status[0].children.len()), (1, 1), "{form:?}");
            assert_eq!(status[0].children[0].form, wanted(&form));
            let last = pair.nodes[0].inbound.last().unwrap();
            assert_ne!(last.transform.spi(), first, "it was rekeyed");
            assert_eq!(form_of(last), wanted(&form));
            assert!(pair.nodes.iter().all(|n| n.refused.is_empty()), "{:?}", pair.nodes[0].refused);
        }
    }
}

#[test]
fn what_the_outside_shows_is_the_profiles_choice_at_each_end() {
    let pair = settle(peers(|side, profile| {
        if side == 0 {
            (profile.padding, profile.dscp) = (Padding::Mtu, Dscp::Fixed(10));
        }
    }));
    let shown = |node: &Node| node.outbound.last().map(|sa| (sa.pad_to, sa.dscp)).unwrap();
    assert_eq!(shown(&pair.nodes[0]), (Padding::Mtu, Dscp::Fixed(10)));
    assert_eq!(shown(&pair.nodes[1]), (Padding::None, Dscp::Copy));
}

#[test]
fn forms_that_do_not_meet_bring_no_child_and_both_ends_say_which_field_decides() {
    type Change = fn(&mut Profile);
    let cases: [(Change, Change, &str, &str); 7] = [
        (
            |p| p.esn = Esn::Required,
            |p| p.esn = Esn::Off,
            "esn required",
            "wants esp aes256gcm16, aes128gcm16 and esn off",
        ),
        (|p| p.esn = Esn::Off, |p| p.esn = Esn::Required, "esn off", "and esn required: esp and esn decide"),
        (|p| p.mode = Mode::Transport, |_| {}, "profile default wants mode transport: mode decides", ""),
        (|_| {}, |p| p.mode = Mode::Transport, "mode tunnel", "profile default wants mode transport: mode decides"),
        (|p| p.protection = Protection::Ah, |_| {}, "protection ah, ", "peer offers AH sha256"),
        (
            |p| p.protection = Protection::AhEsp,
            |_| {},
            "protection ah+esp",
            "profile default wants protection esp, and the peer something else",
        ),
        (|_| {}, |p| p.protection = Protection::AhEsp, "protection esp", "profile default wants protection ah+esp"),
    ];
    for (left, right, initiator, responder) in cases {
        let pair = settle(between_ends(|side, profile| {
            profile.encap = Encap::Never;
            if side == 0 { left(profile) } else { right(profile) }
        }));
        let [left, right] = &pair.nodes;
        assert_eq!((left.up, right.up), (1, 1), "the IKE SA stands: {:?} {:?}", left.down, right.down);
        assert!(left.inbound.is_empty() && left.outbound.is_empty(), "{initiator}");
        assert!(left.refused.iter().any(|reason| reason.contains(initiator)), "{initiator}: {:?}", left.refused);
        assert!(
            right.refused.iter().any(|reason| reason.contains(responder)) || responder.is_empty(),
            "{:?}",
            right.refused
        );
        assert!(
            right.endpoint.status().iter().all(|sa| sa.children.is_empty()),
            "{initiator}: nothing is left at the peer"
        );
    }
}

#[test]
fn a_peer_that_makes_a_tunnel_of_transport_mode_has_it_deleted_again() {
    let pair = settle(between_ends(|side, profile| {
        profile.encap = Encap::Auto;
        profile.mode = if side == 0 { Mode::Transport } else { Mode::Tunnel };
    }));
    let [left, right] = &pair.nodes;
    assert!(left.inbound.is_empty() && left.outbound.is_empty(), "it was never in use");
    assert!(
        !right.inbound.is_empty() && right.removed.contains(&Direction::Outbound),
        "the peer had it, and has it no more"
    );
    assert!(right.endpoint.status()[0].children.is_empty());
}

#[test]
fn ah_with_a_nat_is_refused_by_name_in_both_roles() {
    for natted in [0, 1] {
        for protection in [Protection::Ah, Protection::AhEsp] {
            let peers = between_ends(|_, profile| (profile.protection, profile.encap) = (protection, Encap::Auto));
            let pair = behind_nat(natted, peers);
            let [left, right] = &pair.nodes;
            assert!(pair.nodes.iter().all(|n| n.inbound.is_empty() && n.outbound.is_empty()));
            assert!(left.down[0].to_string().contains("AH cannot pass a NAT"), "{:?}", left.down);
            assert_eq!(right.up, 0);
        }
    }
    // An initiator that forces encapsulation is a NAT to the responder; what it offers with AH is refused there.
    let pair = settle(between_ends(|side, profile| {
        profile.protection = Protection::Ah;
        profile.encap = if side == 0 { Encap::Always } else { Encap::Auto };
    }));
    assert!(pair.nodes[0].down[0].to_string().contains("AH cannot pass a NAT"));
}

#[test]
fn a_responder_refuses_ah_through_a_nat_that_the_initiator_does_not_mind() {
    let mut peers = between_ends(|_, profile| profile.encap = Encap::Auto);
    let mut ah = peers[1].children[0].clone();
    ah.profile.protection = Protection::Ah;
    peers[1].children = vec![ah];
    let pair = behind_nat(0, peers);
    assert!(pair.nodes[1].inbound.is_empty());
    assert!(!pair.nodes[1].refused.is_empty() && !pair.nodes[0].refused.is_empty());
}

#[test]
fn encapsulation_follows_the_nat_the_force_and_the_refusal() {
    let nat = |side: Option<usize>, left: Encap, right: Encap| {
        let peers = peers(|side, profile| profile.encap = if side == 0 { left } else { right });
        match side {
            Some(side) => behind_nat(side, peers),
            None => settle(peers),
        }
    };
    use Encap::{Always, Auto, Never};
    for (side, left, right, expected) in [
        (None, Auto, Auto, Encapsulation::Ip),
        (None, Auto, Always, Encapsulation::Udp),
        (None, Always, Auto, Encapsulation::Udp),
        (None, Never, Auto, Encapsulation::Ip),
        (None, Auto, Never, Encapsulation::Ip),
        (None, Never, Never, Encapsulation::Ip),
        (Some(0), Auto, Auto, Encapsulation::Udp),
        (Some(1), Auto, Auto, Encapsulation::Udp),
        (Some(0), Always, Always, Encapsulation::Udp),
    ] {
        let pair = nat(side, left, right);
        for node in &pair.nodes {
            let found: Vec<_> = node.outbound.iter().map(|sa| sa.encapsulation).collect();
            assert_eq!(found, [expected], "{side:?} {left} {right}: {:?}", node.down);
            // SAs that may move go to where a NAT may be on the next path.
            let port = if left == Never { 500 } else { 4500 };
            assert_eq!(node.outbound[0].path.remote.port(), port);
        }
    }
    for (side, left, right) in [(Some(0), Never, Auto), (Some(1), Never, Auto), (None, Never, Always)] {
        let pair = nat(side, left, right);
        let down = pair.nodes[0].down[0].to_string();
        assert!(down.contains("encap never is configured"), "{side:?} {left} {right}: {down}");
        assert!(pair.nodes.iter().all(|n| n.inbound.is_empty()));
    }
    for (side, left, right) in [(Some(0), Auto, Never), (Some(1), Auto, Never), (None, Always, Never)] {
        let pair = nat(side, left, right);
        assert!(pair.nodes[1].down[0].to_string().contains("encap never is configured"), "{:?}", pair.nodes[1].down);
        assert!(pair.nodes.iter().all(|n| n.inbound.is_empty()));
    }
}

#[test]
fn transport_mode_through_a_nat_knows_the_addresses_that_checksums_are_made_of() {
    let outside: std::net::IpAddr = "198.51.100.9".parse().unwrap();
    let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    for natted in [0, 1] {
        let mut peers = between_ends(|_, profile| (profile.mode, profile.encap) = (Mode::Transport, Encap::Auto));
        // The end outside knows the other one by the address of the NAT.
        peers[1 - natted].children[0].remote = host("198.51.100.9");
        let pair = behind_nat(natted, peers);
        let (inside, beyond) = (&pair.nodes[natted], &pair.nodes[1 - natted]);
        let (near, far) = (inside.inbound.last().unwrap(), beyond.inbound.last().unwrap());
        assert_eq!((near.mode, far.mode), (Mode::Transport, Mode::Transport));
        assert_eq!((near.encapsulation, far.encapsulation), (Encapsulation::Udp, Encapsulation::Udp));
        let (own, other) = (ip(&format!("192.0.2.{natted}")), ip(&format!("192.0.2.{}", 1 - natted)));
        assert_eq!(near.originals, Some(OriginalAddresses { local: outside, remote: other }), "it is seen as the NAT");
        assert_eq!(far.originals, Some(OriginalAddresses { local: other, remote: own }), "the peer's own address");
        assert_eq!((near.selectors.local.clone(), near.selectors.remote.clone()), (end(natted), end(1 - natted)));
        assert_eq!(
            (far.selectors.local.clone(), far.selectors.remote.clone()),
            (end(1 - natted), host("198.51.100.9"))
        );
    }
}

#[test]
fn transport_mode_is_for_the_two_ends_alone() {
    let mut peers = between_ends(|_, profile| (profile.mode, profile.encap) = (Mode::Transport, Encap::Auto));
    for (side, peer) in peers.iter_mut().enumerate() {
        (peer.children[0].local, peer.children[0].remote) = (selectors(side), selectors(1 - side));
    }
    let pair = settle(peers);
    assert!(pair.nodes.iter().all(|n| n.outbound.is_empty()));
    assert!(!pair.nodes[0].refused.is_empty() && !pair.nodes[1].refused.is_empty());
}

fn both(change: impl Fn(&mut Profile)) -> [PeerConfig; 2] {
    peers(|_, profile| {
        (profile.protection, profile.encap) = (Protection::AhEsp, Encap::Auto);
        profile.ah = vec![AhSuite::Sha384];
        change(profile);
    })
}

#[test]
fn of_esp_inside_ah_nothing_is_in_use_before_both_are_there() {
    let mut pair = Pair::with_peers(both(|_| {}));
    let mut messages = 0;
    while !pair.wire.is_empty() {
        let (to, path, datagram) = pair.wire.remove(0);
        messages += 1;
        pair.deliver(to, path, &datagram);
        for node in &pair.nodes {
            assert!(
                node.inbound.iter().chain(&node.outbound).all(|sa| matches!(sa.transform, Transform::AhEsp { .. }))
            );
            let children = node.endpoint.status().iter().map(|sa| sa.children.len()).sum::<usize>();
            assert!(messages >= 5 || (children == 0 && node.inbound.is_empty()), "after message {messages}");
        }
    }
    assert_eq!(messages, 6, "IKE_SA_INIT, IKE_AUTH with ESP, CREATE_CHILD_SA with AH");
    assert_form(&pair, wanted(&both(|_| {})[0].profile), 1);
}

#[test]
fn of_esp_inside_ah_a_lost_second_exchange_leaves_nothing() {
    let mut pair = Pair::with_peers(both(|_| {}));
    pair.drive(|n| usize::from(n < 4));
    assert!(pair.nodes.iter().all(|n| n.inbound.is_empty() && n.outbound.is_empty()));
    for _ in 0..10 {
        pair.wait(Duration::from_secs(1));
        pair.drive(|_| 1);
    }
    assert_form(&pair, wanted(&both(|_| {})[0].profile), 1);
}

#[test]
fn of_esp_inside_ah_both_go_when_either_end_shuts_down_or_the_rule_goes() {
    let mut pair = settle(both(|_| {}));
    let [mut left, right] = both(|_| {});
    left.children.clear();
    pair.configure([left, right]);
    pair.drive(|_| 1);
    for node in &pair.nodes {
        assert_eq!(node.removed.iter().filter(|d| **d == Direction::Outbound).count(), 1, "one value, removed once");
    }
    assert!(pair.nodes[0].endpoint.status()[0].children.is_empty());
}

#[test]
fn of_esp_inside_ah_both_are_replaced_and_the_old_pair_is_used_until_then() {
    let mut pair = settle(both(|_| {}));
    let before = pair.nodes[0].outbound[0].transform.clone();
    pair.wait(FAR);
    while !pair.wire.is_empty() {
        let (to, path, datagram) = pair.wire.remove(0);
        pair.deliver(to, path, &datagram);
        for node in &pair.nodes {
            let removed = node.removed.iter().filter(|d| **d == Direction::Outbound).count();
            assert!(node.outbound.len() > removed, "there is always one in use");
        }
    }
    let after = pair.nodes[0].outbound.last().unwrap();
    assert!(after.transform.esp().unwrap().spi != before.esp().unwrap().spi);
    assert!(after.transform.ah().unwrap().spi != before.ah().unwrap().spi);
    assert_eq!(form_of(after), wanted(&both(|_| {})[0].profile));
}

#[test]
fn limits_of_packets_and_bytes_are_those_of_the_profile_with_jitter() {
    let pair = settle(peers(|_, profile| {
        (profile.child_rekey_packets, profile.child_rekey_bytes) = (Some(10_000), Some(1_000_000));
    }));
    for (side, (least, most)) in [(0, (9_000, 10_000)), (1, (11_250, 12_500))] {
        let limits = pair.nodes[side].outbound[0].limits;
        assert!((least..=most).contains(&limits.soft_packets), "{limits:?}");
        assert!((100 * least..=100 * most).contains(&limits.soft_bytes), "{limits:?}");
        assert_eq!((limits.hard_packets, limits.hard_bytes), (20_000, 2_000_000));
    }
    for (esn, hard) in [(Esn::Off, u64::from(u32::MAX)), (Esn::Required, u64::MAX)] {
        let pair = settle(peers(|_, profile| profile.esn = esn));
        for node in &pair.nodes {
            let limits = node.outbound[0].limits;
            assert_eq!((limits.hard_packets, limits.hard_bytes), (hard, u64::MAX));
            assert!(limits.soft_packets < hard && limits.soft_packets > hard / 2);
        }
    }
}

#[test]
fn confidentiality_is_a_matter_of_the_profile_and_not_of_the_peer() {
    let integrity = Profile::built_in(&"integrity-only".parse().unwrap()).unwrap();
    assert_eq!(integrity.confidentiality, Confidentiality::None);
    let pair = settle(peers(|side, profile| {
        if side == 0 {
            profile.esp.clone_from(&integrity.esp);
        }
    }));
    assert!(pair.nodes.iter().all(|n| n.outbound.is_empty()));
    assert!(pair.nodes[1].refused[0].contains("peer offers ESP aes-gmac-256"), "{:?}", pair.nodes[1].refused);
}

#[test]
fn another_encap_is_carried_out_by_a_new_first_exchange_without_a_gap() {
    let with = |encap| peers(move |_, profile| profile.encap = encap);
    let mut pair = settle(with(Encap::Always));
    assert_eq!(pair.nodes[0].outbound[0].encapsulation, Encapsulation::Udp);
    pair.configure(with(Encap::Auto));
    // Longer than what has lost may stand beside what has won.
    for _ in 0..200 {
        pair.wait(Duration::from_secs(1));
        pair.drive(|_| 1);
    }
    for node in &pair.nodes {
        assert_eq!(node.outbound.last().unwrap().encapsulation, Encapsulation::Ip);
        let status = node.endpoint.status();
        assert_eq!((status.len(), status[0].children.len()), (1, 1));
        assert_eq!(status[0].children[0].form.encapsulation, Encapsulation::Ip);
        assert_eq!(node.down, [], "no end has given the SA up");
    }
}
