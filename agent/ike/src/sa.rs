//! An IKE SA once it stands, and what it keeps count of.

pub(crate) mod child;
pub(crate) mod established;
pub(crate) mod window;
