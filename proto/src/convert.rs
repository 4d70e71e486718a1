//! Plans on the wire, to and from the model.

use espalier_model::entry::{Digest, EntryError, EntryKey, MAX_ENTRIES, PlanEntry};
use espalier_model::envelope::{Delta, Envelope, Version, Whole};
use espalier_model::identity::NameError;
use prost::Message;
use thiserror::Error;

use crate::{MAX_MESSAGE_BYTES, v1};

/// A message that is not a plan, or a plan that does not fit into a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// A field that must be there is not.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// A field of a length that it cannot have.
    #[error("field {field} has {found} elements or bytes: at most {most} are allowed")]
    Length {
        /// The field.
        field: &'static str,
        /// Its length.
        found: usize,
        /// The greatest length.
        most: usize,
    },
    /// Not a digest.
    #[error("field digest has {0} bytes instead of 32")]
    Digest(usize),
    /// Not the identity of a node.
    #[error("field node: {0}")]
    Node(#[from] NameError),
    /// Not an entry, or not a key.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl From<Envelope> for v1::Envelope {
    fn from(envelope: Envelope) -> Self {
        Self {
            node: envelope.node.to_string(),
            epoch: envelope.version.epoch,
            generation: envelope.version.generation,
            digest: envelope.digest.as_bytes().to_vec(),
            signature: envelope.signature,
            chain: envelope.chain,
        }
    }
}

impl TryFrom<v1::Envelope> for Envelope {
    type Error = WireError;

    fn try_from(message: v1::Envelope) -> Result<Self, WireError> {
        at_most("node", message.node.len(), MAX_NODE)?;
        at_most("signature", message.signature.len(), MAX_SIGNATURE)?;
        at_most("chain", message.chain.len(), MAX_CHAIN)?;
        for certificate in &message.chain {
            at_most("chain", certificate.len(), MAX_CERTIFICATE)?;
        }
        let digest = <[u8; 32]>::try_from(message.digest).map_err(|bytes| WireError::Digest(bytes.len()))?;
        Ok(Self {
            node: message.node.parse()?,
            version: Version { epoch: message.epoch, generation: message.generation },
            digest: Digest::from_bytes(digest),
            signature: message.signature,
            chain: message.chain,
        })
    }
}

impl TryFrom<Whole> for v1::Whole {
    type Error = WireError;

    fn try_from(whole: Whole) -> Result<Self, WireError> {
        at_most("entries", whole.entries.len(), MAX_ENTRIES)?;
        let entries = whole.entries.iter().map(PlanEntry::to_json).collect::<Result<_, _>>()?;
        fitting(Self { envelope: Some(whole.envelope.into()), entries })
    }
}

impl TryFrom<v1::Whole> for Whole {
    type Error = WireError;

    fn try_from(message: v1::Whole) -> Result<Self, WireError> {
        let message = fitting(message)?;
        Ok(Self {
            envelope: message.envelope.ok_or(WireError::Missing("envelope"))?.try_into()?,
            entries: read_entries("entries", &message.entries)?,
        })
    }
}

impl TryFrom<Delta> for v1::Delta {
    type Error = WireError;

    fn try_from(delta: Delta) -> Result<Self, WireError> {
        at_most("upsert", delta.upsert.len(), MAX_ENTRIES)?;
        at_most("remove", delta.remove.len(), MAX_ENTRIES)?;
        fitting(Self {
            envelope: Some(delta.envelope.into()),
            base_generation: delta.base_generation,
            upsert: delta.upsert.iter().map(PlanEntry::to_json).collect::<Result<_, _>>()?,
            remove: delta.remove.into_iter().map(String::from).collect(),
        })
    }
}

impl TryFrom<v1::Delta> for Delta {
    type Error = WireError;

    fn try_from(message: v1::Delta) -> Result<Self, WireError> {
        let message = fitting(message)?;
        at_most("remove", message.remove.len(), MAX_ENTRIES)?;
        Ok(Self {
            envelope: message.envelope.ok_or(WireError::Missing("envelope"))?.try_into()?,
            base_generation: message.base_generation,
            upsert: read_entries("upsert", &message.upsert)?,
            remove: message.remove.into_iter().map(EntryKey::try_from).collect::<Result<_, _>>()?,
        })
    }
}

fn read_entries(field: &'static str, entries: &[Vec<u8>]) -> Result<Vec<PlanEntry>, WireError> {
    at_most(field, entries.len(), MAX_ENTRIES)?;
    Ok(entries.iter().enumerate().map(|(at, json)| PlanEntry::from_json(at, json)).collect::<Result<_, _>>()?)
}

fn fitting<M: Message>(message: M) -> Result<M, WireError> {
    // A byte of tag and five of length are what the enclosing ControllerMessage adds at most.
    at_most("message", message.encoded_len(), MAX_MESSAGE_BYTES - 6)?;
    Ok(message)
}

fn at_most(field: &'static str, found: usize, most: usize) -> Result<(), WireError> {
    if found <= most { Ok(()) } else { Err(WireError::Length { field, found, most }) }
}

const MAX_NODE: usize = 320;
/// A P-256 signature in DER has at most 72 bytes.
const MAX_SIGNATURE: usize = 128;
const MAX_CHAIN: usize = 4;
const MAX_CERTIFICATE: usize = 8 << 10;

#[cfg(test)]
mod tests;
