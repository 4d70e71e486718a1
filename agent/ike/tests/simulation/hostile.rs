//! An attacker on the path: before a message arrives, every shortened and every slightly altered copy of it does.

use espalier_ike::wire::{ExchangeType, Header, Message, NotifyType, Payload};
use espalier_ike::{Counters, Output};
use espalier_model::sa::UdpPath;

use super::world::World;

/// All counters in a row: one of them goes up by one for each datagram.
fn total(c: &Counters) -> u64 {
    c.accepted + c.malformed + c.unknown_spi + c.unauthentic + c.retransmitted + c.unexpected + c.refused + c.fragments
}

impl World {
    /// Delivers what an attacker makes of a message. None of it may change anything but one counter.
    pub(crate) fn assail(&mut self, to: usize, path: UdpPath, datagram: &[u8]) {
        let (header, _) = Header::parse(datagram).unwrap();
        for length in 0..datagram.len() {
            self.deliver_copy(to, path, &datagram[..length], &format!("{header:?} cut to {length}"));
        }
        // Whoever alters a message that nobody can authenticate yet makes another good one.
        if header.exchange == ExchangeType::IKE_SA_INIT {
            return;
        }
        let mut copy = datagram.to_vec();
        for bit in 0..8 * datagram.len() {
            copy[bit / 8] ^= 1 << (bit % 8);
            self.deliver_copy(to, path, &copy, &format!("{header:?} with bit {bit} altered"));
            copy[bit / 8] ^= 1 << (bit % 8);
        }
    }

    fn deliver_copy(&mut self, to: usize, path: UdpPath, copy: &[u8], what: &str) {
        let (now, endpoint) = (self.now_at(to), &mut self.nodes[to].endpoint);
        let before = (endpoint.status(), endpoint.sa_count(), endpoint.next_timeout(), total(endpoint.counters()) + 1);
        endpoint.handle_datagram(now, path, copy);
        let after = (endpoint.status(), endpoint.sa_count(), endpoint.next_timeout(), total(endpoint.counters()));
        assert_eq!(before, after, "{what}");
        while let Some(output) = endpoint.poll_output() {
            assert!(asks_for_this_version(&output), "{what}: answered");
        }
    }
}

/// Whoever claims to speak a higher version is told which one is spoken here (RFC 7296 §2.5), and nothing else.
fn asks_for_this_version(output: &Output) -> bool {
    let Output::Transmit { datagram, .. } = output else { return false };
    let message = Message::parse(datagram).unwrap();
    matches!(&message.payloads[..], [Payload::Notify(n)] if n.notify_type == NotifyType::INVALID_MAJOR_VERSION)
}
