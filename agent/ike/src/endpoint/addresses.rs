//! The node's own addresses: what is there, and what follows for the SAs when that changes; and how much children carry.

use std::net::IpAddr;
use std::time::Duration;

use espalier_model::sa::{ChildId, SaUsage};

use super::slot::Sa;
use super::{Endpoint, context};
use crate::config::Now;
use crate::context::Context;
use crate::sa::established::Established;
use crate::sa::window::Requests;
use crate::wire::IkeSpi;

/// More addresses of a node are not looked at.
const MOST: usize = 64;

impl Endpoint {
    /// Sets the addresses that the node has, the most wanted first: those to which peers can answer. Peers' `local` addresses
    /// remain the wish among them. SAs whose address is gone move at once (RFC 4555 §3.5), and attempts start anew.
    pub fn set_local_addresses(&mut self, now: Now, mut addresses: Vec<IpAddr>) {
        addresses.truncate(MOST);
        if self.present.as_ref() == Some(&addresses) {
            return;
        }
        self.present = Some(addresses);
        for spi in self.sas.keys().copied().collect::<Vec<_>>() {
            self.with_established(now, spi, Established::locals_changed);
        }
        self.restart_attempts(now);
        self.call_due(now);
    }

    /// Takes how much a pair has carried: the answer to [`crate::Output::Measure`].
    pub fn handle_usage(&mut self, now: Now, id: ChildId, inbound: Option<SaUsage>, outbound: Option<SaUsage>) {
        let Some(spi) = self.holders.get(&id).copied() else { return };
        let packets = |usage: Option<SaUsage>| usage.map_or(0, |usage| usage.packets);
        let counts = (packets(inbound), packets(outbound));
        self.with_established(now, spi, |sa, cx| sa.handle_usage(cx.now.instant, id, counts));
    }

    /// Lets an SA that stands take something in, and do what is due then.
    pub(super) fn with_established(
        &mut self,
        now: Now,
        spi: IkeSpi,
        take: impl FnOnce(&mut Established, &mut Context<'_>),
    ) {
        match self.sas.remove(&spi) {
            Some(Sa::Established(mut sa)) => {
                take(&mut sa, context!(self, now));
                let next = self.act(now, Sa::Established(sa));
                self.keep(spi, next);
            }
            Some(other) => _ = self.sas.insert(spi, other),
            None => {}
        }
    }

    /// Gives up attempts that have left from an address which is gone, and calls those peers again at once.
    fn restart_attempts(&mut self, now: Now) {
        let Some(present) = &self.present else { return };
        let lost = |requests: &Requests| requests.tried().iter().all(|path| !present.contains(&path.local.ip()));
        let gone = |spi: &IkeSpi| match self.sas.get(spi) {
            Some(Sa::InitSent(state)) => lost(&state.requests),
            Some(Sa::IntermediateSent(state)) => lost(&state.pending.auth.requests),
            Some(Sa::AuthSent(state)) => lost(&state.requests),
            Some(Sa::HalfOpen(_) | Sa::Established(_)) | None => false,
        };
        let lost = self.peers.iter().filter(|(_, peer)| peer.attempt.as_ref().is_some_and(gone));
        for id in lost.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            if let Some(attempt) = self.peers.get_mut(&id).and_then(|peer| peer.attempt.take()) {
                self.sas.remove(&attempt);
                self.sa_timers.set(&attempt, None);
            }
        }
        // Another network may reach whom the one before did not.
        let idle = self.peers.iter().filter(|(_, peer)| peer.sa.is_none() && peer.attempt.is_none());
        for (id, initiate) in idle.map(|(id, peer)| (id.clone(), peer.config.initiate)).collect::<Vec<_>>() {
            let wait = if initiate { Duration::ZERO } else { self.take_over() };
            self.peer_timers.set(&id, Some(now.instant + wait));
        }
    }
}
