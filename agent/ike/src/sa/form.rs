//! The form of a child SA: protocol, mode, and what both ends say of padding and fragments (RFC 7296 §1.3.1).

use espalier_model::profile::{Mode, Profile, Protection};
use espalier_model::sa::{Keyed, Spi, Transform};
use espalier_model::secret::Secret;
use espalier_model::selector::PortRange;
use espalier_model::suite::{AhSuite, EspSuite};

use crate::config::ChildConfig;
use crate::content::Content;
use crate::wire::proposal::{self, ChildExchange, ChildSuite, Selection};
use crate::wire::{Notify, NotifyType, Payload, Proposal, ProtocolId};

/// The algorithm of one SA, whichever its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Esp(EspSuite),
    Ah(AhSuite),
}

impl Suite {
    pub(crate) const fn protocol(self) -> ProtocolId {
        match self {
            Self::Esp(_) => ProtocolId::ESP,
            Self::Ah(_) => ProtocolId::AH,
        }
    }

    pub(crate) const fn keymat_len(self) -> usize {
        match self {
            Self::Esp(suite) => suite.keymat_len(),
            Self::Ah(suite) => suite.keymat_len(),
        }
    }

    /// Returns one half of an SA that stands alone.
    pub(crate) fn transform(self, spi: Spi, keymat: Secret, esn: bool) -> Transform {
        match self {
            Self::Esp(suite) => Transform::Esp(Keyed { spi, suite, keymat, esn }),
            Self::Ah(suite) => Transform::Ah(Keyed { spi, suite, keymat, esn }),
        }
    }
}

impl ChildSuite<Suite> {
    /// Builds the answer that states this choice.
    pub(crate) fn answer(&self, number: u8, spi: Spi) -> Proposal {
        match self.protection {
            Suite::Esp(suite) => self.map(|_| suite).answer(number, spi),
            Suite::Ah(suite) => self.map(|_| suite).answer(number, spi),
        }
    }
}

/// Returns the protocol of the first, and mostly only, SA that a profile wants.
pub(crate) const fn protocol(profile: &Profile) -> ProtocolId {
    match profile.protection {
        Protection::Esp | Protection::AhEsp => ProtocolId::ESP,
        Protection::Ah => ProtocolId::AH,
    }
}

/// Builds the offer of one SA.
pub(crate) fn offer(profile: &Profile, protocol: ProtocolId, exchange: ChildExchange, spi: Spi) -> Vec<Proposal> {
    match protocol {
        ProtocolId::AH => proposal::offer_ah(&profile.ah, profile, exchange, spi),
        _ => proposal::offer_child(profile, exchange, spi),
    }
}

/// Chooses from the peer's offer of one SA.
pub(crate) fn choose(
    profile: &Profile,
    protocol: ProtocolId,
    exchange: ChildExchange,
    offer: &[Proposal],
) -> Option<Selection<ChildSuite<Suite>>> {
    match protocol {
        ProtocolId::AH => proposal::choose_ah(&profile.ah, profile, exchange, offer).map(|s| named(s, Suite::Ah)),
        _ => proposal::choose_child(profile, exchange, offer).map(|s| named(s, Suite::Esp)),
    }
}

/// Reads the peer's choice from our offer of one SA.
pub(crate) fn accept(
    profile: &Profile,
    protocol: ProtocolId,
    exchange: ChildExchange,
    answer: &[Proposal],
) -> Option<Selection<ChildSuite<Suite>>> {
    match protocol {
        ProtocolId::AH => proposal::accept_ah(&profile.ah, profile, exchange, answer).map(|s| named(s, Suite::Ah)),
        _ => proposal::accept_child(profile, exchange, answer).map(|s| named(s, Suite::Esp)),
    }
}

fn named<P>(selection: Selection<ChildSuite<P>>, suite: impl FnOnce(P) -> Suite) -> Selection<ChildSuite<Suite>> {
    let Selection { number, spi, suite: chosen } = selection;
    Selection { number, spi, suite: chosen.map(suite) }
}

/// Says what we want of an SA besides algorithms; with an answer, what we agree to.
pub(crate) fn notifies(config: &ChildConfig, asked: Option<&Content>) -> Vec<Payload> {
    let profile = &config.profile;
    let all_ports =
        |list: &[espalier_model::selector::TrafficSelector]| list.iter().all(|ts| ts.ports() == PortRange::ANY);
    let whole = all_ports(&config.local) && all_ports(&config.remote);
    let asked_for = |kind| asked.is_none_or(|content| content.notify(kind).is_some());
    let transport = profile.mode == Mode::Transport;
    let said = [
        //= RFC 7296 §1.3.1: transport mode is used where the initiator asks for it and the responder says it too
        (NotifyType::USE_TRANSPORT_MODE, transport && asked_for(NotifyType::USE_TRANSPORT_MODE)),
        //= RFC 7296 §1.3.1: who cannot tell padding from what it hides says so; in tunnel mode the inner packet has a length
        (NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED, transport && protocol(profile) == ProtocolId::ESP),
        //= RFC 7296 §1.3.1: later fragments, which show no ports, pass an SA of all ports, asked for or not, and no other
        (
            NotifyType::NON_FIRST_FRAGMENTS_ALSO,
            whole && asked.is_some() && asked_for(NotifyType::NON_FIRST_FRAGMENTS_ALSO),
        ),
    ];
    said.into_iter().filter(|(_, say)| *say).map(|(kind, _)| Payload::Notify(Notify::new(kind, Vec::new()))).collect()
}

/// Tells whether the peer takes packets that are padded to hide their length.
pub(crate) fn takes_padding(content: &Content) -> bool {
    content.notify(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED).is_none()
}

/// Tells whether the peer says transport mode.
pub(crate) fn says_transport(content: &Content) -> bool {
    content.notify(NotifyType::USE_TRANSPORT_MODE).is_some()
}

#[cfg(test)]
mod tests {
    use espalier_model::selector::{Protocol, TrafficSelector};

    use super::*;

    fn kinds(config: &ChildConfig, asked: Option<&Content>) -> Vec<NotifyType> {
        let kind = |payload: &Payload| {
            let Payload::Notify(notify) = payload else { panic!("{payload:?} is no notification") };
            notify.notify_type
        };
        notifies(config, asked).iter().map(kind).collect()
    }

    #[test]
    fn later_fragments_are_promised_where_asked_for_and_where_no_port_decides() {
        let side = |ports| vec![TrafficSelector::from_net(Protocol::TCP, ports, "10.0.0.0/8".parse().unwrap())];
        let profile = Profile::standard("default".parse().unwrap());
        let rule = "net".parse().unwrap();
        let all = ChildConfig { rule, local: side(PortRange::ANY), remote: side(PortRange::ANY), profile };
        let https = ChildConfig { remote: side(PortRange::new(443, 443).unwrap()), ..all.clone() };
        let notify = Payload::Notify(Notify::new(NotifyType::NON_FIRST_FRAGMENTS_ALSO, vec![]));
        let asked = Content::read(vec![notify]).unwrap();
        assert_eq!(kinds(&all, Some(&asked)), [NotifyType::NON_FIRST_FRAGMENTS_ALSO]);
        assert_eq!(kinds(&https, Some(&asked)), []);
        assert_eq!(kinds(&all, Some(&Content::default())), []);
        assert_eq!(kinds(&all, None), []);
    }
}
