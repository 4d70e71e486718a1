//! The changes of path themselves, and what sets them off at this end.

use std::net::{IpAddr, SocketAddr};

use espalier_model::sa::{ChildId, UdpPath};

use super::super::established::{Established, Stage};
use super::super::exchange::Exchange;
use super::others;
use crate::context::Context;
use crate::output::{MoveReason, Output};
use crate::paths::{acceptable, candidates, locals};

/// From this transmission of a request on, others of its paths may be dead.
const SUSPICIOUS: u32 = 2;
/// So many other paths are tried with each further transmission.
const AT_ONCE: usize = 3;

impl Established {
    /// Looks whether our address is still there, and whether a better one is.
    pub(crate) fn locals_changed(&mut self, cx: &mut Context<'_>) {
        let path = self.parts.path;
        let ours = locals(&self.parts.peer, cx.present);
        if cx.present.is_some_and(|present| !present.contains(&path.local.ip())) {
            // Without any address the SA waits for one.
            if let Some(to) = self.candidates(cx.present).into_iter().next() {
                //= RFC 4555 §3.5: whose address is gone may use another for its packets before it has told the peer
                let trusted = self.trusts(to.remote.ip());
                self.depart(cx, to, MoveReason::OursGone, trusted);
            }
            return;
        }
        let best = ours.iter().find(|local| local.is_ipv4() == path.remote.is_ipv4());
        if let Some(best) = best.filter(|best| **best != path.local.ip() && self.mobile() && self.mobility.leads) {
            let to = UdpPath { local: SocketAddr::new(*best, path.local.port()), ..path };
            self.depart(cx, to, MoveReason::Better, false);
        }
    }

    /// Sends messages along another path from now on, and sees to it that the peer learns of it. Packets follow at once, or when
    /// the peer has answered.
    pub(super) fn depart(&mut self, cx: &mut Context<'_>, to: UdpPath, why: MoveReason, at_once: bool) {
        self.redirect(cx, to);
        if !self.mobile() {
            // Without MOBIKE an authentic message of ours shows the peer our new address
            self.ask_now(cx.now.instant);
        } else if self.mobility.leads {
            self.mobility.update = Some(why);
        } else {
            //= RFC 4555 §3.6: the end that follows tells its addresses, from a new one, and the other end chooses
            self.mobility.told = None;
        }
        if at_once || !self.mobile() {
            self.move_traffic(cx, to, why);
        }
    }

    /// Sends messages along another path from now on, an open request as well.
    //= RFC 4555 §3.5: open requests are sent again with the new addresses
    pub(super) fn redirect(&mut self, cx: &mut Context<'_>, to: UdpPath) {
        self.parts.path = to;
        let open = self.parts.requests.reroute(cx.now.instant, to);
        cx.transmit_all(to, &open);
    }

    /// Sends packets along another path from now on.
    pub(super) fn move_traffic(&mut self, cx: &mut Context<'_>, to: UdpPath, why: MoveReason) {
        self.mobility.unproven = false;
        let from = std::mem::replace(&mut self.mobility.traffic, to);
        if from == to {
            return;
        }
        self.children.iter().for_each(|child| cx.move_path(child.id, to));
        if self.stage == Stage::Standing {
            cx.out.push_back(Output::Moved { peer: self.parts.peer.id.clone(), from, to, why });
        }
    }

    /// Follows messages of a peer without MOBIKE to where they come from.
    pub(crate) fn follow_message(&mut self, cx: &mut Context<'_>, path: UdpPath) {
        //= RFC 4555 §3.8: with MOBIKE no message but an update moves anything
        //= RFC 7296 §2.23: an end follows the address and port of the last authentic packet that is new
        //= RFC 7296 §2.23: an end that is itself behind a NAT does not follow
        if path.remote != self.parts.path.remote && !self.mobile() && !self.mobility.nat.ours {
            self.redirect(cx, path);
            self.move_traffic(cx, path, MoveReason::TheirMapping);
        }
    }

    /// Follows packets, which are authentic and the newest of their SA, to where they come from.
    pub(crate) fn follow_packet(&mut self, cx: &mut Context<'_>, id: ChildId, remote: SocketAddr) {
        let current = self.children.iter().any(|c| c.id == id && c.delete_at.is_none());
        let Stage::Standing = self.stage else { return };
        //= RFC 4555 §3.8: packets may be followed with MOBIKE too, where a NAT is on the peer's side and no update under way
        let updating = self.mobility.update.is_some() || matches!(self.exchange, Some(Exchange::Update(_)));
        let moves = !self.mobile() || self.mobility.nat.theirs && !updating && !self.mobility.unproven;
        if !current || !moves || self.mobility.nat.ours || !acceptable(&self.parts.peer, cx.present, remote) {
            self.vitals.stray(id);
            return;
        }
        let to = UdpPath { remote, ..self.parts.path };
        self.redirect(cx, to);
        self.move_traffic(cx, to, MoveReason::TheirMapping);
    }

    /// Returns the paths along which an open request is sent again. When the one in use seems dead, others are tried as well.
    //= RFC 4555 §3.10: a request may be sent again along several paths, to find one that works
    pub(crate) fn retry_along(&mut self, present: Option<&[IpAddr]>, path: UdpPath) -> Vec<UdpPath> {
        let tells = matches!(self.exchange, Some(Exchange::Addresses(_)));
        if !self.mobile() || !(self.mobility.leads || tells) || self.parts.requests.sent() <= SUSPICIOUS {
            return vec![path];
        }
        let others: Vec<_> = self.candidates(present).into_iter().filter(|p| *p != path).collect();
        let mut paths = vec![path];
        for _ in 0..AT_ONCE.min(others.len()) {
            paths.extend(others.get(self.mobility.turn % others.len()));
            self.mobility.turn = self.mobility.turn.wrapping_add(1);
        }
        paths.iter().for_each(|path| self.parts.requests.try_along(*path));
        paths
    }

    /// Takes note of the path along which a response has come.
    pub(crate) fn answered_along(&mut self, cx: &mut Context<'_>, seen: UdpPath) {
        let tried = self.parts.requests.tried();
        let alike = |path: &&UdpPath| path.local.ip() == seen.local.ip() && path.remote.ip() == seen.remote.ip();
        let works = tried.iter().find(|path| **path == seen).or_else(|| tried.iter().find(alike)).copied();
        let several = tried.len() > 1;
        let Some(works) = works.filter(|_| self.mobile() && several) else { return };
        if !self.mobility.leads {
            return;
        }
        let updates = matches!(self.exchange, Some(Exchange::Update(_)));
        //= RFC 4555 §3.5: what went along several paths may have moved the peer to another than the one that works
        if works != self.parts.path || updates {
            let trusted = self.trusts(works.remote.ip());
            self.depart(cx, works, MoveReason::Dead, trusted);
        }
    }

    /// Returns the paths to the peer, none that it has refused.
    pub(super) fn candidates(&self, present: Option<&[IpAddr]>) -> Vec<UdpPath> {
        let peer = &self.parts.peer;
        let mut paths = candidates(peer, &locals(peer, present), self.parts.path, &self.mobility.theirs);
        paths.retain(|path| !self.mobility.refused.contains(path));
        paths
    }

    /// Tells whether packets may follow to an address of the peer without a check that it receives there: the plan names it, or
    /// packets go there already.
    //= RFC 4555 §3.7: the check may be left out where the address is known by other means
    pub(super) fn trusts(&self, remote: IpAddr) -> bool {
        let planned = self.parts.peer.endpoints.iter().any(|planned| planned.ip() == remote);
        planned || self.mobility.traffic.remote.ip() == remote
    }

    /// Tells whether the peer does not know our addresses as they are.
    pub(crate) fn has_addresses_to_tell(&self, present: Option<&[IpAddr]>) -> bool {
        self.mobile() && self.mobility.told.as_ref() != Some(&others(present, &self.parts.peer, self.parts.path))
    }
}
