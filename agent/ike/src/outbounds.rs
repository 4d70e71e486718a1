//! Which outbound half each rule uses, and which halves wait until the peer is known to hold theirs (RFC 7296 §2.8).

use std::collections::BTreeMap;

use espalier_model::identity::Name;
use espalier_model::sa::{ChildId, OutboundSa, UdpPath};

/// When an outbound half may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// Now: the peer holds its inbound half.
    AtOnce,
    /// With the first authentic packet on our inbound half, or when the half in use goes. At once where none is in use.
    WhenUsed,
    /// Never: the pair has lost a collision and is about to be deleted.
    Never,
}

/// The outbound halves of all rules. One that has been replaced is kept until its pair goes: it takes over again when its
/// successor goes first.
#[derive(Default)]
pub(crate) struct Outbounds {
    current: BTreeMap<Name, ChildId>,
    halves: BTreeMap<ChildId, Half>,
}

struct Half {
    sa: OutboundSa,
    /// Whether it was in use, so that the peer is known to hold its own half.
    held: bool,
}

impl Outbounds {
    /// Takes a new half; returns it if it is to be used now.
    pub(crate) fn offer(&mut self, sa: OutboundSa, switch: Switch) -> Option<OutboundSa> {
        let waits = match switch {
            Switch::AtOnce => false,
            //= RFC 7296 §2.8: the responder sends on the old SA until the peer has used the new one or deletes the old one
            Switch::WhenUsed => self.current.contains_key(&sa.0.rule),
            Switch::Never => return None,
        };
        let id = sa.0.id;
        self.halves.insert(id, Half { sa, held: false });
        if waits { None } else { self.switch_to(id) }
    }

    /// Tells whether a half of a rule is in use.
    pub(crate) fn uses(&self, rule: &Name) -> bool {
        self.current.contains_key(rule)
    }

    /// Notes that the peer uses a pair; returns its outbound half if that has waited for it.
    pub(crate) fn used_by_peer(&mut self, id: ChildId) -> Option<OutboundSa> {
        let rule = &self.halves.get(&id)?.sa.0.rule;
        //= RFC 7296 §2.8: a late packet on an older pair says nothing
        if self.current.get(rule).is_some_and(|current| *current >= id) { None } else { self.switch_to(id) }
    }

    /// Forgets a pair; if this one was in use, returns the newest other half of its rule that the peer is known to hold, or else the
    /// newest.
    pub(crate) fn remove(&mut self, rule: &Name, id: ChildId) -> Option<OutboundSa> {
        self.halves.remove(&id);
        if self.current.get(rule) != Some(&id) {
            return None;
        }
        self.current.remove(rule);
        let of_rule = || self.halves.iter().rev().filter(|(_, half)| half.sa.0.rule == *rule);
        // The answer that tells the peer of a new one may still be under way.
        let next = of_rule().find(|(_, half)| half.held).or_else(|| of_rule().next()).map(|(id, _)| *id);
        next.and_then(|id| self.switch_to(id))
    }

    /// Follows the peer to another address.
    pub(crate) fn move_path(&mut self, id: ChildId, path: UdpPath) {
        if let Some(half) = self.halves.get_mut(&id) {
            half.sa.0.path = path;
        }
    }

    /// Returns how many halves are kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.halves.len()
    }

    fn switch_to(&mut self, id: ChildId) -> Option<OutboundSa> {
        let half = self.halves.get_mut(&id)?;
        half.held = true;
        let sa = half.sa.clone();
        self.current.insert(sa.0.rule.clone(), id);
        Some(sa)
    }
}

#[cfg(test)]
mod tests {
    use espalier_model::profile::{Dscp, Mode, Padding};
    use espalier_model::sa::{ChildSa, Encapsulation, Keyed, SaSelectors, Spi, Transform, UsageLimits};
    use espalier_model::secret::Secret;
    use espalier_model::suite::EspSuite;

    use super::*;

    fn half(id: u64) -> OutboundSa {
        let address = "192.0.2.1:4500".parse().unwrap();
        OutboundSa(ChildSa {
            id: ChildId(id),
            rule: rule(),
            transform: Transform::Esp(Keyed {
                spi: Spi::try_from(0x1000).unwrap(),
                suite: EspSuite::Aes256Gcm16,
                keymat: Secret::from(&[0; 36][..]),
                esn: true,
            }),
            mode: Mode::Tunnel,
            encapsulation: Encapsulation::Udp,
            originals: None,
            padding: true,
            pad_to: Padding::None,
            dscp: Dscp::Copy,
            selectors: SaSelectors { local: vec![], remote: vec![] },
            path: UdpPath { local: address, remote: address },
            replay_window: 64,
            limits: UsageLimits { soft_packets: 1, hard_packets: 2, soft_bytes: 1, hard_bytes: 2 },
        })
    }

    fn rule() -> Name {
        "net".parse().unwrap()
    }

    fn id(sa: Option<OutboundSa>) -> Option<u64> {
        sa.map(|sa| sa.0.id.0)
    }

    #[test]
    fn a_successor_waits_for_the_peer_or_for_the_end_of_the_half_in_use() {
        let mut all = Outbounds::default();
        assert_eq!(id(all.offer(half(1), Switch::WhenUsed)), Some(1), "nothing is in use");
        assert_eq!(id(all.offer(half(2), Switch::WhenUsed)), None);
        assert_eq!(id(all.used_by_peer(ChildId(1))), None);
        assert_eq!(id(all.used_by_peer(ChildId(2))), Some(2));
        assert_eq!(id(all.remove(&rule(), ChildId(1))), None);
        assert_eq!(id(all.offer(half(3), Switch::WhenUsed)), None);
        assert_eq!(id(all.remove(&rule(), ChildId(2))), Some(3));
        assert_eq!(id(all.remove(&rule(), ChildId(3))), None);
        assert_eq!(id(all.offer(half(4), Switch::WhenUsed)), Some(4));
    }

    #[test]
    fn a_late_packet_never_leads_back_to_an_older_pair() {
        let mut all = Outbounds::default();
        all.offer(half(1), Switch::AtOnce);
        all.offer(half(2), Switch::WhenUsed);
        assert_eq!(id(all.offer(half(3), Switch::AtOnce)), Some(3));
        assert_eq!(id(all.used_by_peer(ChildId(2))), None);
        assert_eq!(id(all.used_by_peer(ChildId(1))), None);
    }

    #[test]
    fn a_half_takes_over_again_when_its_successor_goes_first() {
        let mut all = Outbounds::default();
        all.offer(half(1), Switch::AtOnce);
        all.offer(half(2), Switch::AtOnce);
        assert_eq!(id(all.offer(half(3), Switch::Never)), None);
        assert_eq!(id(all.remove(&rule(), ChildId(3))), None);
        assert_eq!(id(all.remove(&rule(), ChildId(2))), Some(1));
    }

    #[test]
    fn what_the_peer_is_known_to_hold_takes_over_before_what_it_may_not_have_yet() {
        let mut all = Outbounds::default();
        all.offer(half(1), Switch::AtOnce);
        all.offer(half(2), Switch::AtOnce);
        assert_eq!(id(all.offer(half(3), Switch::WhenUsed)), None);
        assert_eq!(id(all.remove(&rule(), ChildId(2))), Some(1));
        assert_eq!(id(all.used_by_peer(ChildId(3))), Some(3));
    }
}
