//! One handshake as the initiator of a load: as little work as the responder lets pass.
//!
//! It proves itself and decrypts the answer, but believes the responder without a look at its certificates: what is measured is
//! the responder, and half of the asymmetric operations leave the initiator the time that it needs to keep the responder busy.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use espalier_crypto::{KeyShare, SigningKey, random};
use espalier_ike::auth::{HashAlgorithms, SignedOctets};
use espalier_ike::keymat::{self, AuthKeys, IkeSpis, Nonces};
use espalier_ike::wire::proposal::{ChildExchange, accept_ike, key_exchange_id, offer_child, offer_ike};
use espalier_ike::wire::sk::{OpeningKey, SealingKey};
use espalier_ike::wire::{
    Certificate, CertificateEncoding, ExchangeType, Flags, Header, Identification, IkeSpi, KeyExchangeData, Message,
    Nonce, Notify, NotifyType, Payload, SpiField,
};
use espalier_model::identity::Identity;
use espalier_model::profile::{AdditionalKeyExchanges, Profile};
use espalier_model::sa::Spi;
use espalier_model::selector::TrafficSelector;
use espalier_model::suite::{EspSuite, IkeEncryption, KeyExchange, Prf};

/// Who shakes hands, and for which traffic.
pub(crate) struct Client {
    pub(crate) id: Identity,
    pub(crate) address: IpAddr,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: SigningKey,
    pub(crate) local: Vec<TrafficSelector>,
    pub(crate) remote: Vec<TrafficSelector>,
}

/// Has sent `IKE_SA_INIT`.
pub(crate) struct InitSent {
    pub(crate) message: Vec<u8>,
    spi: IkeSpi,
    nonce: Nonce,
    share: KeyShare,
}

/// Has sent `IKE_AUTH`.
pub(crate) struct AuthSent {
    pub(crate) message: Vec<u8>,
    opening: OpeningKey,
}

impl InitSent {
    /// Starts.
    pub(crate) fn new() -> Result<Self> {
        let spi = IkeSpi(u64::from_be_bytes(drawn()).max(1));
        let nonce = Nonce::new(drawn::<32>().to_vec())?;
        let share = KeyShare::generate(KeyExchange::X25519)?;
        // No address has a hash like these, so both ends see a NAT and put ESP in UDP.
        let nat = |kind| Payload::Notify(Notify::new(kind, drawn::<20>().to_vec()));
        let method = key_exchange_id(KeyExchange::X25519);
        let payloads = vec![
            Payload::SecurityAssociation(offer_ike(&profile()?, SpiField::None)),
            Payload::KeyExchange(KeyExchangeData { method, data: share.public().to_vec() }),
            Payload::Nonce(nonce.clone()),
            nat(NotifyType::NAT_DETECTION_SOURCE_IP),
            nat(NotifyType::NAT_DETECTION_DESTINATION_IP),
            Payload::Notify(HashAlgorithms::announce()),
        ];
        let spis = IkeSpis { initiator: spi, responder: IkeSpi::ZERO };
        let message = Message { header: header(spis, ExchangeType::IKE_SA_INIT, 0), payloads }.emit()?;
        Ok(Self { message, spi, nonce, share })
    }

    /// Returns the SPI by which answers are told apart.
    pub(crate) const fn spi(&self) -> IkeSpi {
        self.spi
    }

    /// Goes on with the answer.
    pub(crate) fn answered(self, client: &Client, datagram: &[u8]) -> Result<AuthSent> {
        let Message { header: answer, payloads } = Message::parse(datagram)?;
        let (mut suite, mut share, mut nonce, mut hashes) = (None, None, None, HashAlgorithms::default());
        for payload in &payloads {
            if let Payload::SecurityAssociation(proposals) = payload {
                suite = accept_ike(&profile()?, proposals);
            } else if let Payload::KeyExchange(value) = payload {
                share = Some(&value.data);
            } else if let Payload::Nonce(value) = payload {
                nonce = Some(value.clone());
            } else if let Payload::Notify(notify) = payload
                && notify.notify_type == NotifyType::SIGNATURE_HASH_ALGORITHMS
            {
                hashes = HashAlgorithms::read(&notify.data)?;
            }
        }
        let suite = suite.with_context(|| format!("the offer is refused: {payloads:?}"))?.suite;
        let shared = self.share.agree(share.context("no key exchange")?)?;
        let nonces = Nonces { initiator: self.nonce, responder: nonce.context("no nonce")? };
        let spis = IkeSpis { initiator: self.spi, responder: answer.responder_spi };
        let (keys, auth) = keymat::initial(suite.prf, suite.encryption, &shared, &nonces, spis)?;
        let payloads = proof(client, &auth, &self.message, &nonces.responder, &hashes)?;
        let message = SealingKey::new(keys.encryption, &keys.sk_ei, &keys.sk_ai)?
            .seal(&header(spis, ExchangeType::IKE_AUTH, 1), &payloads)?;
        Ok(AuthSent { message, opening: OpeningKey::new(keys.encryption, &keys.sk_er, &keys.sk_ar)? })
    }
}

impl AuthSent {
    /// Checks that the answer is authentic, and that the SA stands with a child SA.
    pub(crate) fn answered(&self, datagram: &[u8]) -> Result<()> {
        let payloads = self.opening.open(datagram)?.payloads;
        let has = |wanted: fn(&Payload) -> bool| payloads.iter().any(wanted);
        let whole = has(|p| matches!(p, Payload::Authentication(_)))
            && has(|p| matches!(p, Payload::SecurityAssociation(_)))
            && has(|p| matches!(p, Payload::SelectorsResponder(_)));
        let errors = || payloads.iter().filter(|p| matches!(p, Payload::Notify(n) if n.notify_type.is_error()));
        ensure!(whole, "the responder refuses: {:?}", errors().collect::<Vec<_>>());
        Ok(())
    }
}

fn proof(
    client: &Client,
    keys: &AuthKeys,
    first: &[u8],
    nonce: &Nonce,
    hashes: &HashAlgorithms,
) -> Result<Vec<Payload>> {
    let id = Identification::from(&client.id);
    let octets = SignedOctets::new(keys.prf, &keys.sk_pi, first, nonce, &id);
    let encoding = CertificateEncoding::X509_SIGNATURE;
    let certificate = |der: &Vec<u8>| Payload::Certificate(Certificate { encoding, data: der.clone() });
    let mut payloads = vec![Payload::IdInitiator(id)];
    payloads.extend(client.chain.iter().map(certificate));
    payloads.push(Payload::Authentication(octets.sign(&client.key, hashes)?));
    let spi = Spi::try_from(u32::from_be_bytes(drawn()) | LOWEST_SPI)?;
    payloads.push(Payload::SecurityAssociation(offer_child(&profile()?, ChildExchange::Auth, spi)));
    payloads.push(Payload::SelectorsInitiator(client.local.clone()));
    payloads.push(Payload::SelectorsResponder(client.remote.clone()));
    Ok(payloads)
}

/// What both responders choose.
fn profile() -> Result<Profile> {
    Ok(Profile {
        ike_encryption: vec![IkeEncryption::Aes256Gcm16],
        prf: vec![Prf::HmacSha384],
        key_exchange: vec![KeyExchange::X25519],
        additional_key_exchange: AdditionalKeyExchanges::NONE,
        esp: vec![EspSuite::Aes256Gcm16],
        ..Profile::standard("default".parse()?)
    })
}

const fn header(spis: IkeSpis, exchange: ExchangeType, message_id: u32) -> Header {
    let flags = Flags { initiator: true, response: false };
    Header { initiator_spi: spis.initiator, responder_spi: spis.responder, exchange, flags, message_id }
}

fn drawn<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    random(&mut bytes);
    bytes
}

/// Lower ones are reserved.
const LOWEST_SPI: u32 = 256;
