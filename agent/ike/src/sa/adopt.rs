//! From what both ends have agreed on to a child that is in use: keys, limits, and the order to install it.

use espalier_model::sa::{ChildId, ChildSa, Direction, Encapsulation, Form, InboundSa, OutboundSa, Transform};
use espalier_model::secret::Secret;

use super::child::{Agreed, Child, ChildSpis, Part, Seed};
use super::established::Established;
use super::form::Suite;
use super::patience::Patience;
use super::refusal::Refusal;
use crate::config::ChildConfig;
use crate::content::Content;
use crate::context::Context;
use crate::explain::{What, between};
use crate::handshake::Failure;
use crate::keylog::KeylogLine;
use crate::outbounds::Switch;
use crate::output::Output;
use crate::wire::{NotifyType, ProtocolId};

/// A child that was adopted, and the one whose place it takes from now on.
pub(crate) struct Adopted {
    pub(crate) id: ChildId,
    pub(crate) replaces: Option<ChildId>,
}

/// The keys of both halves, as seen from this end.
pub(super) struct Keys {
    pub(super) inbound: Secret,
    pub(super) outbound: Secret,
}

impl Established {
    /// Derives the keys of an SA and orders both halves, or lets ESP wait for the AH around it.
    pub(crate) fn adopt(
        &mut self,
        cx: &mut Context<'_>,
        agreed: Agreed,
        seed: &Seed<'_>,
        switch: Switch,
        replaces: Option<ChildId>,
    ) -> Result<Adopted, Failure> {
        let keys = self.parts.keys.sk_d.child(agreed.suite.keymat_len(), seed.shared, seed.nonces)?;
        let (inbound, outbound) =
            if agreed.initiated { (keys.responder, keys.initiator) } else { (keys.initiator, keys.responder) };
        let keys = Keys { inbound, outbound };
        match agreed.part {
            Part::Whole => {
                let inbound = agreed.suite.transform(agreed.inbound, keys.inbound, agreed.esn);
                let outbound = agreed.suite.transform(agreed.outbound, keys.outbound, agreed.esn);
                let mut child = self.child(cx, &agreed);
                self.put_up(cx, &mut child, &agreed, (inbound, outbound), switch);
                let id = child.id;
                self.children.push(child);
                Ok(Adopted { id, replaces })
            }
            Part::Inner => Ok(self.let_wait(cx, agreed, keys, replaces)),
            Part::Outer(id) => Ok(self.complete(cx, id, &agreed, keys, switch)),
        }
    }

    /// Builds a child that is not in use yet.
    pub(super) fn child(&self, cx: &mut Context<'_>, agreed: &Agreed) -> Child {
        let lifetime = agreed.config.profile.child_rekey();
        let rekey_at = cx.now.instant + Self::own_lifetime(cx, lifetime, self.parts.peer.initiate);
        let (esp, ah) = match agreed.suite {
            Suite::Esp(suite) => (Some(suite), None),
            Suite::Ah(suite) => (None, Some(suite)),
        };
        let protocol = agreed.suite.protocol();
        let nat = self.parts.nat.encapsulation();
        let encapsulation = if protocol == ProtocolId::AH { Encapsulation::Ip } else { nat };
        let mut child = Child {
            id: cx.child_id(),
            first: ChildSpis { protocol, inbound: agreed.inbound, outbound: agreed.outbound },
            outer: None,
            form: Form { esp, ah, esn: agreed.esn, mode: agreed.config.profile.mode, encapsulation },
            waiting: None,
            since: cx.now.instant,
            epoch: agreed.epoch,
            rekey_at,
            delete_at: None,
            patience: Patience::default(),
            config: agreed.config.clone(),
        };
        // The configuration may have changed while the exchange was under way.
        child.reconfigure(cx.now.instant, &self.parts.peer);
        child
    }

    /// Orders both halves.
    pub(super) fn put_up(
        &mut self,
        cx: &mut Context<'_>,
        child: &mut Child,
        agreed: &Agreed,
        (inbound, outbound): (Transform, Transform),
        switch: Switch,
    ) {
        let limits = cx.limits(&agreed.config.profile, child.form.esn, self.parts.peer.initiate);
        let sa = |transform| ChildSa {
            id: child.id,
            rule: agreed.config.rule.clone(),
            transform,
            mode: child.form.mode,
            encapsulation: child.form.encapsulation,
            originals: agreed.originals,
            padding: agreed.padding,
            pad_to: agreed.config.profile.padding,
            dscp: agreed.config.profile.dscp,
            selectors: agreed.selectors.clone(),
            path: self.mobility.traffic(),
            replay_window: agreed.config.profile.replay_window,
            limits,
        };
        let (inbound, outbound) = (sa(inbound), sa(outbound));
        if cx.config.keylog {
            cx.out.extend(KeylogLine::esp(&inbound, Direction::Inbound).map(Output::Keylog));
            cx.out.extend(KeylogLine::esp(&outbound, Direction::Outbound).map(Output::Keylog));
        }
        cx.install(InboundSa(inbound), OutboundSa(outbound), switch);
        let (got, rule) = (&agreed.selectors, &agreed.config);
        if got.local != rule.local || got.remote != rule.remote {
            let traffic = between(&got.local, &got.remote);
            cx.tell(&self.parts.peer.id, What::ChildNarrowed { rule: rule.rule.clone(), child: child.id, traffic });
        }
        self.refused.remove(&agreed.config.rule);
        self.temporary.regain();
    }

    /// Says why the peer's offer or answer brings no child.
    pub(crate) fn refuse(
        &self,
        cx: &mut Context<'_>,
        refusal: Refusal,
        config: Option<&ChildConfig>,
        protocol: ProtocolId,
        content: &Content,
    ) -> NotifyType {
        let profile = config.map_or(&self.parts.peer.profile, |config| &config.profile);
        cx.out.push_back(Output::ChildRefused {
            peer: self.parts.peer.id.clone(),
            rule: config.map(|config| config.rule.clone()),
            reason: refusal.explain(profile, protocol, content),
        });
        refusal.notify()
    }
}
