//! The seam between IKE and packets. Its shape carries the no-loss rule of RFC 7296 §2.8: inbound stands before the peer may use it.

pub mod userspace;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use espalier_esp::SaError;
use espalier_model::identity::Name;
use espalier_model::plan::Rule;
use espalier_model::sa::{ChildId, Direction, InboundSa, OutboundSa, SaEvent, SaUsage, UdpPath};
use thiserror::Error;

/// What moves packets.
pub trait DataPlane {
    /// Sets the policy, whole. What no rule protects does not pass. Packets of the rules `on_demand` ask for an SA where there is
    /// none ([`SaEvent::Acquire`]), and wait for it a while.
    ///
    /// # Errors
    /// The policy before stays in force.
    fn apply(&mut self, rules: &[Rule], on_demand: &BTreeSet<Name>) -> Result<(), DataPlaneError>;

    /// Sets how long packets of each rule may be that paths carry whole: what connections through the tunnel agree on.
    fn set_mtus(&mut self, mtus: BTreeMap<Name, u16>);

    /// Receives with this SA from now on.
    ///
    /// # Errors
    /// The SA is not installed.
    fn install_inbound(&mut self, sa: &InboundSa) -> Result<(), DataPlaneError>;

    /// Sends what the SA's rule protects with it from now on. One that was used before, and not removed since, goes on where it
    /// was: its sequence numbers never begin again.
    ///
    /// # Errors
    /// The SA is not used.
    fn use_outbound(&mut self, sa: &OutboundSa) -> Result<(), DataPlaneError>;

    /// Sends along another path, and expects packets from there. What still comes along the one before is received.
    fn move_path(&mut self, id: ChildId, path: UdpPath);

    /// Forgets one half of a pair. Nothing happens when it is not there.
    fn remove(&mut self, id: ChildId, direction: Direction);

    /// Returns the use of both halves, inbound first.
    fn usage(&self, id: ChildId) -> (Option<SaUsage>, Option<SaUsage>);

    /// Waits for the next event. Dropping the future loses none.
    fn event(&mut self) -> impl Future<Output = SaEvent>;
}

/// An SA that the data plane cannot take.
#[derive(Debug, Error)]
pub enum DataPlaneError {
    /// Its keys do not fit its suite, or it has a form that does not exist.
    #[error(transparent)]
    Sa(#[from] SaError),
    /// It needs sockets that the system refuses.
    #[error(transparent)]
    Sockets(#[from] espalier_sys::Error),
    /// It needs a thread that the system refuses.
    #[error("no thread for raw sockets")]
    Thread(#[source] std::io::Error),
}
