//! Plan entries: a node plan taken apart into pieces with stable keys, so that a change travels as its own size.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::plan::{NodePlan, PeerAuth, PlanError, PlannedNode, PlannedPeer, Rule};
use crate::profile::Profile;
use crate::revocation::Revocation;

pub use key::{Digest, EntryKey};

pub(crate) mod key;

/// One piece of a node plan that comes from a controller. It names no path: keys and secrets stay on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanEntry {
    /// The node itself.
    Node(PlannedNode),
    /// A prefix that is dropped unless a rule protects or bypasses it.
    Strict(IpNet),
    /// A certificate that ends a peer's chain, as PEM text.
    Trust(String),
    /// A profile.
    Profile(Profile),
    /// A peer.
    Peer(PlannedPeer),
    /// An entry of the security policy database.
    Rule(Rule),
    /// The serial number of a revoked certificate, lower-case hexadecimal.
    Revoked(String),
}

/// The entries of one plan, with a digest each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries(BTreeMap<EntryKey, Kept>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    entry: PlanEntry,
    digest: [u8; 32],
}

/// Entries that are not a plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryError {
    /// Not the key of an entry.
    #[error("\"{0}\" is not the key of a plan entry")]
    Key(String),
    /// Not a digest.
    #[error("\"{0}\" is not a digest: 64 lower-case hexadecimal digits are")]
    Digest(String),
    /// The JSON is not an entry.
    #[error("plan entry {at}: {message}")]
    Syntax {
        /// Its place in the list.
        at: usize,
        /// What is wrong.
        message: String,
    },
    /// The same key twice.
    #[error("plan entry {0} stands twice")]
    Duplicate(EntryKey),
    /// A path, which has a meaning in plan files only.
    #[error("plan entry {0} names a file: a plan from the controller must not")]
    Path(EntryKey),
    /// Not a serial number.
    #[error("plan entry {0} is not a serial number in lower-case hexadecimal")]
    Serial(EntryKey),
    /// More entries than a plan may have.
    #[error("{0} plan entries are too many: at most {MAX_ENTRIES} are allowed")]
    TooMany(usize),
    /// The entry of the node itself is missing.
    #[error("the plan has no entry of the node itself")]
    NoNode,
    /// The plan as a whole cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl PlanEntry {
    /// Returns the key, which is unique in a plan.
    #[must_use]
    pub fn key(&self) -> EntryKey {
        EntryKey::of(match self {
            Self::Node(_) => "node".to_owned(),
            Self::Strict(net) => format!("strict/{net}"),
            Self::Trust(pem) => format!("trust/{}", Digest::from_bytes(Sha256::digest(pem).into())),
            Self::Profile(profile) => format!("profile/{}", profile.name),
            Self::Peer(peer) => format!("peer/{}", peer.id),
            Self::Rule(rule) => format!("rule/{}", rule.name),
            Self::Revoked(serial) => format!("revoked/{serial}"),
        })
    }

    /// Reads an entry from JSON; `at` is its place in the list, for the error.
    ///
    /// # Errors
    /// `EntryError::Syntax` when it is none, `Path` when it names a file.
    pub fn from_json(at: usize, json: &[u8]) -> Result<Self, EntryError> {
        let entry: Self =
            serde_json::from_slice(json).map_err(|e| EntryError::Syntax { at, message: e.to_string() })?;
        entry.check()?;
        Ok(entry)
    }

    /// Writes the entry as JSON.
    ///
    /// # Errors
    /// `EntryError::Path` when it names a file.
    ///
    /// # Panics
    /// Never: only a path could lack a JSON form.
    pub fn to_json(&self) -> Result<Vec<u8>, EntryError> {
        self.check()?;
        Ok(serde_json::to_vec(self).expect("numbers, texts and lists have a JSON form"))
    }

    fn check(&self) -> Result<(), EntryError> {
        match self {
            Self::Node(node) if node.certificate.is_some() || node.key.is_some() => Err(EntryError::Path(self.key())),
            Self::Peer(peer) if peer.auth != PeerAuth::Certificate || peer.ppk.is_some() => {
                Err(EntryError::Path(self.key()))
            }
            Self::Trust(pem) if !pem.starts_with("-----BEGIN CERTIFICATE-----") => Err(EntryError::Path(self.key())),
            Self::Revoked(serial) if !is_serial(serial) => Err(EntryError::Serial(self.key())),
            Self::Node(_)
            | Self::Strict(_)
            | Self::Trust(_)
            | Self::Profile(_)
            | Self::Peer(_)
            | Self::Rule(_)
            | Self::Revoked(_) => Ok(()),
        }
    }
}

impl Entries {
    /// Takes entries, each key once.
    ///
    /// # Errors
    /// The first entry that cannot be part of a plan.
    pub fn new(entries: impl IntoIterator<Item = PlanEntry>) -> Result<Self, EntryError> {
        let mut all = Self::default();
        for entry in entries {
            if let Some(before) = all.insert(entry)? {
                return Err(EntryError::Duplicate(before.key()));
            }
        }
        Ok(all)
    }

    /// Takes a plan apart. What stands twice in a set stands once after it.
    ///
    /// # Errors
    /// A plan that cannot be carried out, or that names files.
    pub fn of_plan(plan: &NodePlan) -> Result<Self, EntryError> {
        plan.check()?;
        let mut all = Self::default();
        let parts = std::iter::once(PlanEntry::Node(plan.node.clone()))
            .chain(plan.strict.iter().copied().map(PlanEntry::Strict))
            .chain(plan.trust.iter().cloned().map(PlanEntry::Trust))
            .chain(plan.profiles.iter().cloned().map(PlanEntry::Profile))
            .chain(plan.peers.iter().cloned().map(PlanEntry::Peer))
            .chain(plan.rules.iter().cloned().map(PlanEntry::Rule))
            .chain(plan.revoked.iter().cloned().map(PlanEntry::Revoked));
        for entry in parts {
            all.insert(entry)?;
        }
        Ok(all)
    }

    /// Puts the plan together and checks it.
    ///
    /// # Errors
    /// `EntryError::NoNode`, or what keeps the plan from being carried out.
    pub fn plan(&self) -> Result<NodePlan, EntryError> {
        let node = match self.get("node") {
            Some(PlanEntry::Node(node)) => node.clone(),
            _ => return Err(EntryError::NoNode),
        };
        let mut plan = NodePlan {
            node,
            trust: Vec::new(),
            strict: Vec::new(),
            profiles: Vec::new(),
            peers: Vec::new(),
            rules: Vec::new(),
            revoked: Vec::new(),
            revocation: Revocation::default(),
        };
        for entry in self.iter().map(|(_, entry)| entry.clone()) {
            match entry {
                PlanEntry::Node(_) => {}
                PlanEntry::Strict(net) => plan.strict.push(net),
                PlanEntry::Trust(pem) => plan.trust.push(pem),
                PlanEntry::Profile(profile) => plan.profiles.push(profile),
                PlanEntry::Peer(peer) => plan.peers.push(peer),
                PlanEntry::Rule(rule) => plan.rules.push(rule),
                PlanEntry::Revoked(serial) => plan.revoked.push(serial),
            }
        }
        plan.check()?;
        Ok(plan)
    }

    /// Adds an entry, and returns the one of the same key that it replaces.
    ///
    /// # Errors
    /// `EntryError::Path` when it names a file, `TooMany` beyond 100,000 entries.
    pub fn insert(&mut self, entry: PlanEntry) -> Result<Option<PlanEntry>, EntryError> {
        let json = entry.to_json()?;
        let key: EntryKey = entry.key().as_str().parse()?;
        if self.0.len() >= MAX_ENTRIES && !self.0.contains_key(&key) {
            return Err(EntryError::TooMany(self.0.len() + 1));
        }
        let digest = Sha256::new_with_prefix(key.as_str()).chain_update([0]).chain_update(json).finalize();
        Ok(self.0.insert(key, Kept { entry, digest: digest.into() }).map(|kept| kept.entry))
    }

    /// Takes an entry away.
    pub fn remove(&mut self, key: &str) -> Option<PlanEntry> {
        self.0.remove(key).map(|kept| kept.entry)
    }

    /// Returns an entry.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&PlanEntry> {
        self.0.get(key).map(|kept| &kept.entry)
    }

    /// Returns every entry in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&EntryKey, &PlanEntry)> {
        self.0.iter().map(|(key, kept)| (key, &kept.entry))
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the digest of all entries.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new_with_prefix(b"espalier plan entries v1\0");
        self.0.values().for_each(|kept| hash.update(kept.digest));
        Digest::from_bytes(hash.finalize().into())
    }

    /// Returns what must be added and removed to come from `base` to these entries.
    #[must_use]
    pub fn changes_since(&self, base: &Self) -> (Vec<PlanEntry>, Vec<EntryKey>) {
        let new = self.0.iter().filter(|(key, kept)| base.0.get(*key).map(|b| b.digest) != Some(kept.digest));
        let gone = base.0.keys().filter(|key| !self.0.contains_key(*key));
        (new.map(|(_, kept)| kept.entry.clone()).collect(), gone.cloned().collect())
    }
}

fn is_serial(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The most entries that one plan may have.
pub const MAX_ENTRIES: usize = 100_000;

#[cfg(test)]
mod tests;
