use super::*;

fn plan() -> NodePlan {
    let pem = "-----BEGIN CERTIFICATE-----\\nAA==\\n-----END CERTIFICATE-----\\n";
    let text = format!(
        r#"{{"node": {{"id": "a.node.example", "endpoints": ["192.0.2.1"], "addresses": ["10.0.0.1/32"]}},
        "trust": ["{pem}"], "strict": ["10.0.0.0/8", "fd00::/64"], "profiles": [{{"name": "fast"}}],
        "peers": [{{"id": "b.node.example", "endpoints": ["192.0.2.2"], "initiate": true}}],
        "rules": [{{"name": "b", "action": "protect", "peer": "b.node.example", "local": ["10.0.0.1/32"], "remote": ["10.0.0.2/32"]}}],
        "revoked": ["0f", "aa"]}}"#
    );
    NodePlan::parse(&text).unwrap()
}

#[test]
fn a_plan_is_taken_apart_and_put_together() {
    let entries = Entries::of_plan(&plan()).unwrap();
    assert_eq!(entries.len(), 9);
    assert_eq!(entries.plan().unwrap(), plan());
    let keys: Vec<_> = entries.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys[..4], ["node", "peer/b.node.example", "profile/fast", "revoked/0f"]);
    for (at, (key, entry)) in entries.iter().enumerate() {
        assert_eq!(PlanEntry::from_json(at, &entry.to_json().unwrap()).unwrap(), *entry);
        assert_eq!(key.as_str().parse::<EntryKey>().unwrap(), *key);
    }
}

#[test]
fn a_digest_that_was_kept_up_to_date_is_that_of_the_whole() {
    let mut changed = plan();
    changed.peers[0].key_epoch = 7;
    changed.revoked = vec!["bb".to_owned()];
    let (before, whole) = (Entries::of_plan(&plan()).unwrap(), Entries::of_plan(&changed).unwrap());
    assert_ne!(before.digest(), whole.digest());
    let (upsert, remove) = whole.changes_since(&before);
    assert_eq!((upsert.len(), remove.len()), (2, 2));
    let mut entries = before.clone();
    remove.iter().for_each(|key| assert!(entries.remove(key.as_str()).is_some()));
    upsert.into_iter().for_each(|entry| assert!(entries.insert(entry).is_ok()));
    assert_eq!(entries.digest(), whole.digest());
    assert_eq!(entries, whole);
    assert_eq!(entries.digest().to_string().parse(), Ok(whole.digest()));
}

#[test]
fn the_order_in_which_entries_come_does_not_matter() {
    let entries = Entries::of_plan(&plan()).unwrap();
    let reversed: Vec<_> = entries.iter().map(|(_, entry)| entry.clone()).collect();
    assert_eq!(Entries::new(reversed.into_iter().rev()).unwrap().digest(), entries.digest());
    assert_ne!(Entries::default().digest(), entries.digest());
}

#[test]
fn an_entry_from_a_controller_names_no_file() {
    let mut secret = plan();
    secret.peers[0].auth = PeerAuth::PskFile("/etc/shadow".into());
    assert!(Entries::of_plan(&secret).unwrap_err().to_string().contains("peer/b.node.example names a file"));
    let mut key = plan();
    key.node.key = Some("/etc/shadow".into());
    assert!(matches!(Entries::of_plan(&key), Err(EntryError::Path(_))));
    let trust = PlanEntry::Trust("/etc/shadow".to_owned());
    assert!(matches!(trust.to_json(), Err(EntryError::Path(_))));
    assert!(matches!(PlanEntry::from_json(0, br#"{"trust": "/etc/shadow"}"#), Err(EntryError::Path(_))));
}

#[test]
fn entries_that_are_no_plan_are_refused() {
    assert!(
        PlanEntry::from_json(3, b"{\"rules\": 1}")
            .unwrap_err()
            .to_string()
            .starts_with("plan entry 3: unknown variant")
    );
    assert!(matches!(PlanEntry::from_json(0, br#"{"revoked": "0G"}"#), Err(EntryError::Serial(_))));
    let twice = [PlanEntry::Revoked("aa".to_owned()), PlanEntry::Revoked("aa".to_owned())];
    assert!(matches!(Entries::new(twice), Err(EntryError::Duplicate(_))));
    let mut entries = Entries::of_plan(&plan()).unwrap();
    entries.remove("peer/b.node.example").unwrap();
    assert!(matches!(entries.plan(), Err(EntryError::Plan(PlanError::Unknown { .. }))));
    entries.remove("node").unwrap();
    assert_eq!(entries.plan(), Err(EntryError::NoNode));
    assert!("node/a b".parse::<EntryKey>().is_err() && "file/a".parse::<EntryKey>().is_err());
}
