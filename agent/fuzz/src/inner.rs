//! What a peer sends encrypted, once it is decrypted: the first byte is the type of the first payload.

use std::sync::LazyLock;

use espalier_crypto::RecordKey;
use espalier_ike::auth::HashAlgorithms;
use espalier_ike::wire::proposal::{self, ChildExchange};
use espalier_ike::wire::sk::{OpenError, OpeningKey, SealingKey};
use espalier_ike::wire::{ExchangeType, Flags, Header, IkeSpi, Payload, PayloadType};
use espalier_model::profile::Profile;
use espalier_model::secret::Secret;
use espalier_model::suite::IkeEncryption;

use crate::outer::is_whole;
use crate::{domain, forge};

const ENCRYPTION: IkeEncryption = IkeEncryption::Aes128Gcm16;
const KEY: [u8; 20] = [7; 20];
const HEADER: Header = Header {
    initiator_spi: IkeSpi(1),
    responder_spi: IkeSpi(2),
    exchange: ExchangeType::INFORMATIONAL,
    flags: Flags { initiator: true, response: false },
    message_id: 5,
};

static FORGING: LazyLock<RecordKey> = LazyLock::new(|| forge::key(ENCRYPTION.cipher(), &KEY, &[]));
static PROFILE: LazyLock<Profile> = LazyLock::new(|| domain::profile(ENCRYPTION));

/// Takes the type of the first payload, and the payloads.
pub fn target(data: &[u8]) {
    let Some((first, text)) = data.split_first().filter(|(_, text)| text.len() < 60_000) else { return };
    let (keys, none) = (Secret::from(&KEY[..]), Secret::from(&[][..]));
    let opening = OpeningKey::new(ENCRYPTION, &keys, &none).unwrap();
    let datagram = forge::seal(&FORGING, 1, &HEADER, PayloadType(*first), None, text);
    let message = match opening.open(&datagram) {
        Ok(message) => message,
        Err(error) => return assert!(matches!(error, OpenError::Inner(_)), "a sealed message is not opened: {error}"),
    };
    message.payloads.iter().for_each(look_into);
    if !is_whole(&message) {
        return;
    }
    // What was read is sealed, whole or in fragments, and opened again as the same.
    let mut sealing = SealingKey::new(ENCRYPTION, &keys, &none).unwrap();
    let again = sealing.seal(&message.header, &message.payloads).expect("what was read can be sent");
    assert_eq!(opening.open(&again), Ok(message.clone()));
    for fragment in sealing.seal_within(&message.header, &message.payloads, 300).unwrap_or_default() {
        assert!(fragment.len() <= 300 && (opening.open_fragment(&fragment).is_ok() || opening.open(&fragment).is_ok()));
    }
}

/// Reads what has a meaning of its own.
fn look_into(payload: &Payload) {
    match payload {
        Payload::SecurityAssociation(offer) => {
            for exchange in [ChildExchange::Auth, ChildExchange::Create] {
                let chosen = proposal::choose_child(&PROFILE, exchange, offer);
                assert!(chosen.is_none_or(|chosen| PROFILE.esp.contains(&chosen.suite.protection)));
                let accepted = proposal::accept_child(&PROFILE, exchange, offer);
                assert!(accepted.is_none_or(|accepted| PROFILE.esp.contains(&accepted.suite.protection)));
            }
            let ours = |suite: proposal::IkeSuite| {
                PROFILE.prf.contains(&suite.prf) && PROFILE.key_exchange.contains(&suite.key_exchange)
            };
            assert!(proposal::choose_ike(&PROFILE, offer).is_none_or(|chosen| ours(chosen.suite)));
            assert!(proposal::accept_ike(&PROFILE, offer).is_none_or(|accepted| ours(accepted.suite)));
        }
        Payload::IdInitiator(id) | Payload::IdResponder(id) => {
            if let Some(identity) = id.identity() {
                let again = espalier_ike::wire::Identification::from(&identity);
                assert_eq!(again.identity(), Some(identity));
            }
        }
        Payload::Notify(notify) => _ = HashAlgorithms::read(&notify.data),
        _ => {}
    }
}
