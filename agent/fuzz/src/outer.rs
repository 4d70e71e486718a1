//! What anybody may send: the header and payloads in clear, read as values, and by endpoints that have proven nothing to each
//! other.

use espalier_ike::Output;
use espalier_ike::wire::{Header, Message, Payload};
use espalier_model::suite::IkeEncryption;

use crate::domain;
use crate::pair::{Pair, total};

/// Takes a datagram.
pub fn target(data: &[u8]) {
    let _ = Message::parse(data);
    let datagram = with_length(data);
    if let Ok(message) = Message::parse(&datagram) {
        round_trip(&message);
    }
    if Header::parse(&datagram).is_ok() {
        strangers(&datagram);
    }
}

/// What was read is written, and read again as the same.
pub(crate) fn round_trip(message: &Message) {
    if !is_whole(message) {
        return;
    }
    let bytes = message.emit().expect("what was read fits a message");
    assert_eq!(Message::parse(&bytes).as_ref(), Ok(message));
}

/// Tells whether everything in a message is kept: attributes of transforms and kinds of selectors that are not known here are not.
pub(crate) fn is_whole(message: &Message) -> bool {
    message.payloads.iter().all(|payload| match payload {
        Payload::SecurityAssociation(offer) => offer.iter().flat_map(|p| &p.transforms).all(|t| !t.foreign),
        Payload::SelectorsInitiator(list) | Payload::SelectorsResponder(list) => !list.is_empty(),
        _ => true,
    })
}

/// Both ends of a handshake that has just begun get the datagram, under the SPIs that they know.
fn strangers(datagram: &[u8]) {
    let mut pair = Pair::new(IkeEncryption::Aes256Gcm16);
    let profile = domain::profile(IkeEncryption::Aes256Gcm16);
    pair.configure(1, vec![domain::peer(1, &profile, &[0])]);
    pair.configure(0, vec![domain::peer(0, &profile, &[0])]);
    let ours: [u8; 8] = *pair.wire[0].datagram.first_chunk().unwrap();
    for to in 0..2 {
        let seen = domain::path(to);
        let mut copy = datagram.to_vec();
        if to == 0 {
            copy[..8].copy_from_slice(&ours);
        }
        let endpoint = &mut pair.sides[to].endpoint;
        let before = total(endpoint.counters());
        endpoint.handle_datagram(pair.now, seen, &copy);
        assert_eq!(total(endpoint.counters()), before + 1, "a datagram is counted once");
        assert!(endpoint.status().is_empty() && endpoint.sa_count() <= 2, "an SA without a proof");
        let mut sent = 0;
        while let Some(output) = endpoint.poll_output() {
            assert!(!matches!(output, Output::InstallInbound(_) | Output::UseOutbound(_) | Output::Up(..)));
            if let Output::Transmit { datagram, .. } = output {
                sent += datagram.len();
            }
        }
        assert!(sent <= 3 * datagram.len() + 2_000, "{sent} bytes for {}", datagram.len());
    }
}

/// Sets the length field of a header right, so that a cut or grown message is looked at.
pub(crate) fn with_length(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    if let (Some(field), Ok(length)) = (bytes.get_mut(24..28), u32::try_from(data.len())) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    bytes
}
