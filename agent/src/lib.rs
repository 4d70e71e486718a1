//! The node daemon: it turns a plan into policies, IKE peers, routes and a leak guard, and moves packets.

mod addresses;
pub mod control;
pub mod dataplane;
pub mod door;
pub mod driver;
pub mod identity;
mod mtu;
pub mod network;
mod node;
pub mod reconcile;
pub mod settings;
pub mod status;
mod underlay;

/// Writes an error with its causes.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
