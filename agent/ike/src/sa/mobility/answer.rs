//! What an INFORMATIONAL request of the peer says about paths, and what is answered (RFC 4555 §3.5 to §3.9).

use std::net::IpAddr;

use espalier_model::sa::UdpPath;

use super::super::established::Established;
use crate::content::Content;
use crate::context::Context;
use crate::nat::Detected;
use crate::output::MoveReason;
use crate::paths::acceptable;
use crate::wire::mobility::{cookie, read_additional, untranslated};
use crate::wire::{Notify, NotifyType};

impl Established {
    /// Carries out what a request that came along a path says, and returns what to answer.
    pub(crate) fn answer_about_paths(&mut self, cx: &mut Context<'_>, path: UdpPath, content: &Content) -> Vec<Notify> {
        let mut answer = Vec::new();
        let detected = Detected::read(self.parts.spis, path, &content.notifies);
        if detected.is_some() {
            //= RFC 4555 §3.8: NAT detection in any INFORMATIONAL request is answered by NAT detection
            answer.extend(cx.nat_detection(self.parts.spis, path, self.parts.peer.profile.encap));
        }
        //= RFC 4555 §3.7: COOKIE2 is returned as it came
        answer.extend(cookie(&content.notifies).map(|value| Notify::new(NotifyType::COOKIE2, value.to_vec())));
        if !self.mobile() {
            return answer;
        }
        if let Some(data) = content.notify(NotifyType::NO_NATS_ALLOWED)
            && !untranslated(path, data)
        {
            //= RFC 4555 §3.9: where the addresses are not those that the sender has used, nothing is changed
            answer.push(Notify::new(NotifyType::UNEXPECTED_NAT_DETECTED, Vec::new()));
            return answer;
        }
        if content.notify(NotifyType::UPDATE_SA_ADDRESSES).is_some() {
            //= RFC 4555 §3.5: the initiator chooses, and only addresses that the policy accepts
            if self.mobility.leads || !acceptable(&self.parts.peer, cx.present, path.remote) {
                answer.push(Notify::new(NotifyType::UNACCEPTABLE_ADDRESSES, Vec::new()));
                return answer;
            }
            self.follow_update(cx, path, detected);
        }
        if let Some(addresses) = read_additional(&content.notifies) {
            self.learn_addresses(cx, path, addresses);
        }
        answer
    }

    //= RFC 4555 §3.5: the addresses are those of the message itself, as a NAT has left them
    fn follow_update(&mut self, cx: &mut Context<'_>, path: UdpPath, detected: Option<Detected>) {
        if let Some(detected) = detected {
            self.take_detected(cx.now.instant, detected);
        }
        self.redirect(cx, path);
        if self.trusts(path.remote.ip()) {
            self.move_traffic(cx, path, MoveReason::Asked);
        } else {
            //= RFC 4555 §3.7: packets do not follow before the peer has shown that it receives there
            self.mobility.unproven = true;
        }
    }

    //= RFC 4555 §3.6: a list takes the place of all that was told before; the sender's own address belongs to it
    fn learn_addresses(&mut self, cx: &mut Context<'_>, path: UdpPath, addresses: Vec<IpAddr>) {
        self.mobility.learn(addresses);
        let current = self.parts.path.remote.ip();
        let gone = current != path.remote.ip() && !self.mobility.theirs.contains(&current);
        if gone && self.mobility.leads && acceptable(&self.parts.peer, cx.present, path.remote) {
            let to = UdpPath { remote: path.remote, local: path.local };
            let trusted = self.trusts(path.remote.ip());
            self.depart(cx, to, MoveReason::TheirsGone, trusted);
        }
    }
}
