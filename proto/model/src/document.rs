//! Documents: what operators write and REST carries, as YAML or JSON of one shape.
//!
//! ```yaml
//! apiVersion: espalier/v1
//! kind: Policy
//! metadata: {name: web, labels: {team: shop}}
//! spec: {from: any, to: {labels: {role: web}}, traffic: [{protocol: tcp, ports: 443}], action: protect}
//! ```

pub mod mesh;
pub mod node;
pub mod policy;
pub mod rotation;
pub mod token;

use std::fmt::{self, Debug};
use std::marker::PhantomData;

use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_path_to_error::{Path, Segment};

use crate::identity::Name;
use crate::labels::Labels;

/// A document with a body of type `S`. One that was parsed has passed every check of its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", bound(serialize = "S: Spec", deserialize = "S: Spec"))]
pub struct Document<S> {
    api_version: ApiVersion,
    kind: KindOf<S>,
    /// Name and labels.
    pub metadata: Metadata,
    /// The body.
    pub spec: S,
}

/// How a document is called and found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// Unique among documents of its kind.
    pub name: Name,
    /// Labels that policies select by.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What a document describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The mesh as a whole.
    Mesh,
    /// One node.
    Node,
    /// What happens to the traffic between two sets of nodes.
    Policy,
    /// What lets new nodes join.
    JoinToken,
    /// A replacement of every key or certificate.
    Rotation,
}

/// The body of a document.
pub trait Spec: Clone + Debug + PartialEq + Eq + Serialize + DeserializeOwned {
    /// The kind that a document with this body has.
    const KIND: Kind;

    /// Returns everything that is wrong beyond what the field types refuse, with pointers below the body.
    fn check(&self) -> Vec<Fault>;
}

/// One thing that is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// JSON pointer (RFC 6901) to the element; empty for the whole document.
    pub pointer: String,
    /// What is wrong and how to put it right.
    pub message: String,
}

impl<S: Spec> Document<S> {
    /// Puts a document together. It is not checked: see [`Self::check`].
    #[must_use]
    pub const fn new(metadata: Metadata, spec: S) -> Self {
        Self { api_version: ApiVersion::V1, kind: KindOf(PhantomData), metadata, spec }
    }

    /// Reads a document from YAML or JSON of at most 1 MiB and checks it.
    ///
    /// # Errors
    /// Everything that is wrong with the body; or the first thing that keeps the text from being a document.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let document: Self = parse(text).map_err(|fault| vec![fault])?;
        let faults = document.check();
        if faults.is_empty() { Ok(document) } else { Err(faults) }
    }

    /// Returns everything that is wrong with the body.
    #[must_use]
    pub fn check(&self) -> Vec<Fault> {
        self.spec.check().into_iter().map(|fault| fault.below("/spec")).collect()
    }
}

impl Fault {
    /// Builds a fault.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    /// Puts `parent`, a pointer itself, before the pointer.
    #[must_use]
    pub fn below(self, parent: &str) -> Self {
        Self { pointer: format!("{parent}{}", self.pointer), message: self.message }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "document" } else { &self.pointer };
        write!(f, "{place}: {}", self.message)
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(self, f)
    }
}

/// Reads any value from YAML or JSON of at most 1 MiB.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    if text.len() > MAX_TEXT {
        return Err(Fault::new("", format!("{} bytes are too many: at most {MAX_TEXT} are read", text.len())));
    }
    // By way of a JSON value: only its numbers, texts and lists are documents, and every error gets a pointer.
    let value: serde_json::Value = serde_saphyr::from_str(text).map_err(|e| Fault::new("", e.to_string()))?;
    from_value(value)
}

/// Reads any value from JSON that was parsed already.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|e| Fault::new(pointer(e.path()), e.inner().to_string()))
}

/// Writes a path as a JSON pointer (RFC 6901 §3).
fn pointer(path: &Path) -> String {
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                format!("/{}", name.replace('~', "~0").replace('/', "~1"))
            }
            Segment::Unknown => String::new(),
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ApiVersion {
    #[serde(rename = "espalier/v1")]
    V1,
}

/// The kind of a body, which is read only to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KindOf<S>(PhantomData<S>);

impl<S: Spec> Serialize for KindOf<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        S::KIND.serialize(serializer)
    }
}

impl<'de, S: Spec> Deserialize<'de> for KindOf<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kind = Kind::deserialize(deserializer)?;
        if kind == S::KIND {
            Ok(Self(PhantomData))
        } else {
            Err(de::Error::custom(format_args!("kind {kind} stands where {} is expected", S::KIND)))
        }
    }
}

/// Refuses a list that is empty, too long, or holds an element twice.
fn check_list<T: PartialEq + fmt::Display>(pointer: &str, list: &[T], least: usize, most: usize) -> Vec<Fault> {
    if list.len() < least {
        return vec![Fault::new(pointer, format!("at least {least} is needed"))];
    }
    if list.len() > most {
        return vec![Fault::new(pointer, format!("{} are too many: at most {most} are allowed", list.len()))];
    }
    let twice = list.iter().enumerate().filter(|(at, element)| list.iter().take(*at).any(|e| e == *element));
    twice.map(|(at, element)| Fault::new(format!("{pointer}/{at}"), format!("{element} stands twice"))).collect()
}

const MAX_TEXT: usize = 1 << 20;

#[cfg(test)]
mod tests;
