//! No key seals twice under one IV, and no two SAs seal with one key.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use espalier_ike::wire::header::HEADER_LEN;
use espalier_ike::wire::{ExchangeType, Header, PayloadType};
use espalier_model::sa::{ChildId, ChildSa};

use super::world::keymat;

/// What was sealed so far.
#[derive(Default)]
pub(crate) struct Nonces {
    /// The hash of each message by the SPIs of its SA, its direction, its keys' turn and its IV.
    messages: HashMap<(u64, u64, bool, u32, [u8; 8]), u64>,
    /// The sender and the pair of each key for packets.
    packets: HashMap<Vec<u8>, (usize, ChildId)>,
}

impl Nonces {
    /// Takes a message that is sent. The same bytes may come again.
    pub(crate) fn sealed(&mut self, datagram: &[u8]) {
        let (header, first) = Header::parse(datagram).unwrap();
        let clear = match first {
            PayloadType::SK => HEADER_LEN + 4,
            PayloadType::SKF => HEADER_LEN + 8,
            _ => return,
        };
        let iv = *datagram[clear..].first_chunk().unwrap();
        let mut hasher = DefaultHasher::new();
        datagram.hash(&mut hasher);
        // Each IKE_INTERMEDIATE exchange has the last message under the keys of its turn.
        let turn = if header.exchange == ExchangeType::IKE_INTERMEDIATE { header.message_id } else { 0 };
        let key = (header.initiator_spi.0, header.responder_spi.0, header.flags.initiator, turn, iv);
        let before = *self.messages.entry(key).or_insert_with(|| hasher.finish());
        assert_eq!(before, hasher.finish(), "two messages under one key and IV: {header:?}");
    }

    /// Takes an SA that a node sends packets with. Its numbers, which are its IVs, go on where they were.
    pub(crate) fn seals(&mut self, node: usize, sa: &ChildSa) {
        let owner = *self.packets.entry(keymat(sa).to_vec()).or_insert((node, sa.id));
        assert_eq!(owner, (node, sa.id), "two SAs seal with one key");
    }
}
