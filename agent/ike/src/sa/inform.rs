//! INFORMATIONAL requests of the peer: deletions and signs of life (RFC 7296 §1.4).

use espalier_model::sa::UdpPath;

use super::established::{Established, Fate};
use super::exchange::Exchange;
use crate::content::Content;
use crate::context::Context;
use crate::handshake::configuration;
use crate::output::DownReason;
use crate::wire::{Delete, NotifyType, Payload, ProtocolId};

impl Established {
    /// Carries a request out and returns what to answer.
    pub(super) fn inform(&mut self, cx: &mut Context<'_>, path: UdpPath, content: &Content) -> (Vec<Payload>, Fate) {
        if content.deletes.iter().any(|d| d.protocol == ProtocolId::IKE) {
            //= RFC 7296 §1.4.1: the deletion of an IKE SA ends its child SAs and is answered with nothing
            return (Vec::new(), Fate::Over(DownReason::DeletedByPeer));
        }
        //= RFC 7296 §2.21.2: an initiator that does not believe us says so in a request of its own
        if content.notify(NotifyType::AUTHENTICATION_FAILED).is_some() {
            let reason = format!("{:?}", NotifyType::AUTHENTICATION_FAILED);
            return (Vec::new(), Fate::Over(DownReason::Refused(reason)));
        }
        self.heed_errors(cx, content);
        let named: Vec<_> = content.deletes.iter().flat_map(|d| d.spis.iter().map(|spi| (d.protocol, *spi))).collect();
        let deleting = match &self.exchange {
            Some(Exchange::DeleteChildren(ids)) => ids.clone(),
            _ => Vec::new(),
        };
        // Of two SAs that are one, the other goes too.
        let gone = |c: &super::child::Child| named.iter().any(|(protocol, spi)| c.has_outbound(*protocol, *spi));
        //= RFC 7296 §1.4.1: the SPIs are those of the sender's inbound SAs, the answer names the other halves
        //= RFC 7296 §2.25.1: halves that we are deleting ourselves are left out
        let answered = self.children.iter().filter(|c| gone(c) && !deleting.contains(&c.id));
        let ours: Vec<_> = answered.flat_map(|c| c.sas().map(|sa| (sa.protocol, sa.inbound))).collect();
        self.note_deleted(&named);
        self.drop_children(cx, gone);
        let mut payloads: Vec<_> = Delete::children(&ours).into_iter().map(Payload::Delete).collect();
        payloads.extend(configuration::inform(content));
        payloads.extend(self.answer_about_paths(cx, path, content).into_iter().map(Payload::Notify));
        self.note_lifetime(cx.now.instant, content);
        (payloads, Fate::Stays)
    }

    /// Returns the SA that the peer has made in place of this one, while our own offer is open.
    pub(crate) fn rival(&self) -> Option<crate::wire::IkeSpi> {
        match &self.exchange {
            Some(Exchange::Ike(offer)) => offer.rival.as_ref().and_then(|rival| rival.id),
            Some(Exchange::Followup(followup)) => followup.rival(),
            _ => None,
        }
    }
}
