//! Which nodes a policy is about.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::identity::Name;
use crate::labels::{LabelKey, LabelValue, Labels};

/// A set of nodes. `any` is spelled out: nothing that is empty selects every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every node of the mesh.
    Any,
    /// The nodes with these names, at least one.
    Nodes(BTreeSet<Name>),
    /// The nodes with these labels.
    Labels(LabelSelector),
}

/// A condition on labels: every label and every expression must hold. There is at least one of either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelSelector {
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expressions: Vec<Expression>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "WrittenExpression")]
pub struct Expression {
    key: LabelKey,
    operator: Operator,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    values: BTreeSet<LabelValue>,
}

/// How an expression compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operator {
    /// The label is there with one of the values.
    In,
    /// The label is not there, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// A selection that cannot be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// Neither names nor labels.
    #[error("the selection is empty: name nodes, labels or expressions; every node is written \"any\"")]
    Empty,
    /// Names and labels.
    #[error("nodes are selected by name or by label, not by both")]
    Both,
    /// More expressions or values than allowed.
    #[error("at most {MAX_EXPRESSIONS} expressions with {MAX_VALUES} values each are allowed")]
    TooMany,
    /// `In` or `NotIn` without a value.
    #[error("operator {0:?} needs at least one value")]
    NoValue(Operator),
    /// `Exists` or `DoesNotExist` with one.
    #[error("operator {0:?} takes no values")]
    Values(Operator),
}

impl Selection {
    /// Tells whether a node is in the set.
    #[must_use]
    pub fn matches(&self, name: &Name, labels: &Labels) -> bool {
        match self {
            Self::Any => true,
            Self::Nodes(names) => names.contains(name),
            Self::Labels(selector) => selector.matches(labels),
        }
    }
}

impl LabelSelector {
    /// Builds a condition.
    ///
    /// # Errors
    /// `SelectionError::Empty` when there is neither a label nor an expression, `TooMany` for more than 64 expressions.
    pub fn new(labels: Labels, expressions: Vec<Expression>) -> Result<Self, SelectionError> {
        if labels.is_empty() && expressions.is_empty() {
            return Err(SelectionError::Empty);
        }
        if expressions.len() > MAX_EXPRESSIONS {
            return Err(SelectionError::TooMany);
        }
        Ok(Self { labels, expressions })
    }

    /// Tells whether the labels fulfil the condition.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        labels.contains_all(&self.labels) && self.expressions.iter().all(|expression| expression.matches(labels))
    }
}

impl Expression {
    /// Builds a condition on one label.
    ///
    /// # Errors
    /// `In` and `NotIn` need 1 to 64 values, the others take none.
    pub fn new(key: LabelKey, operator: Operator, values: BTreeSet<LabelValue>) -> Result<Self, SelectionError> {
        if values.len() > MAX_VALUES {
            return Err(SelectionError::TooMany);
        }
        match (operator, values.is_empty()) {
            (Operator::In | Operator::NotIn, true) => Err(SelectionError::NoValue(operator)),
            (Operator::Exists | Operator::DoesNotExist, false) => Err(SelectionError::Values(operator)),
            (Operator::In | Operator::NotIn, false) | (Operator::Exists | Operator::DoesNotExist, true) => {
                Ok(Self { key, operator, values })
            }
        }
    }

    /// Tells whether the labels fulfil the condition.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(self.key.as_str());
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl Serialize for Selection {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Nodes(names) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("nodes", names)?;
                map.end()
            }
            Self::Labels(selector) => selector.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SelectionVisitor)
    }
}

/// Keeps the path to a wrong element, which an untagged enum loses.
struct SelectionVisitor;

impl<'de> Visitor<'de> for SelectionVisitor {
    type Value = Selection;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"any\", {nodes} or {labels, expressions}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Selection, E> {
        if text == "any" { Ok(Selection::Any) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Selection, A::Error> {
        let written = WrittenSelection::deserialize(MapAccessDeserializer::new(map))?;
        written.try_into().map_err(de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSelection {
    #[serde(default, deserialize_with = "filled")]
    nodes: Option<BTreeSet<Name>>,
    #[serde(default, deserialize_with = "filled")]
    labels: Option<Labels>,
    #[serde(default, deserialize_with = "filled")]
    expressions: Option<Vec<Expression>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExpression {
    key: LabelKey,
    operator: Operator,
    #[serde(default)]
    values: BTreeSet<LabelValue>,
}

impl TryFrom<WrittenSelection> for Selection {
    type Error = SelectionError;

    fn try_from(written: WrittenSelection) -> Result<Self, SelectionError> {
        match (written.nodes, written.labels, written.expressions) {
            (None, None, None) => Err(SelectionError::Empty),
            (Some(names), None, None) => Ok(Self::Nodes(names)),
            (Some(_), _, _) => Err(SelectionError::Both),
            (None, labels, expressions) => {
                LabelSelector::new(labels.unwrap_or_default(), expressions.unwrap_or_default()).map(Self::Labels)
            }
        }
    }
}

impl TryFrom<WrittenExpression> for Expression {
    type Error = SelectionError;

    fn try_from(written: WrittenExpression) -> Result<Self, SelectionError> {
        Self::new(written.key, written.operator, written.values)
    }
}

/// A list or a map that is written must hold something.
fn filled<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default + PartialEq>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let written = T::deserialize(from)?;
    if written == T::default() { Err(de::Error::custom(SelectionError::Empty)) } else { Ok(Some(written)) }
}

const MAX_EXPRESSIONS: usize = 64;
const MAX_VALUES: usize = 64;
