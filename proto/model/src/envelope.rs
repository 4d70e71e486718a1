//! The envelope of a plan: whose it is, how new it is, and the controller's word for it.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::entry::{Digest, Entries, EntryError, EntryKey, PlanEntry};
use crate::identity::Identity;
use crate::plan::NodePlan;

/// Says which plan a node has to carry out. A signature stands over everything but itself and the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Envelope {
    /// The node that the plan is for.
    pub node: Identity,
    /// How new the plan is.
    pub version: Version,
    /// The digest of all entries.
    pub digest: Digest,
    /// ECDSA P-256 with SHA-256 over [`Self::signed_bytes`], in the form of ASN.1 DER.
    #[serde(with = "hex_text")]
    pub signature: Vec<u8>,
    /// The certificate of the signer, then the issuing ones, as DER.
    #[serde(with = "hex_texts")]
    pub chain: Vec<Vec<u8>>,
}

/// How new a plan is. Ordered: a restore from backup raises the epoch, each change raises the generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Version {
    /// The life of the controller's database.
    pub epoch: u64,
    /// The change within it.
    pub generation: u64,
}

/// A plan from the first entry to the last. Its JSON is what an agent keeps on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Whole {
    /// The envelope.
    pub envelope: Envelope,
    /// Every entry.
    pub entries: Vec<PlanEntry>,
}

/// What makes the plan of another generation of the same epoch into this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The envelope of the plan that comes out.
    pub envelope: Envelope,
    /// The generation that is changed.
    pub base_generation: u64,
    /// Entries that are added or replaced.
    pub upsert: Vec<PlanEntry>,
    /// Entries that go.
    pub remove: Vec<EntryKey>,
}

/// The plan that a node holds. It changes to another one whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanState {
    node: Identity,
    envelope: Option<Envelope>,
    entries: Entries,
}

/// Why a node does not take a plan. The plan that it holds stays.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The plan of another node.
    #[error("the plan is for {theirs}, this node is {ours}")]
    OtherNode {
        /// Whom it is for.
        theirs: Identity,
        /// Who this is.
        ours: Identity,
    },
    /// An older plan than the one that is held.
    #[error("the plan is older ({offered}) than the one held ({held}); after a restore, raise the controller's epoch")]
    Older {
        /// Its version.
        offered: Version,
        /// The version that is held.
        held: Version,
    },
    /// Changes to a plan that is not held.
    #[error("the changes are to {base}, but this node holds {}", Held(.held))]
    Base {
        /// What they change.
        base: Version,
        /// What is held.
        held: Option<Version>,
    },
    /// The signature is not the controller's.
    #[error("the plan's signature does not hold: {0}")]
    Signature(String),
    /// The entries are not those that the controller signed.
    #[error("the entries have digest {found}, the envelope says {signed}")]
    Digest {
        /// The digest of the entries.
        found: Digest,
        /// The digest in the envelope.
        signed: Digest,
    },
    /// The entries are not a plan.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl Envelope {
    /// Returns what the signature stands over.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"espalier plan envelope v1\0".to_vec();
        bytes.extend(self.version.epoch.to_be_bytes());
        bytes.extend(self.version.generation.to_be_bytes());
        bytes.extend(self.digest.as_bytes());
        // Last, so that no length is needed to keep the fields apart.
        bytes.extend(self.node.to_string().into_bytes());
        bytes
    }
}

impl PlanState {
    /// Returns the state of a node that holds no plan yet.
    #[must_use]
    pub fn new(node: Identity) -> Self {
        Self { node, envelope: None, entries: Entries::default() }
    }

    /// Returns the envelope of the plan that is held.
    #[must_use]
    pub const fn envelope(&self) -> Option<&Envelope> {
        self.envelope.as_ref()
    }

    /// Returns the entries of the plan that is held.
    #[must_use]
    pub const fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Returns the plan that is held, as it travels and is kept.
    #[must_use]
    pub fn whole(&self) -> Option<Whole> {
        let entries = self.entries.iter().map(|(_, entry)| entry.clone()).collect();
        self.envelope.clone().map(|envelope| Whole { envelope, entries })
    }

    /// Takes a plan, and returns it put together. `verify` checks signature and chain over the signed bytes.
    ///
    /// # Errors
    /// The first reason against it; the state is then what it was.
    pub fn accept_whole(
        &mut self,
        whole: Whole,
        verify: impl FnOnce(&Envelope) -> Result<(), String>,
    ) -> Result<NodePlan, Refusal> {
        self.check_envelope(&whole.envelope, verify)?;
        let entries = Entries::new(whole.entries)?;
        self.replace(whole.envelope, entries)
    }

    /// Takes changes to the plan that is held, and returns the outcome put together.
    ///
    /// # Errors
    /// The first reason against it; the state is then what it was.
    pub fn accept_delta(
        &mut self,
        delta: Delta,
        verify: impl FnOnce(&Envelope) -> Result<(), String>,
    ) -> Result<NodePlan, Refusal> {
        let base = Version { epoch: delta.envelope.version.epoch, generation: delta.base_generation };
        self.check_envelope(&delta.envelope, verify)?;
        let held = self.envelope.as_ref().map(|envelope| envelope.version);
        if held != Some(base) {
            return Err(Refusal::Base { base, held });
        }
        let mut entries = self.entries.clone();
        for key in &delta.remove {
            entries.remove(key.as_str());
        }
        for entry in delta.upsert {
            entries.insert(entry)?;
        }
        self.replace(delta.envelope, entries)
    }

    fn check_envelope(
        &self,
        envelope: &Envelope,
        verify: impl FnOnce(&Envelope) -> Result<(), String>,
    ) -> Result<(), Refusal> {
        if envelope.node != self.node {
            return Err(Refusal::OtherNode { theirs: envelope.node.clone(), ours: self.node.clone() });
        }
        verify(envelope).map_err(Refusal::Signature)?;
        match &self.envelope {
            Some(held) if envelope.version < held.version => {
                Err(Refusal::Older { offered: envelope.version, held: held.version })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn replace(&mut self, envelope: Envelope, entries: Entries) -> Result<NodePlan, Refusal> {
        let found = entries.digest();
        if found != envelope.digest {
            return Err(Refusal::Digest { found, signed: envelope.digest });
        }
        let plan = entries.plan()?;
        if plan.node.id != self.node {
            return Err(Refusal::OtherNode { theirs: plan.node.id, ours: self.node.clone() });
        }
        self.envelope = Some(envelope);
        self.entries = entries;
        Ok(plan)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} generation {}", self.epoch, self.generation)
    }
}

/// Shows a version that may not be there.
struct Held<'a>(&'a Option<Version>);

impl fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(version) => version.fmt(f),
            None => f.write_str("no plan"),
        }
    }
}

mod hex_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::entry::key::hex;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        hex::write(bytes).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        hex::read(&text).ok_or_else(|| de::Error::custom("hexadecimal text is expected"))
    }
}

mod hex_texts {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::entry::key::hex;

    pub(super) fn serialize<S: Serializer>(list: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(|bytes| hex::write(bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let list: Option<Vec<_>> = texts.iter().map(|text| hex::read(text)).collect();
        list.ok_or_else(|| de::Error::custom("hexadecimal text is expected"))
    }
}

#[cfg(test)]
mod tests;
