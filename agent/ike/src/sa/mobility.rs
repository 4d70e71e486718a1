//! How an IKE SA and its children move to other addresses (RFC 4555).
//!
//! One end leads: the initiator of the first SA. It chooses the path, tells the other by `UPDATE_SA_ADDRESSES`, and looks for
//! another path when one is dead. The other end follows, and tells which addresses it has. Messages follow a decision at once;
//! packets follow as soon as the address of the other end is known to receive: see [`Established::trusts`].

mod answer;
mod lead;
mod moves;

pub(crate) use lead::Errand;

use std::net::IpAddr;
use std::time::Instant;

use espalier_model::profile::Mobike;
use espalier_model::sa::UdpPath;
use rand::Rng;

use super::established::Established;
use super::exchange::Exchange;
use crate::config::PeerConfig;
use crate::content::Content;
use crate::context::Context;
use crate::nat::{Detected, Nat};
use crate::output::MoveReason;
use crate::paths::{MOST_ADDRESSES, is_host, locals};
use crate::wire::mobility::{additional, no_nats, read_additional};
use crate::wire::{Notify, NotifyType, Payload};

/// What an SA knows about moving.
#[derive(Clone, Debug)]
pub(crate) struct Mobility {
    /// Whether both ends have announced that they move.
    supported: bool,
    /// Whether this end chooses the path.
    leads: bool,
    pub(crate) nat: Nat,
    /// The hash of the address at which the peer has last seen us, in an exchange of this SA.
    seen_as: Option<Vec<u8>>,
    /// The path of the packets.
    traffic: UdpPath,
    /// The peer's other addresses, as it has told.
    theirs: Vec<IpAddr>,
    /// Our other addresses, as the peer knows them.
    told: Option<Vec<IpAddr>>,
    /// Why the peer is to be told to use the path of our messages.
    update: Option<MoveReason>,
    /// Whether packets wait until the peer has shown that it receives at its new address.
    unproven: bool,
    /// Paths that the peer has not accepted since the last that it did.
    refused: Vec<UdpPath>,
    /// How often an update has met a NAT that should not be there.
    translated: u8,
    /// Which other path is tried next.
    turn: usize,
}

/// What our `IKE_AUTH` message says about moving.
pub(crate) struct Announced {
    told: Vec<IpAddr>,
    pub(crate) payloads: Vec<Payload>,
}

/// An `UPDATE_SA_ADDRESSES` request that is under way.
pub(crate) struct UpdateSent {
    cookie: Vec<u8>,
    why: MoveReason,
    told: Vec<IpAddr>,
}

/// A check under way whether the peer receives at its new address.
pub(crate) struct RouteCheck {
    cookie: Vec<u8>,
}

/// Says in an `IKE_AUTH` message that we move, and which other addresses we have; nothing where the profile forbids it.
//= RFC 4555 §3.2: MOBIKE_SUPPORTED travels in IKE_AUTH
pub(crate) fn announce(cx: &Context<'_>, peer: &PeerConfig, path: UdpPath) -> Option<Announced> {
    if peer.profile.mobike == Mobike::Off {
        return None;
    }
    let told = others(cx.present, peer, path);
    //= RFC 4555 §4.2.1: the data of MOBIKE_SUPPORTED is empty
    let mut notifies = vec![Notify::new(NotifyType::MOBIKE_SUPPORTED, Vec::new())];
    notifies.extend(additional(&told));
    //= RFC 4555 §3.9: whoever allows no NAT says so in the first IKE_AUTH request and in each update
    notifies.extend((peer.profile.mobike == Mobike::NoNat).then(|| no_nats(path)));
    Some(Announced { told, payloads: notifies.into_iter().map(Payload::Notify).collect() })
}

/// Returns our addresses other than that of the path, in an order that does not change by itself.
fn others(present: Option<&[IpAddr]>, peer: &PeerConfig, path: UdpPath) -> Vec<IpAddr> {
    let mut others = locals(peer, present);
    others.retain(|address| *address != path.local.ip());
    others.sort_unstable();
    others
}

/// Draws what nobody can foresee.
//= RFC 4555 §4.2.5: a COOKIE2 cannot be predicted by the other end
fn draw_cookie(cx: &mut Context<'_>) -> Vec<u8> {
    let mut cookie = vec![0; 16];
    cx.rng.fill_bytes(&mut cookie);
    cookie
}

impl Mobility {
    /// Starts with what `IKE_AUTH` has told on a path. `announced` is what we have said in it.
    pub(crate) fn new(path: UdpPath, leads: bool, nat: Nat, announced: Option<Announced>, content: &Content) -> Self {
        let supported = announced.is_some() && content.notify(NotifyType::MOBIKE_SUPPORTED).is_some();
        let told = announced.map(|announced| announced.told);
        let mut mobility = Self {
            supported,
            leads,
            nat,
            told,
            seen_as: None,
            traffic: path,
            theirs: Vec::new(),
            update: None,
            unproven: false,
            refused: Vec::new(),
            translated: 0,
            turn: 0,
        };
        mobility.learn(read_additional(&content.notifies).unwrap_or_default());
        mobility
    }

    /// Returns what an SA takes over that takes the place of this one by a rekey: who leads stays as it was.
    pub(crate) fn inherited(&self) -> Self {
        // The hash covers the SPIs, so it says nothing about another SA.
        Self { seen_as: None, ..self.clone() }
    }

    /// Returns the path of the packets.
    pub(crate) const fn traffic(&self) -> UdpPath {
        self.traffic
    }

    /// Keeps the addresses that the peer has told.
    fn learn(&mut self, mut addresses: Vec<IpAddr>) {
        addresses.retain(|address| is_host((*address, 1).into()));
        addresses.truncate(MOST_ADDRESSES);
        self.theirs = addresses;
    }
}

impl Established {
    /// Takes what the peer says of NATs on the path of a message. Tells whether the peer sees us at another place than before.
    fn take_detected(&mut self, now: Instant, detected: Detected) -> bool {
        let Detected { nat, said, seen_as } = detected;
        //= RFC 4555 §3.5: what is around ESP changes with the path: its SAs are replaced, by the end that chooses
        if self.parts.nat.moved(nat.ours, said) && self.mobility.leads {
            self.children.iter_mut().for_each(|child| child.rekey_at = child.rekey_at.min(now));
        }
        self.mobility.nat = nat;
        let before = self.mobility.seen_as.replace(seen_as);
        before.map_or(nat.ours, |before| self.mobility.seen_as.as_ref() != Some(&before))
    }

    /// Tells whether the SA moves.
    pub(crate) fn mobile(&self) -> bool {
        self.mobility.supported && self.parts.peer.profile.mobike != Mobike::Off
    }

    /// Gives the paths as they are now to the SA that takes this one's place, with what is still to be said about them.
    pub(super) fn bequeath_paths(&mut self, heir: &mut Self) {
        heir.parts.path = self.parts.path;
        heir.mobility = self.mobility.inherited();
        // What is under way on this SA comes too late for the children, which the other one has.
        match &self.exchange {
            Some(Exchange::Update(sent)) => _ = heir.mobility.update.get_or_insert(sent.why),
            Some(Exchange::Addresses(_)) => heir.mobility.told = None,
            _ => {}
        }
    }

    /// Tells whether this end was the initiator of the first SA.
    pub(crate) const fn leads(&self) -> bool {
        self.mobility.leads
    }
}
