//! Messages sealed with the right keys, whatever they hold. The keys are those that an endpoint gives out for Wireshark.

use espalier_crypto::{AeadProvider, RecordKey};
use espalier_ike::keylog::{KeylogLine, KeylogTable};
use espalier_ike::wire::buffer::Writer;
use espalier_ike::wire::header::HEADER_LEN;
use espalier_ike::wire::{Header, PayloadType};
use espalier_model::suite::{Cipher, IkeEncryption};

const GENERIC_HEADER_LEN: usize = 4;
const PLACE_LEN: usize = 4;

/// The keys of an IKE SA, of both directions.
pub(crate) struct SaKeys {
    initiator: RecordKey,
    responder: RecordKey,
}

impl SaKeys {
    /// Reads a line of the table of IKE SAs. Returns the SPIs besides.
    pub(crate) fn read(encryption: IkeEncryption, line: &KeylogLine) -> Option<((u64, u64), Self)> {
        if line.table() != KeylogTable::Ike {
            return None;
        }
        let (numbers, rest) = line.text().split_once(",\"")?;
        let (_, rest) = rest.split_once("\",")?;
        let (integrity, _) = rest.split_once(",\"")?;
        let [spi_i, spi_r, ei, er] = numbers.split(',').collect::<Vec<_>>().try_into().ok()?;
        let (ai, ar) = integrity.split_once(',')?;
        let spi = |hex: &str| u64::from_str_radix(hex, 16).ok();
        let key = |e: &str, a: &str| key(encryption.cipher(), &bytes(e), &bytes(a));
        Some(((spi(spi_i)?, spi(spi_r)?), Self { initiator: key(ei, ai), responder: key(er, ar) }))
    }

    /// Returns the key of one direction.
    pub(crate) const fn of(&self, from_initiator: bool) -> &RecordKey {
        if from_initiator { &self.initiator } else { &self.responder }
    }
}

/// Makes the key of a direction.
pub(crate) fn key(cipher: Cipher, encryption: &[u8], integrity: &[u8]) -> RecordKey {
    RecordKey::new(AeadProvider::Ring, cipher, encryption, integrity).expect("keys have the lengths of their cipher")
}

/// Seals a text as it is, padded and behind a right header: as a fragment where a place is given.
pub(crate) fn seal(
    key: &RecordKey,
    counter: u64,
    header: &Header,
    first: PayloadType,
    place: Option<(u16, u16)>,
    text: &[u8],
) -> Vec<u8> {
    let cipher = key.cipher();
    let mut text = text.to_vec();
    let padding = (text.len() + 1).next_multiple_of(cipher.block_len()) - text.len() - 1;
    text.extend(std::iter::repeat_n(0, padding));
    text.push(u8::try_from(padding).unwrap());
    let clear = if place.is_some() { PLACE_LEN } else { 0 };
    let length = GENERIC_HEADER_LEN + clear + cipher.iv_len() + text.len() + cipher.icv_len();
    let mut w = Writer::new();
    header.emit(if place.is_some() { PayloadType::SKF } else { PayloadType::SK }, length, &mut w).unwrap();
    w.u8(first.0);
    w.u8(0);
    w.u16(u16::try_from(length).unwrap());
    if let Some((number, total)) = place {
        w.u16(number);
        w.u16(total);
    }
    let clear = w.finish();
    let (mut iv, mut icv) = (vec![0; cipher.iv_len()], vec![0; cipher.icv_len()]);
    key.seal(counter, &clear, &mut iv, &mut text, &mut icv).expect("the layout is that of the cipher");
    [clear, iv, text, icv].concat()
}

/// Opens a whole message: the type of its first payload, and the payloads without padding.
pub(crate) fn open(key: &RecordKey, datagram: &[u8]) -> Option<(PayloadType, Vec<u8>)> {
    let cipher = key.cipher();
    let (clear, rest) = datagram.split_at_checked(HEADER_LEN + GENERIC_HEADER_LEN)?;
    let (iv, rest) = rest.split_at_checked(cipher.iv_len())?;
    let (text, icv) = rest.split_at_checked(rest.len().checked_sub(cipher.icv_len())?)?;
    let mut text = text.to_vec();
    key.open(clear, iv, &mut text, icv).ok()?;
    let padding = usize::from(text.pop()?);
    text.truncate(text.len().checked_sub(padding)?);
    Some((PayloadType(*clear.get(HEADER_LEN)?), text))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap();
    hex.as_bytes().as_chunks::<2>().0.iter().map(|[high, low]| digit(high) << 4 | digit(low)).collect()
}
