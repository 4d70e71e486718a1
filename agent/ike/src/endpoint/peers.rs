//! Peers: who is called and when, which SA is the one in use, and what happens when two ends call each other at once.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use espalier_model::identity::Identity;
use espalier_model::plan::VirtualAddresses;
use rand::RngExt;

use super::given;
use super::slot::{Peer, Sa, path_to, reason};
use super::{Endpoint, context};
use crate::config::{Auth, Now, PeerConfig};
use crate::handshake::initiator::InitSent;
use crate::handshake::ppk;
use crate::handshake::proof::Proof;
use crate::outbounds::Switch;
use crate::output::{DownReason, Output};
use crate::sa::established::{Established, Stage};
use crate::wire::{IkeSpi, Nonce};

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// The end that is not the named initiator leaves the other this long.
const TAKE_OVER: Duration = Duration::from_secs(2);
/// Two SAs that both ends have started count as started at once when the first is not older.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Time to prove an identity anew when trust in the certificate has gone.
const ANEW: Duration = Duration::from_secs(60);
/// New proofs of many peers are spread by this much each.
const SPREAD: Duration = Duration::from_millis(5);

impl Endpoint {
    pub(super) fn set_peers(&mut self, now: Now, configs: Vec<PeerConfig>) {
        let mut before = std::mem::take(&mut self.peers);
        for config in configs {
            let (id, config) = (config.id.clone(), Arc::new(config));
            if let Some(peer) = before.remove(&id) {
                // Only the first exchange says whether ESP travels in UDP.
                if peer.config.profile.encap != config.profile.encap && peer.sa.is_some() {
                    self.peer_timers.set(&id, Some(now.instant));
                }
                let idle = peer.sa.is_none() && peer.attempt.is_none();
                let (woken, initiate) = (idle && peer.config.waits() && !config.waits(), config.initiate);
                self.peers.insert(id.clone(), Peer { config, ..peer });
                self.begin_again(now, &id);
                if woken {
                    self.call_first(now, &id, initiate);
                }
                continue;
            }
            let (initiate, waits) = (config.initiate, config.waits());
            self.peers
                .insert(id.clone(), Peer { config, sa: None, attempt: None, replaced: VecDeque::new(), failures: 0 });
            if !waits {
                self.call_first(now, &id, initiate);
            }
        }
        for (id, peer) in before {
            self.peer_timers.set(&id, None);
            self.leases.forget(&id);
            self.part(now, id, &peer);
        }
        self.index_addresses();
        self.wants.configure(self.peers.values().map(|peer| &*peer.config));
        self.has_ppk = self.peers.values().any(|peer| peer.config.ppk.is_some());
        let standing = |(spi, sa): (&IkeSpi, &Sa)| matches!(sa, Sa::Established(_)).then_some(*spi);
        for spi in self.sas.iter().filter_map(standing).collect::<Vec<_>>() {
            let Some(Sa::Established(mut sa)) = self.sas.remove(&spi) else { continue };
            if let Some(peer) = self.peers.get(&sa.parts.peer.id) {
                if ppk::lacking(&peer.config, sa.parts.ppk.as_ref()) {
                    sa.begin_close();
                } else if ppk::changed(&sa.parts.peer, &peer.config) {
                    self.peer_timers.set(&sa.parts.peer.id, Some(now.instant));
                }
                sa.reconfigure(now.instant, &peer.config);
            }
            let next = self.act(now, Sa::Established(sa));
            self.keep(spi, next);
        }
    }

    /// Plans the first call of a peer.
    fn call_first(&mut self, now: Now, id: &Identity, initiate: bool) {
        let wait = if initiate { Duration::ZERO } else { self.take_over() };
        self.peer_timers.set(id, Some(now.instant + wait));
    }

    /// Notes which peer may speak from which address: the first of those that share one.
    fn index_addresses(&mut self) {
        self.by_address.clear();
        for (id, peer) in &self.peers {
            for endpoint in &peer.config.endpoints {
                self.by_address.entry(endpoint.ip()).or_insert_with(|| id.clone());
            }
        }
        let known = Arc::new(self.by_address.keys().copied().collect());
        self.tell_door(|door| door.known = known);
    }

    /// Ends what there is with a peer that is no longer configured.
    fn part(&mut self, now: Now, id: Identity, peer: &Peer) {
        if let Some(attempt) = peer.attempt {
            self.sas.remove(&attempt);
            self.sa_timers.set(&attempt, None);
        }
        let Some(spi) = peer.sa else { return };
        if let Some(Sa::Established(mut sa)) = self.sas.remove(&spi) {
            let rival = sa.rival().and_then(|spi| self.sas.remove(&spi));
            if let Some(Sa::Established(mut rival)) = rival {
                rival.begin_close();
                let spi = rival.spi();
                let next = self.act(now, Sa::Established(rival));
                self.keep(spi, next);
            }
            let cx = context!(self, now);
            sa.remove_children(cx, true);
            // A message that cannot be sealed any more leaves the peer to its own liveness check.
            let told = sa.close(cx);
            self.note_addresses(&id, &[]);
            self.outputs.push_back(Output::Down(id, DownReason::DeletedByUs));
            self.keep(spi, told.is_ok().then_some(Sa::Established(sa)));
        }
    }

    /// Deletes every SA and tells the peers, once. Nothing is started afterwards.
    pub fn shutdown(&mut self, now: Now) {
        let peers = std::mem::take(&mut self.peers);
        self.by_address.clear();
        for (id, peer) in peers {
            self.peer_timers.set(&id, None);
            self.part(now, id, &peer);
        }
        self.sas.keys().for_each(|spi| self.sa_timers.set(spi, None));
        self.sas.clear();
        self.holders.clear();
    }

    /// Proves anew who we are to every peer that asks for certificates.
    pub(super) fn renew_all(&mut self, now: Now) {
        let certified = self.peers.iter().filter(|(_, p)| matches!(p.config.auth, Auth::Certificate));
        let ids: Vec<_> = certified.map(|(id, _)| id.clone()).collect();
        let spread = SPREAD * u32::try_from(ids.len()).unwrap_or(u32::MAX);
        for id in ids {
            let wait = spread.mul_f64(self.rng.random::<f64>());
            self.peer_timers.set(&id, Some(now.instant + wait));
        }
    }

    /// Ends the SAs of peers whose certificates are revoked.
    pub(super) fn end_revoked(&mut self, now: Now) {
        let revoked = |proof: &Proof| self.trust.revokes(&proof.path, &self.config.revoked);
        let ended = |(spi, sa): (&IkeSpi, &Sa)| match sa {
            Sa::Established(sa) if sa.parts.proof.as_ref().is_some_and(revoked) => Some(*spi),
            Sa::Established(_) | Sa::InitSent(_) | Sa::IntermediateSent(_) | Sa::AuthSent(_) | Sa::HalfOpen(_) => None,
        };
        for spi in self.sas.iter().filter_map(ended).collect::<Vec<_>>() {
            if let Some(Sa::Established(mut sa)) = self.sas.remove(&spi) {
                sa.remove_children(context!(self, now), true);
                sa.begin_close();
                let next = self.act(now, Sa::Established(sa));
                self.keep(spi, next);
            }
        }
    }

    /// Calls the peers whose time has come.
    pub(super) fn call_due(&mut self, now: Now) {
        for id in self.peer_timers.take_due(now.instant) {
            let Some(peer) = self.peers.get(&id).filter(|p| p.attempt.is_none()) else { continue };
            if peer.sa.is_none() && !self.is_called_for(&peer.config, now.instant) {
                continue;
            }
            //= RFC 7296 §2.19: who wants an address starts, since only an initiator can ask
            if matches!(peer.config.virtual_addresses, Some(VirtualAddresses::Pool(_))) {
                self.peer_timers.set(&id, Some(now.instant + LONGEST_RETRY));
                continue;
            }
            let (config, alone) = (Arc::clone(&peer.config), peer.sa.is_none());
            // A peer that stands is where its SA says: behind a NAT nobody else reaches it.
            let standing = self.in_use(&id).map(|sa| sa.parts.path).filter(|_| peer.failures == 0);
            let Some(path) = standing.or_else(|| path_to(&config, self.present.as_deref(), peer.failures)) else {
                continue;
            };
            match InitSent::start(context!(self, now), config, path, alone) {
                Ok((spi, state)) => {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.attempt = Some(spi);
                    }
                    self.keep(spi, Some(Sa::InitSent(Box::new(state))));
                }
                Err(failure) => self.failed(now, &id, reason(&failure)),
            }
        }
    }

    /// Notes that our attempt has come to nothing, and when to try again, if anybody waits for it.
    pub(super) fn failed(&mut self, now: Now, id: &Identity, reason: DownReason) {
        let take_over = self.take_over();
        let Some(peer) = self.peers.get_mut(id) else { return };
        let wait = (FIRST_RETRY * 2_u32.saturating_pow(peer.failures)).min(LONGEST_RETRY);
        let wait = wait + if peer.config.initiate { Duration::ZERO } else { take_over };
        peer.attempt = None;
        peer.failures = peer.failures.saturating_add(1);
        let (standing, config, at) = (peer.sa.is_some(), Arc::clone(&peer.config), now.instant + wait);
        let again = standing || self.is_called_for(&config, at);
        self.peer_timers.set(id, again.then_some(at));
        if !standing {
            self.outputs.push_back(Output::Down(id.clone(), reason));
        }
    }

    /// Ends an SA. When it was the one in use, its peer is called again.
    pub(super) fn over(&mut self, now: Now, mut sa: Box<Established>, reason: DownReason) {
        if let Some(rival) = sa.rival() {
            self.yield_to(now, &mut sa, rival);
        }
        let (id, spi) = (sa.parts.peer.id.clone(), sa.spi());
        let in_use = self.peers.get(&id).is_some_and(|p| p.sa == Some(spi));
        sa.remove_children(context!(self, now), in_use);
        if let Some(peer) = self.peers.get_mut(&id).filter(|_| in_use) {
            peer.sa = None;
            self.leases.ended(&id);
            self.outputs.extend(self.given.set(&id, &[]));
            if peer.attempt.is_none() {
                self.failed(now, &id, reason);
            } else {
                self.outputs.push_back(Output::Down(id, reason));
            }
        }
    }

    /// Moves the children of an SA to the one that the peer has made in its place, which has won.
    pub(super) fn yield_to(&mut self, now: Now, sa: &mut Established, rival: IkeSpi) {
        if let Some(Sa::Established(mut heir)) = self.sas.remove(&rival) {
            heir.stage = Stage::Standing;
            //= RFC 7296 §2.8.2: the IKE SA that is left inherits the child SAs, whoever made it
            sa.hand_over(&mut heir);
            sa.give_way(now.instant);
            self.succeed(now, sa.spi(), &mut heir);
            let next = self.act(now, Sa::Established(heir));
            self.keep(rival, next);
        }
    }

    /// Makes an SA the one in use in place of another. Where that was not in use any more, neither is what comes after it.
    pub(super) fn succeed(&mut self, now: Now, before: IkeSpi, heir: &mut Established) {
        let id = &heir.parts.peer.id;
        if let Some(peer) = self.peers.get_mut(id).filter(|p| p.sa == Some(before)) {
            peer.sa = Some(heir.spi());
            self.outputs.push_back(Output::Replaced(id.clone(), heir.parts.spis));
        } else if heir.stage == Stage::Standing {
            heir.step_aside(now.instant);
        }
    }

    /// Moves the time of the next proof of identity forward, where the SA in use wants that.
    pub(super) fn renew_in_time(&mut self, now: Now, sa: &Established) {
        let id = &sa.parts.peer.id;
        let idle = self.peers.get(id).is_some_and(|peer| peer.sa == Some(sa.spi()) && peer.attempt.is_none());
        let Some(at) = sa.renews_at().filter(|_| idle) else { return };
        if self.peer_timers.at(id).is_none_or(|planned| at < planned) {
            self.peer_timers.set(id, Some(at.max(now.instant)));
        }
    }

    /// Judges by a changed trust those who have proven themselves before. Who would not be believed any more has a while to prove
    /// itself anew, with what it has got since.
    pub(super) fn judge_anew(&mut self, now: Now) {
        for spi in self.sas.keys().copied().collect::<Vec<_>>() {
            let Some(Sa::Established(sa)) = self.sas.get(&spi) else { continue };
            let Some(proof) = &sa.parts.proof else { continue };
            let verified = self.trust.verify(&proof.chain, &sa.parts.peer.id, &self.config.revoked, now.unix);
            let left = verified.map_or(Duration::ZERO, |v| Duration::from_secs(v.not_after.saturating_sub(now.unix)));
            let Some(ends) = now.instant.checked_add(left.max(ANEW)) else { continue };
            let (id, mut shortened) = (sa.parts.peer.id.clone(), false);
            self.with_established(now, spi, |sa, _| shortened = sa.believe_until(ends));
            let idle = |peer: &&Peer| peer.sa == Some(spi) && peer.attempt.is_none();
            if shortened && self.peers.get(&id).filter(idle).is_some() {
                let wait = ANEW.mul_f64(0.5 * self.rng.random::<f64>());
                self.peer_timers.set(&id, Some(now.instant + wait));
            }
        }
    }

    /// Decides how the child SA of our attempt is used: not at all when the attempt is about to lose.
    pub(super) fn switch_of(&self, now: Now, id: &Identity, lowest: &Nonce, alone: bool) -> Switch {
        match self.in_use(id) {
            Some(old) if at_once(now.instant, old, true, alone) && *lowest < old.parts.lowest => Switch::Never,
            Some(_) | None => Switch::AtOnce,
        }
    }

    pub(super) fn in_use(&self, id: &Identity) -> Option<&Established> {
        match self.sas.get(&self.peers.get(id)?.sa?) {
            Some(Sa::Established(sa)) => Some(sa),
            Some(Sa::InitSent(_) | Sa::IntermediateSent(_) | Sa::AuthSent(_) | Sa::HalfOpen(_)) | None => None,
        }
    }

    /// Takes an SA that both ends have just proven, and decides which one is in use from now on. `alone` says that its initiator
    /// had no other.
    pub(super) fn settle(&mut self, now: Now, mut new: Box<Established>, alone: bool) -> Option<Sa> {
        let (id, spi) = (new.parts.peer.id.clone(), new.spi());
        let Some(peer) = self.peers.get_mut(&id) else {
            new.begin_close();
            return self.act(now, Sa::Established(new));
        };
        if ppk::lacking(&peer.config, new.parts.ppk.as_ref()) {
            // The key has been demanded while the exchange was under way.
            let _ = peer.attempt.take_if(|attempt| *attempt == spi);
            self.peer_timers.set(&id, Some(now.instant));
            new.begin_close();
            return self.act(now, Sa::Established(new));
        }
        peer.failures = 0;
        new.reconfigure(now.instant, &peer.config);
        let before = peer.sa;
        let attempt = peer.attempt.take().filter(|attempt| *attempt != spi);
        self.drop_unproven(&id, attempt);
        let old = before.and_then(|before| match self.sas.remove(&before) {
            Some(Sa::Established(old)) => Some(old),
            Some(Sa::InitSent(_) | Sa::IntermediateSent(_) | Sa::AuthSent(_) | Sa::HalfOpen(_)) | None => None,
        });
        let Some(mut old) = old else {
            self.outputs.push_back(Output::Up(id, new.parts.spis));
            return self.in_use_from_now(now, new);
        };
        if at_once(now.instant, &old, new.parts.initiator, alone) && !reborn(&old, &new) {
            //= RFC 7296 §2.8.1: of two SAs made at once the one with the lowest nonce goes
            let new_loses = new.parts.lowest < old.parts.lowest;
            if new_loses {
                new.lose_to(now.instant, &old)
            } else {
                old.lose_to(now.instant, &new)
            }
            if new_loses {
                self.keep_wanted(now.instant, &new, &old);
                let spi = old.spi();
                let kept = self.in_use_from_now(now, old);
                self.keep(spi, kept);
                return self.act(now, Sa::Established(new));
            }
        } else if new.parts.initiator {
            old.make_room(now.instant, &new);
        } else if alone {
            //= RFC 7296 §2.4: the peer has lost all other SAs
            old.remove_children(context!(self, now), true);
            for lost in [Some(old.spi()), old.rival()].into_iter().flatten() {
                self.sas.remove(&lost);
                self.sa_timers.set(&lost, None);
            }
            self.outputs.push_back(Output::Replaced(id, new.parts.spis));
            return self.in_use_from_now(now, new);
        } else {
            old.give_way(now.instant);
        }
        self.keep_wanted(now.instant, &old, &new);
        self.outputs.push_back(Output::Replaced(id, new.parts.spis));
        let next = self.in_use_from_now(now, new);
        let spi = old.spi();
        let kept = self.act(now, Sa::Established(old));
        self.keep(spi, kept);
        next
    }

    /// Drops our attempt when the peer's SA stands, unless the peer may have proven ours too.
    fn drop_unproven(&mut self, id: &Identity, attempt: Option<IkeSpi>) {
        let Some(attempt) = attempt else { return };
        if matches!(self.sas.get(&attempt), Some(Sa::InitSent(_) | Sa::IntermediateSent(_))) {
            self.sas.remove(&attempt);
            self.sa_timers.set(&attempt, None);
        } else if let Some(peer) = self.peers.get_mut(id) {
            peer.attempt = Some(attempt);
        }
    }

    fn in_use_from_now(&mut self, now: Now, sa: Box<Established>) -> Option<Sa> {
        let id = sa.parts.peer.id.clone();
        let stale = sa.parts.identity_epoch < self.identity_epoch && matches!(sa.parts.peer.auth, Auth::Certificate);
        let renew = if stale { Some(now.instant) } else { sa.renews_at() };
        self.peer_timers.set(&id, renew);
        self.note_addresses(&id, &sa.parts.assigned.addresses);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.sa = Some(sa.spi());
        }
        self.act(now, Sa::Established(sa))
    }

    /// Lets an SA do what is due. It ends when it cannot.
    pub(super) fn act(&mut self, now: Now, sa: Sa) -> Option<Sa> {
        let Sa::Established(mut sa) = sa else { return Some(sa) };
        match sa.act(context!(self, now)) {
            Ok(()) => Some(Sa::Established(sa)),
            Err(failure) => {
                self.over(now, sa, reason(&failure));
                None
            }
        }
    }

    /// Orders that the addresses which go with the SA in use are those that one end has.
    fn note_addresses(&mut self, id: &Identity, addresses: &[IpAddr]) {
        if let Some(order) = self.given.set(id, addresses) {
            given::put_first(&mut self.outputs, order);
        }
    }

    pub(super) fn take_over(&mut self) -> Duration {
        TAKE_OVER.mul_f64(1.0 + 0.5 * self.rng.random::<f64>())
    }
}

/// Tells whether two SAs were started at once, one by each end. Both ends come to the same answer: each knows who started which,
/// and whether the second one's initiator had an SA before.
fn at_once(now: Instant, old: &Established, new_initiator: bool, alone: bool) -> bool {
    let crossed = old.parts.initiator != new_initiator && now < old.since + AT_ONCE && old.stage == Stage::Standing;
    crossed && (alone || old.parts.renewal)
}

/// Tells whether the peer has started anew between two SAs: it has lost the first.
fn reborn(old: &Established, new: &Established) -> bool {
    matches!((old.parts.life, new.parts.life), (Some(before), Some(now)) if before != now)
}
