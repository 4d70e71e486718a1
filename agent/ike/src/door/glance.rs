//! What a datagram is, seen without reading it whole: no allocation, no cryptography.

use crate::wire::buffer::Reader;
use crate::wire::header::HEADER_LEN;
use crate::wire::payload::{GENERIC_HEADER_LEN, MAX_PAYLOADS};
use crate::wire::{Header, IkeSpi, Malformed, NotifyType, PayloadType};

/// What a datagram claims to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Glance<'a> {
    /// A request for an IKE SA.
    First(First<'a>),
    /// A message of the IKE SA for which we have chosen this SPI.
    Of(IkeSpi),
}

/// A request for an IKE SA: what a cookie is about, and the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct First<'a> {
    pub(crate) spi: IkeSpi,
    pub(crate) nonce: &'a [u8],
    pub(crate) cookie: Option<&'a [u8]>,
}

impl<'a> Glance<'a> {
    /// Looks at a datagram.
    ///
    /// # Errors
    /// It cannot be a message of IKE.
    pub(crate) fn at(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (header, first) = Header::parse(datagram)?;
        if header.opens_sa() {
            return First::read(&header, first, datagram).map(Self::First);
        }
        Ok(Self::Of(if header.flags.initiator { header.responder_spi } else { header.initiator_spi }))
    }
}

impl<'a> First<'a> {
    /// Looks at a request for an IKE SA.
    ///
    /// # Errors
    /// It cannot be one.
    pub(crate) fn at(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (header, first) = Header::parse(datagram)?;
        Self::read(&header, first, datagram)
    }

    fn read(header: &Header, first: PayloadType, datagram: &'a [u8]) -> Result<Self, Malformed> {
        if header.initiator_spi == IkeSpi::ZERO || header.responder_spi != IkeSpi::ZERO {
            return Err(Malformed::Value("SPI of a first message"));
        }
        if header.message_id != 0 {
            return Err(Malformed::Value("message ID of a first message"));
        }
        let mut reader = Reader::new(datagram);
        reader.take(HEADER_LEN, "header")?;
        let (mut kind, mut nonce, mut cookie) = (first, None, None);
        for place in 0..=MAX_PAYLOADS {
            if kind == PayloadType::NONE {
                let nonce = nonce.ok_or(Malformed::Truncated("nonce"))?;
                return Ok(Self { spi: header.initiator_spi, nonce, cookie });
            }
            let next = PayloadType(reader.u8("payload header")?);
            reader.u8("payload header")?;
            let length = reader.u16("payload header")?;
            let mut body = reader.sub(length, GENERIC_HEADER_LEN, "payload")?;
            if kind == PayloadType::NONCE && nonce.is_none() {
                nonce = Some(body.rest()).filter(|nonce| (16..=256).contains(&nonce.len()));
            } else if kind == PayloadType::NOTIFY && place == 0 {
                cookie = read_cookie(body)?;
            }
            kind = next;
        }
        Err(Malformed::TooMany("payloads"))
    }
}

/// Reads the first payload of a request that repeats another: it holds the cookie.
fn read_cookie(mut body: Reader<'_>) -> Result<Option<&[u8]>, Malformed> {
    body.u8("notify")?;
    let spi_length = body.u8("notify")?;
    let kind = NotifyType(body.u16("notify")?);
    body.take(spi_length.into(), "notify SPI")?;
    Ok((kind == NotifyType::COOKIE).then(|| body.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ExchangeType, Flags};
    use crate::wire::{Message, Nonce, Notify, Payload};

    fn first(payloads: Vec<Payload>) -> Vec<u8> {
        let header = Header {
            initiator_spi: IkeSpi(7),
            responder_spi: IkeSpi::ZERO,
            exchange: ExchangeType::IKE_SA_INIT,
            flags: Flags { initiator: true, response: false },
            message_id: 0,
        };
        Message { header, payloads }.emit().unwrap()
    }

    fn nonce() -> Payload {
        Payload::Nonce(Nonce::new(vec![9; 32]).unwrap())
    }

    fn cookie() -> Payload {
        Payload::Notify(Notify::new(NotifyType::COOKIE, vec![1, 2, 3]))
    }

    #[test]
    fn a_cookie_counts_as_first_payload_only() {
        let seen = |payloads| match Glance::at(&first(payloads)) {
            Ok(Glance::First(First { spi: IkeSpi(7), nonce, cookie })) if nonce == [9; 32] => {
                cookie.map(<[u8]>::to_vec)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(seen(vec![nonce()]), None);
        assert_eq!(seen(vec![cookie(), nonce()]), Some(vec![1, 2, 3]));
        assert_eq!(seen(vec![nonce(), cookie()]), None);
        let other = Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, vec![]));
        assert_eq!(seen(vec![other, nonce()]), None);
    }

    #[test]
    fn what_is_cut_short_or_has_no_nonce_is_no_first_message() {
        let whole = first(vec![cookie(), nonce()]);
        assert!(Glance::at(&whole).is_ok());
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            assert!(Glance::at(&cut).is_err(), "{length} bytes");
            if let Some(field) = cut.get_mut(24..28) {
                field.copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
                assert!(Glance::at(&cut).is_err(), "{length} bytes that say so");
            }
        }
        assert!(Glance::at(&first(vec![cookie()])).is_err());
        for (at, value) in [(15, 1), (23, 1)] {
            let mut wrong = whole.clone();
            wrong[at] = value;
            assert!(Glance::at(&wrong).is_err(), "byte {at} is {value}");
        }
        let mut nobody = whole;
        nobody[..8].fill(0);
        assert!(Glance::at(&nobody).is_err());
    }

    #[test]
    fn other_messages_are_for_the_sa_whose_spi_is_ours() {
        for (flags, ours) in [(8, 2), (0x28, 2), (0x20, 1), (0, 1)] {
            let mut message = [0; HEADER_LEN];
            message[7] = 1;
            message[15] = 2;
            message[17..20].copy_from_slice(&[0x20, 37, flags]);
            message[27] = 28;
            assert_eq!(Glance::at(&message), Ok(Glance::Of(IkeSpi(ours))), "flags {flags}");
        }
    }
}
