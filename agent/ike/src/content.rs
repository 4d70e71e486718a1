//! The payloads of a message by their meaning, each at most once where the exchange knows only one.

use espalier_model::selector::TrafficSelector;

use crate::wire::{
    Authentication, CertificateEncoding, Configuration, Delete, Identification, KeyExchangeData, Malformed, Nonce,
    Notify, NotifyType, Payload, Proposal,
};

/// What a message holds. Vendor IDs and unknown payloads that are not critical are left out.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) proposals: Option<Vec<Proposal>>,
    pub(crate) key_exchange: Option<KeyExchangeData>,
    pub(crate) nonce: Option<Nonce>,
    pub(crate) initiator: Option<Identification>,
    pub(crate) responder: Option<Identification>,
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) selectors_initiator: Option<Vec<TrafficSelector>>,
    pub(crate) selectors_responder: Option<Vec<TrafficSelector>>,
    pub(crate) configuration: Option<Configuration>,
    pub(crate) notifies: Vec<Notify>,
    pub(crate) deletes: Vec<Delete>,
}

impl Content {
    /// Sorts the payloads of a message.
    pub(crate) fn read(payloads: Vec<Payload>) -> Result<Self, Malformed> {
        let mut content = Self::default();
        //= RFC 7296 §2.5: payloads may come in any order
        for payload in payloads {
            content.add(payload)?;
        }
        Ok(content)
    }

    fn add(&mut self, payload: Payload) -> Result<(), Malformed> {
        match payload {
            Payload::SecurityAssociation(value) => once(&mut self.proposals, value),
            Payload::KeyExchange(value) => once(&mut self.key_exchange, value),
            Payload::Nonce(value) => once(&mut self.nonce, value),
            Payload::IdInitiator(value) => once(&mut self.initiator, value),
            Payload::IdResponder(value) => once(&mut self.responder, value),
            Payload::Authentication(value) => once(&mut self.authentication, value),
            Payload::SelectorsInitiator(value) => once(&mut self.selectors_initiator, value),
            Payload::SelectorsResponder(value) => once(&mut self.selectors_responder, value),
            Payload::Configuration(value) => once(&mut self.configuration, value),
            Payload::Certificate(value) => {
                //= RFC 7296 §3.6: no certificate is fetched from a URL; only X.509 itself is read
                if value.encoding == CertificateEncoding::X509_SIGNATURE {
                    self.certificates.push(value.data);
                }
                Ok(())
            }
            Payload::Notify(value) => {
                self.notifies.push(value);
                Ok(())
            }
            Payload::Delete(value) => {
                self.deletes.push(value);
                Ok(())
            }
            //= RFC 7296 §3.10.1: what is not asked for has no effect
            Payload::CertificateRequest(_) | Payload::VendorId(_) | Payload::Unknown(..) | Payload::Encrypted(_) => {
                Ok(())
            }
        }
    }

    /// Returns the data of a notification, if there is one of the kind.
    pub(crate) fn notify(&self, kind: NotifyType) -> Option<&[u8]> {
        self.notifies.iter().find(|n| n.notify_type == kind).map(|n| n.data.as_slice())
    }

    /// Returns the first notification that states an error.
    pub(crate) fn error(&self) -> Option<NotifyType> {
        //= RFC 7296 §3.10.1: an unknown error in a response means that the request has failed
        self.notifies.iter().map(|n| n.notify_type).find(|kind| kind.is_error())
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    if slot.is_some() {
        return Err(Malformed::TooMany("payloads of one kind"));
    }
    *slot = Some(value);
    Ok(())
}
