//! The node daemon: it turns a plan into policies, IKE peers, routes and a leak guard, and moves packets.

pub mod dataplane;
pub mod driver;
pub mod identity;
pub mod network;
pub mod port500;
pub mod reconcile;
