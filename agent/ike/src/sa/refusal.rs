//! Why no child SA comes of an offer or an answer, and which knob decides.

use std::fmt;

use espalier_model::profile::{Mode, Profile};

use crate::content::Content;
use crate::wire::{NotifyType, ProtocolId, proposal};

/// Why no child SA comes of an offer or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No rule shares traffic with it, or it holds more than was offered.
    Traffic,
    /// No common suite.
    Proposal,
    /// Tunnel and transport mode do not meet.
    Mode,
    /// AH with a NAT on the path.
    Nat,
    /// One end wants ESP inside AH, the other does not know it or wants something else.
    Pair,
    /// The key exchange is not the one that was chosen.
    KeyExchange,
    /// There is no address for the peer.
    NoAddress,
    /// The peer has not asked for an address, and the rule means none but that.
    NotAsked,
    /// A payload is missing or says what it must not.
    Malformed,
}

impl Refusal {
    /// Returns how it is told to the peer.
    pub(crate) const fn notify(self) -> NotifyType {
        match self {
            //= RFC 7296 §2.9: an offer without acceptable traffic is answered with TS_UNACCEPTABLE
            Self::Traffic => NotifyType::TS_UNACCEPTABLE,
            //= RFC 7296 §2.7: where no proposal can be accepted, the answer is NO_PROPOSAL_CHOSEN
            Self::Proposal | Self::Mode | Self::Nat | Self::Pair | Self::KeyExchange => NotifyType::NO_PROPOSAL_CHOSEN,
            //= RFC 7296 §3.15.4: without an address for the initiator there is no child SA, though the IKE SA stands
            Self::NoAddress => NotifyType::INTERNAL_ADDRESS_FAILURE,
            //= RFC 7296 §2.19: an initiator that must ask for an address, and has not, is told so
            Self::NotAsked => NotifyType::FAILED_CP_REQUIRED,
            Self::Malformed => NotifyType::INVALID_SYNTAX,
        }
    }

    /// Explains it: what the peer has sent, what the profile of the rule wants, and which field decides.
    pub(crate) fn explain(self, profile: &Profile, protocol: ProtocolId, content: &Content) -> String {
        let name = &profile.name;
        match self {
            Self::Traffic => {
                let (i, r) = (&content.selectors_initiator, &content.selectors_responder);
                let list = |list: &Option<Vec<_>>| list.as_deref().map_or_else(|| "none".to_owned(), join);
                format!("peer's traffic is {} to {}; the rule's local and remote decide", list(i), list(r))
            }
            Self::Proposal => {
                let offered = proposal::describe(content.proposals.as_deref().unwrap_or_default());
                let (field, suites) = match protocol {
                    ProtocolId::AH => ("ah", join(&profile.ah)),
                    _ => ("esp", join(&profile.esp)),
                };
                let esn = profile.esn;
                format!(
                    "peer offers {offered}; profile {name} wants {field} {suites} and esn {esn}: {field} and esn decide"
                )
            }
            Self::Mode if profile.mode == Mode::Transport => {
                format!("peer wants tunnel mode; profile {name} wants mode transport: mode decides")
            }
            Self::Mode => format!("peer answers with transport mode; profile {name} wants mode {}", profile.mode),
            Self::Nat => format!(
                "AH cannot pass a NAT, and one is on the path or said to be (encap always); profile {name} wants protection {}",
                profile.protection
            ),
            Self::Pair => format!(
                "profile {name} wants protection {}, and the peer something else: only agents of this project do ah+esp",
                profile.protection
            ),
            Self::KeyExchange => {
                format!("peer answers with another key exchange than was chosen; profile {name}: key-exchange")
            }
            Self::NoAddress => {
                "peer asks for an address, and there is none for it: virtual-addresses.pool decides".to_owned()
            }
            Self::NotAsked => "peer has not asked for an address, and the rule means one of the pool: \
                               virtual-addresses.pool decides"
                .to_owned(),
            Self::Malformed => "peer's message lacks an SPI or a nonce".to_owned(),
        }
    }
}

fn join<T: fmt::Display>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Puts what the peer has answered into words.
pub(super) fn told(error: NotifyType, profile: &Profile) -> String {
    let name = &profile.name;
    match error {
        NotifyType::NO_PROPOSAL_CHOSEN => format!(
            "peer takes none of what profile {name} offers: protection {}, mode {}, esn {}, esp {}, ah {}",
            profile.protection,
            profile.mode,
            profile.esn,
            join(&profile.esp),
            join(&profile.ah)
        ),
        NotifyType::TS_UNACCEPTABLE => "peer has no policy for the rule's traffic: local and remote decide".to_owned(),
        other => format!("peer answers {other:?}"),
    }
}
