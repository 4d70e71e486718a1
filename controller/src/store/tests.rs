use std::collections::BTreeSet;

use espalier_model::document::rotation::RotationScope;
use tempfile::TempDir;

use super::*;

const NOW: i64 = 1_790_000_000;

async fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("espalier.db")).await.unwrap();
    let mesh = r#"{"trustDomain": "mesh.example", "pools": ["10.10.0.0/30", "fd00::/64"]}"#;
    let policy = r#"{"from": "any", "to": "any", "traffic": "any", "action": "protect"}"#;
    let authority = || SealedAuthority { certificate: vec![1], key: vec![2] };
    let first = FirstStart {
        mesh: &serde_json::from_str(mesh).unwrap(),
        root: authority(),
        issuing: authority(),
        admin_hash: b"admin",
        policy: (&"default".parse().unwrap(), &serde_json::from_str(policy).unwrap()),
    };
    store.first_start(first, NOW).await.unwrap();
    (folder, store)
}

async fn token(store: &Store, name: &str, uses_left: Option<u32>) {
    let labels = serde_json::from_str(r#"{"role": "web"}"#).unwrap();
    let row = TokenRow { name: name.parse().unwrap(), uses_left, expires: NOW + 60, labels };
    store.add_token("admin", &row, name.as_bytes(), NOW).await.unwrap();
}

async fn admit(store: &Store, name: &str, token: &str, key: &str, now: i64) -> Result<()> {
    let admission = Admission {
        name: &name.parse().unwrap(),
        token_hash: token.as_bytes(),
        key_hash: key.as_bytes(),
        endpoints: &["192.0.2.1".parse().unwrap()],
        serial: &format!("{name}{key}{now}"),
        not_after: i64::MAX,
        now,
    };
    store.admit(&admission).await
}

#[tokio::test]
async fn a_token_admits_as_often_and_as_long_as_it_says() {
    let (_folder, store) = store().await;
    token(&store, "two", Some(2)).await;
    admit(&store, "a", "two", "ka", NOW).await.unwrap();
    admit(&store, "b", "two", "kb", NOW).await.unwrap();
    let refused = [("two", NOW, "used up"), ("two", NOW + 60, "expired"), ("three", NOW, "unknown")];
    for (token, now, reason) in refused {
        let error = admit(&store, "c", token, "kc", now).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(store.nodes("", 10).await.unwrap().len(), 2, "a refusal changes nothing");
    assert_eq!(store.tokens().await.unwrap()[0].uses_left, Some(0));
}

#[tokio::test]
async fn addresses_are_the_lowest_that_are_free() {
    let (_folder, store) = store().await;
    token(&store, "any", None).await;
    admit(&store, "a", "any", "ka", NOW).await.unwrap();
    admit(&store, "b", "any", "kb", NOW).await.unwrap();
    assert!(matches!(admit(&store, "c", "any", "kc", NOW).await, Err(StoreError::Full)), "a /30 has two hosts");
    store.delete_node("admin", "a", NOW).await.unwrap();
    admit(&store, "c", "any", "kc", NOW).await.unwrap();
    let node = store.node("c").await.unwrap();
    assert_eq!(node.spec.addresses, ["10.10.0.1/32".parse().unwrap(), "fd00::1/128".parse().unwrap()]);
    assert_eq!(node.labels.get("role").unwrap().as_str(), "web");
    let all: BTreeSet<_> = store.nodes("", 10).await.unwrap().into_iter().flat_map(|n| n.spec.addresses).collect();
    assert_eq!(all.len(), 4);
}

#[tokio::test]
async fn a_name_belongs_to_its_key() {
    let (_folder, store) = store().await;
    token(&store, "any", None).await;
    admit(&store, "a", "any", "ka", NOW).await.unwrap();
    assert!(matches!(admit(&store, "a", "any", "kx", NOW + 1).await, Err(StoreError::OtherKey(_))));
    admit(&store, "a", "any", "ka", NOW + 2).await.unwrap();
    assert_eq!(store.nodes("", 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_node_that_was_admitted_needs_no_further_use_of_its_token() {
    let (_folder, store) = store().await;
    token(&store, "once", Some(1)).await;
    admit(&store, "a", "once", "ka", NOW).await.unwrap();
    assert!(matches!(admit(&store, "b", "once", "kb", NOW).await, Err(StoreError::Token("used up"))));
    admit(&store, "a", "once", "ka", NOW + 1).await.unwrap();
    assert!(matches!(admit(&store, "a", "none", "ka", NOW + 2).await, Err(StoreError::Token("unknown"))));
}

#[tokio::test]
async fn a_revoked_node_does_not_come_back_with_its_key() {
    let (_folder, store) = store().await;
    token(&store, "any", None).await;
    admit(&store, "a", "any", "ka", NOW).await.unwrap();
    store.revoke("admin", &format!("aka{NOW}")).await.unwrap();
    assert!(matches!(admit(&store, "a", "any", "ka", NOW + 1).await, Err(StoreError::Revoked(_))));
    store.delete_node("admin", "a", NOW).await.unwrap();
    admit(&store, "a", "any", "kb", NOW + 2).await.unwrap();
}

#[tokio::test]
async fn a_change_that_was_made_on_an_old_version_is_refused() {
    let (_folder, store) = store().await;
    let before = store.policy("default").await.unwrap();
    let version = store.version().await.unwrap();
    let put = |expect| store.put_policy("admin", &before.metadata, &before.spec, expect);
    assert!(matches!(put(Expect::Nothing).await, Err(StoreError::Exists(..))));
    assert_eq!(put(Expect::Version(before.version)).await.unwrap(), (2, true));
    assert!(matches!(put(Expect::Version(before.version)).await, Err(StoreError::Changed(..))));
    assert_eq!(store.version().await.unwrap().generation, version.generation + 1, "one change was made");
    store.delete_policy("admin", "default", Expect::Any).await.unwrap();
    assert!(matches!(store.delete_policy("admin", "default", Expect::Any).await, Err(StoreError::Missing(..))));
}

#[tokio::test]
async fn rotations_and_revocations_reach_the_world() {
    let (_folder, store) = store().await;
    token(&store, "any", None).await;
    admit(&store, "a", "any", "ka", NOW).await.unwrap();
    let serial = store.certificates().await.unwrap()[0].serial.clone();
    assert!(store.is_good(&serial, "a").await.unwrap());
    assert!(!store.is_good(&serial, "b").await.unwrap());
    store.revoke("admin", &serial).await.unwrap();
    assert!(!store.is_good(&serial, "a").await.unwrap());
    assert!(matches!(store.revoke("admin", "00").await, Err(StoreError::Missing(..))));
    let row = store.rotate("admin", &"one".parse().unwrap(), RotationScope::Keys, NOW).await.unwrap();
    assert_eq!(row.epoch, 1);
    assert!(store.rotate("admin", &row.name, RotationScope::Keys, NOW).await.is_err());
    store.rotate("admin", &"two".parse().unwrap(), RotationScope::Certificates, NOW).await.unwrap();
    let world = store.world().await.unwrap();
    assert_eq!((world.key_epoch, world.certificate_epoch), (1, 1), "a refused rotation raises nothing");
    assert_eq!((world.revoked, world.nodes.len(), world.policies.len()), (vec![serial], 1, 1));
    assert_eq!(store.rotations().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_was_written_is_there_after_the_next_start() {
    let (folder, store) = store().await;
    token(&store, "any", Some(1)).await;
    admit(&store, "a", "any", "ka", NOW).await.unwrap();
    store.close().await;
    let store = Store::open(&folder.path().join("espalier.db")).await.unwrap();
    assert_eq!(store.nodes("", 10).await.unwrap().len(), 1);
    assert!(store.is_admin(b"admin").await.unwrap() && !store.is_admin(b"other").await.unwrap());
    assert!(store.is_ready().await);
}
