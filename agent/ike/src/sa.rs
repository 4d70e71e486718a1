//! An IKE SA once it stands: what it keeps count of, how it lives, and how it is replaced.

pub(crate) mod auth_lifetime;
pub(crate) mod child;
pub(crate) mod create_child;
pub(crate) mod established;
pub(crate) mod exchange;
mod inform;
pub(crate) mod opener;
pub(crate) mod patience;
mod rekey_ike;
pub(crate) mod sealer;
mod upkeep;
pub(crate) mod window;
