//! What connected nodes report: in memory, as true as the connection is alive.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use espalier_model::envelope::Version;
use espalier_model::identity::Name;
use tokio_util::sync::CancellationToken;

/// Every node that has connected since the start.
#[derive(Default)]
pub struct Fleet(Mutex<BTreeMap<Name, Live>>);

/// What one node has last said.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Whether a stream is open.
    pub connected: bool,
    /// The latest version whose plan for this node has been worked out.
    pub seen: Version,
    /// The version of the latest plan that it was sent.
    pub sent: Version,
    /// The version of the plan that it carries out.
    pub applied: Version,
    /// Why it has refused the latest plan.
    pub refused: Option<String>,
    /// What it has reported.
    pub report: Report,
    session: u64,
    ends: CancellationToken,
}

/// The report of a node on its SAs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its IKE SAs.
    pub ike_sas: Vec<espalier_api::IkeSaStatus>,
    /// Under which rotation of certificates it got its own.
    pub certificate_epoch: u64,
    /// When its certificate ends, in Unix seconds.
    pub certificate_not_after: i64,
}

/// An open stream. Another one of the same node ends it.
#[derive(Clone)]
pub struct Session {
    /// The node.
    pub name: Name,
    /// Cancelled when the stream has to end.
    pub ends: CancellationToken,
    number: u64,
}

impl Fleet {
    /// Notes that a node has opened a stream; ends the one it had.
    pub fn open(&self, name: &Name) -> Session {
        let mut all = self.lock();
        let live = all.entry(name.clone()).or_default();
        live.ends.cancel();
        live.ends = CancellationToken::new();
        live.session += 1;
        live.connected = true;
        Session { name: name.clone(), ends: live.ends.clone(), number: live.session }
    }

    /// Notes that a stream has ended.
    pub fn close(&self, session: &Session) {
        self.update(session, |live| live.connected = false);
    }

    /// Changes what is known of a node, unless another stream has taken over.
    pub fn update(&self, session: &Session, change: impl FnOnce(&mut Live)) {
        if let Some(live) = self.lock().get_mut(&session.name).filter(|live| live.session == session.number) {
            change(live);
        }
    }

    /// Ends the stream of a node, if it has one.
    pub fn end(&self, name: &str) {
        let all = self.lock();
        all.iter().filter(|(node, _)| node.as_str() == name).for_each(|(_, live)| live.ends.cancel());
    }

    /// Returns what is known of a node.
    #[must_use]
    pub fn get(&self, name: &Name) -> Live {
        self.lock().get(name).cloned().unwrap_or_default()
    }

    /// Counts the nodes that are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.lock().values().filter(|live| live.connected).count()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Live>> {
        // Every change is one assignment: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_stream_ends_the_old_one_and_is_not_closed_by_it() {
        let (fleet, name) = (Fleet::default(), "a".parse().unwrap());
        let first = fleet.open(&name);
        let second = fleet.open(&name);
        assert!(first.ends.is_cancelled() && !second.ends.is_cancelled());
        fleet.close(&first);
        fleet.update(&first, |live| live.applied = Version { epoch: 9, generation: 9 });
        assert!(fleet.get(&name).connected);
        assert_eq!((fleet.get(&name).applied, fleet.connected()), (Version::default(), 1));
        fleet.close(&second);
        assert!(!fleet.get(&name).connected);
    }
}
