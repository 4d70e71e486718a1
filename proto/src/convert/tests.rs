use espalier_model::entry::Entries;

use super::*;

const NODE: &[u8] = br#"{"node": {"id": "a.node.example", "endpoints": ["192.0.2.1"]}}"#;

fn whole() -> Whole {
    let node = PlanEntry::from_json(0, NODE).unwrap();
    let revoked = (0..20).map(|n| PlanEntry::Revoked(format!("{n:02x}")));
    let entries: Vec<_> = std::iter::once(node).chain(revoked).collect();
    let envelope = Envelope {
        node: "a.node.example".parse().unwrap(),
        version: Version { epoch: 1, generation: u64::MAX },
        digest: Entries::new(entries.clone()).unwrap().digest(),
        signature: vec![7; 72],
        chain: vec![vec![1; 600], vec![2; 600]],
    };
    Whole { envelope, entries }
}

fn delta() -> Delta {
    let remove = vec!["revoked/aa".parse().unwrap(), "peer/b.node.example".parse().unwrap()];
    Delta { envelope: whole().envelope, base_generation: 9, upsert: whole().entries, remove }
}

#[track_caller]
fn refused(change: impl FnOnce(&mut v1::Whole)) -> WireError {
    let mut message = v1::Whole::try_from(whole()).unwrap();
    change(&mut message);
    Whole::try_from(message).unwrap_err()
}

#[test]
fn plans_and_changes_arrive_as_they_left() {
    let bytes = v1::Whole::try_from(whole()).unwrap().encode_to_vec();
    assert_eq!(Whole::try_from(v1::Whole::decode(&bytes[..]).unwrap()).unwrap(), whole());
    let bytes = v1::Delta::try_from(delta()).unwrap().encode_to_vec();
    assert_eq!(Delta::try_from(v1::Delta::decode(&bytes[..]).unwrap()).unwrap(), delta());
}

#[test]
fn one_bad_element_refuses_the_message() {
    assert_eq!(refused(|m| m.envelope = None), WireError::Missing("envelope"));
    assert_eq!(refused(|m| m.envelope.as_mut().unwrap().digest = vec![0; 31]), WireError::Digest(31));
    assert!(matches!(refused(|m| m.envelope.as_mut().unwrap().node = "a b".to_owned()), WireError::Node(_)));
    assert!(refused(|m| m.entries[3] = b"{}".to_vec()).to_string().starts_with("plan entry 3: "));
    let mut message = v1::Delta::try_from(delta()).unwrap();
    message.remove[1] = "file/etc".to_owned();
    assert!(matches!(Delta::try_from(message), Err(WireError::Entry(EntryError::Key(_)))));
}

#[test]
fn a_message_is_bounded_in_every_direction() {
    let field = |error| {
        let WireError::Length { field, .. } = error else { panic!("{error}") };
        field
    };
    assert_eq!(field(refused(|m| m.entries = vec![NODE.to_vec(); MAX_ENTRIES + 1])), "entries");
    assert_eq!(field(refused(|m| m.entries = vec![vec![b' '; MAX_MESSAGE_BYTES]])), "message");
    assert_eq!(field(refused(|m| m.envelope.as_mut().unwrap().chain = vec![vec![]; 5])), "chain");
    assert_eq!(field(refused(|m| m.envelope.as_mut().unwrap().signature = vec![0; 129])), "signature");
    let mut large = whole();
    large.entries = vec![PlanEntry::Trust(format!("-----BEGIN CERTIFICATE-----{}", " ".repeat(MAX_MESSAGE_BYTES)))];
    assert_eq!(field(v1::Whole::try_from(large).unwrap_err()), "message");
}
