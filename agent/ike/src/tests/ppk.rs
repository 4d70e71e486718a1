//! Postquantum preshared keys (RFC 8784): who has one, who requires one, and what becomes of the SA.

use super::*;
use crate::content::Content;
use crate::handshake::ppk::{Mixed, PpkError, confirmed};
use crate::keymat::{self, IkeSpis, Nonces};
use crate::wire::{IkeSpi, Nonce};

/// What one end has: the key's id, its secret, and whether it is required.
type Has = Option<(&'static str, u8, bool)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The SA stands, and the key is mixed in.
    Used,
    /// The SA stands without.
    Without,
    /// The initiator gives up, for a reason with this text.
    InitiatorRefuses(&'static str),
    /// The responder turns the initiator away, for a reason with this text.
    ResponderRefuses(&'static str),
}

use Outcome::{InitiatorRefuses, ResponderRefuses, Used, Without};

const NONE: Has = None;
const OPTIONAL: Has = Some(("ppk-1", 1, false));
const REQUIRED: Has = Some(("ppk-1", 1, true));
const OTHER_SECRET: Has = Some(("ppk-1", 2, false));
const OTHER_ID: Has = Some(("ppk-2", 2, false));
const OTHER_ID_REQUIRED: Has = Some(("ppk-2", 2, true));
const WRONG: &str = "peer does not prove its identity: authentication data is wrong";

/// The tables of RFC 8784 §3, for initiator and responder.
const MATRIX: [(Has, Has, Outcome); 20] = [
    (NONE, NONE, Without),
    (NONE, OPTIONAL, Without),
    (NONE, REQUIRED, ResponderRefuses("ppk ppk-1 is required, but the peer does not use it")),
    (OPTIONAL, NONE, Without),
    (REQUIRED, NONE, InitiatorRefuses("ppk ppk-1 is required, but the peer announces none")),
    (OPTIONAL, OPTIONAL, Used),
    (OPTIONAL, REQUIRED, Used),
    (REQUIRED, OPTIONAL, Used),
    (REQUIRED, REQUIRED, Used),
    (OPTIONAL, OTHER_SECRET, ResponderRefuses(WRONG)),
    (REQUIRED, OTHER_SECRET, ResponderRefuses(WRONG)),
    (OTHER_SECRET, OPTIONAL, ResponderRefuses(WRONG)),
    (OTHER_SECRET, REQUIRED, ResponderRefuses(WRONG)),
    (OPTIONAL, OTHER_ID, Without),
    (OPTIONAL, OTHER_ID_REQUIRED, ResponderRefuses("ppk ppk-2 is required, but the peer names ppk-1")),
    (REQUIRED, OTHER_ID, ResponderRefuses("the peer requires ppk ppk-1, which is not configured for it")),
    (REQUIRED, OTHER_ID_REQUIRED, ResponderRefuses("ppk ppk-2 is required, but the peer names ppk-1")),
    (OTHER_ID, OPTIONAL, Without),
    (OTHER_ID, REQUIRED, ResponderRefuses("ppk ppk-1 is required, but the peer names ppk-2")),
    (OTHER_ID_REQUIRED, OPTIONAL, ResponderRefuses("the peer requires ppk ppk-2, which is not configured for it")),
];

fn ppk(has: Has) -> Option<Ppk> {
    has.map(|(id, byte, required)| Ppk { id: id.parse().unwrap(), secret: Secret::new(vec![byte; 32]), required })
}

fn peers(has: [Has; 2], auth: &Auth) -> [PeerConfig; 2] {
    [0, 1].map(|side| PeerConfig { ppk: ppk(has[side]), ..peer(side, auth.clone()) })
}

/// Returns which key each end says is in use.
fn in_use(pair: &Pair) -> [Option<String>; 2] {
    [0, 1].map(|side| pair.nodes[side].endpoint.status()[0].ppk.as_ref().map(ToString::to_string))
}

fn assert_outcome(pair: &Pair, outcome: Outcome, row: &str) {
    let [left, right] = &pair.nodes;
    let refusal = |reason: &DownReason, text: &str| {
        matches!(reason, DownReason::Failed(why) if why.starts_with(text))
            || panic!("{row}: {reason:?} is not {text:?}")
    };
    match outcome {
        Used | Without => {
            pair.assert_up();
            let shown = (outcome == Used).then(|| "ppk-1".to_owned());
            assert_eq!(in_use(pair), [shown.clone(), shown], "{row}");
        }
        InitiatorRefuses(text) => assert!(refusal(&left.down[0], text) && right.down.is_empty(), "{row}"),
        ResponderRefuses(text) => {
            assert_eq!(left.down, [DownReason::Refused("AUTHENTICATION_FAILED".to_owned())], "{row}");
            assert!(refusal(&right.down[0], text), "{row}");
        }
    }
    if !matches!(outcome, Used | Without) {
        let nothing = |node: &Node| node.up == 0 && node.inbound.is_empty() && node.endpoint.status().is_empty();
        assert!(pair.nodes.iter().all(nothing), "{row}: never silently without");
    }
}

#[test]
fn every_combination_comes_to_what_the_rfc_says_with_shared_keys() {
    for (left, right, outcome) in MATRIX {
        let mut pair = Pair::with_peers(peers([left, right], &psk("secret")));
        pair.drive(|_| 1);
        assert_outcome(&pair, outcome, &format!("{left:?} {right:?}"));
    }
}

#[test]
fn every_combination_comes_to_what_the_rfc_says_with_certificates() {
    let root = Authority::new();
    for (left, right, outcome) in MATRIX {
        let nodes = [0, 1].map(|side| node(side, Some(root.issue(&id(side))), vec![root.der.clone()]));
        let mut pair = Pair::new(nodes);
        pair.configure(peers([left, right], &Auth::Certificate));
        pair.drive(|_| 1);
        assert_outcome(&pair, outcome, &format!("{left:?} {right:?}"));
    }
}

/// The responder announces keys because it has one for somebody else; who asks is known only later.
#[test]
fn a_key_for_another_peer_is_no_key_for_this_one() {
    let rows = [
        (OPTIONAL, Without),
        (REQUIRED, ResponderRefuses("the peer requires ppk ppk-1, which is not configured for it")),
    ];
    for (has, outcome) in rows {
        let mut pair = Pair::new([node(0, None, vec![]), node(1, None, vec![])]);
        let [left, right] = peers([has, NONE], &psk("secret"));
        let other = "other.node.mesh.example".parse().unwrap();
        let stranger = PeerConfig { id: other, ppk: ppk(REQUIRED), children: vec![], ..right.clone() };
        pair.nodes[1].endpoint.configure(pair.now, vec![stranger, right]);
        pair.nodes[0].endpoint.configure(pair.now, vec![left]);
        pair.collect();
        pair.drive(|_| 1);
        assert_outcome(&pair, outcome, &format!("{has:?}"));
    }
}

#[test]
fn every_message_with_a_key_may_be_lost_once_or_arrive_twice() {
    for copies in [0, 2] {
        for hit in 0..4 {
            let mut pair = Pair::with_peers(peers([REQUIRED, REQUIRED], &psk("secret")));
            pair.drive(|n| if n == hit { copies } else { 1 });
            for _ in 0..3 {
                pair.wait(Duration::from_secs(1));
                pair.drive(|_| 1);
            }
            assert_outcome(&pair, Used, &format!("message {hit}, {copies} copies"));
        }
    }
}

#[test]
fn a_key_lives_on_in_rekeyed_sas() {
    let short = peers([REQUIRED, OPTIONAL], &psk("secret")).map(|mut peer| {
        peer.profile.ike_rekey_seconds = 10;
        peer.children[0].profile.child_rekey_seconds = 7;
        peer
    });
    let mut pair = Pair::with_peers(short);
    pair.drive(|_| 1);
    let first = pair.nodes[0].endpoint.status()[0].spis;
    for _ in 0..30 {
        pair.wait(Duration::from_secs(1));
        pair.drive(|_| 1);
    }
    let [left, right] = &pair.nodes;
    assert!(left.down.is_empty() && right.down.is_empty(), "{:?} {:?}", left.down, right.down);
    assert_ne!(left.endpoint.status()[0].spis, first, "the IKE SA was rekeyed");
    assert!(left.outbound.len() >= 3, "the child SA was rekeyed");
    assert_eq!(in_use(&pair), [Some("ppk-1".to_owned()), Some("ppk-1".to_owned())]);
    let sent = &left.outbound[left.outbound.len() - 1];
    assert!(right.inbound.iter().any(|sa| halves_match(sent, sa)));
}

#[test]
fn a_key_that_is_required_later_ends_the_sa_without_it_and_makes_one_with_it() {
    let mut pair = Pair::with_peers(peers([OPTIONAL, NONE], &psk("secret")));
    pair.drive(|_| 1);
    assert_eq!(in_use(&pair), [None, None]);
    for has in [[REQUIRED, REQUIRED], [OTHER_ID, OTHER_ID]] {
        pair.configure(peers(has, &psk("secret")));
        for _ in 0..10 {
            pair.drive(|_| 1);
            pair.wait(Duration::from_secs(1));
        }
        let id = has[0].map(|(id, ..)| id.to_owned());
        assert_eq!(in_use(&pair), [id.clone(), id]);
        let children = |side: usize| pair.nodes[side].endpoint.status()[0].children.len();
        assert_eq!((children(0), children(1)), (1, 1));
    }
    let mut pair = Pair::with_peers(peers([OPTIONAL, NONE], &psk("secret")));
    pair.drive(|_| 1);
    pair.configure(
        peers([OPTIONAL, REQUIRED], &psk("secret"))
            .map(|peer| PeerConfig { ppk: peer.ppk.filter(|p| p.required), ..peer }),
    );
    for _ in 0..10 {
        pair.drive(|_| 1);
        pair.wait(Duration::from_secs(1));
    }
    assert!(pair.nodes.iter().all(|node| node.endpoint.status().is_empty()), "rather nothing than an SA without it");
}

/// A responder that has the key announces it, and then answers as if it had not.
#[test]
fn an_initiator_that_requires_the_key_does_not_believe_an_answer_without_it() {
    let nonce = || Nonce::new(vec![1; 32]).unwrap();
    let nonces = Nonces { initiator: nonce(), responder: nonce() };
    let spis = IkeSpis { initiator: IkeSpi(1), responder: IkeSpi(2) };
    let prf = espalier_model::suite::Prf::HmacSha256;
    let shared = Secret::new(vec![3; 32]);
    let (keys, auth) = keymat::initial(prf, IkeEncryption::Aes256Gcm16, &shared, &nonces, spis).unwrap();
    let (required, optional) = (ppk(REQUIRED).unwrap(), ppk(OPTIONAL).unwrap());
    let mixed = || Some(Mixed::new(&required, &auth, &keys).unwrap());
    let silent = Content::default();
    let refused = confirmed(Some(&required), mixed(), &silent).err();
    assert_eq!(refused, Some(PpkError::Unused("ppk-1".parse().unwrap())));
    assert!(confirmed(Some(&optional), mixed(), &silent).unwrap().is_none());
    let confirming = Content::read(vec![crate::handshake::ppk::confirmation()]).unwrap();
    assert!(confirmed(Some(&required), mixed(), &confirming).unwrap().is_some());
    assert!(confirmed(None, None, &confirming).unwrap().is_none(), "nothing was offered");
}
