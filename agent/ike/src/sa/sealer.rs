//! Our encrypted messages, whole or in fragments (RFC 7383 §2.5).

use espalier_model::sa::UdpPath;

use crate::wire::sk::fragment::datagram_limit;
use crate::wire::sk::{SealError, SealingKey};
use crate::wire::{Header, Payload};

/// Seals what we send on an IKE SA.
pub(crate) struct Sealer {
    key: SealingKey,
    fragments: bool,
}

impl Sealer {
    /// `fragments` says whether both ends have announced that they can put fragments together.
    pub(crate) const fn new(key: SealingKey, fragments: bool) -> Self {
        Self { key, fragments }
    }

    /// Lends the key, for messages that this endpoint would never send.
    #[cfg(test)]
    pub(crate) const fn key(&mut self) -> &mut SealingKey {
        &mut self.key
    }

    /// Tells whether long messages are fragmented.
    pub(crate) const fn fragments(&self) -> bool {
        self.fragments
    }

    /// Returns the datagrams of a message that takes a path.
    pub(crate) fn seal(
        &mut self,
        path: UdpPath,
        header: &Header,
        payloads: &[Payload],
    ) -> Result<Vec<Vec<u8>>, SealError> {
        //= RFC 7383 §2.3: a message is fragmented only when both ends have announced it
        if self.fragments {
            self.key.seal_within(header, payloads, datagram_limit(path.remote.ip()))
        } else {
            Ok(vec![self.key.seal(header, payloads)?])
        }
    }
}
