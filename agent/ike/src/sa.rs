//! An IKE SA once it stands: what it keeps count of, how it lives, and how it is replaced.

pub(crate) mod adopt;
pub(crate) mod assigned;
pub(crate) mod auth_lifetime;
mod bounds;
pub(crate) mod child;
pub(crate) mod create_child;
pub(crate) mod established;
pub(crate) mod exchange;
mod followup;
pub(crate) mod form;
mod inform;
mod limits;
pub(crate) mod liveness;
pub(crate) mod mobility;
pub(crate) mod opener;
pub(crate) mod pair;
pub(crate) mod patience;
#[cfg(test)]
mod probe;
pub(crate) mod refusal;
mod rekey_ike;
pub(crate) mod sealer;
pub(crate) mod strays;
mod transport;
pub(crate) mod upkeep;
pub(crate) mod window;
