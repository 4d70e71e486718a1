use super::*;

fn parsed(fields: &str) -> Profile {
    serde_saphyr::from_str(&format!("{{ name: form, {fields} }}")).unwrap()
}

fn refusal(fields: &str) -> String {
    parsed(fields).check().expect_err(fields).to_string()
}

#[test]
fn what_is_not_written_is_the_default() {
    let profile = parsed("ike-rekey-seconds: 14400");
    assert_eq!(profile, Profile::standard("form".parse().unwrap()));
    assert_eq!((profile.mode, profile.protection, profile.esn), (Mode::Tunnel, Protection::Esp, Esn::Preferred));
    assert_eq!((profile.encap, profile.confidentiality), (Encap::Always, Confidentiality::Required));
    assert_eq!(profile.activation, Activation::Eager);
    assert!(!serde_json::to_string(&profile).unwrap().contains("activation"), "digests of plans stay what they were");
}

#[test]
fn every_form_is_written_and_read_by_its_name() {
    let profile = parsed(
        "mode: transport, protection: ah+esp, ah: [sha512], esn: required, encap: never, child-rekey-packets: 1000, \
         child-rekey-bytes: 100000",
    );
    profile.check().unwrap();
    assert_eq!((profile.mode, profile.protection), (Mode::Transport, Protection::AhEsp));
    assert_eq!(
        (profile.ah.as_slice(), profile.esn, profile.encap),
        ([AhSuite::Sha512].as_slice(), Esn::Required, Encap::Never)
    );
    assert_eq!((profile.child_rekey_packets, profile.child_rekey_bytes), (Some(1_000), Some(100_000)));
    let json = serde_json::to_string(&profile).unwrap();
    assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
}

#[test]
fn a_rule_is_made_on_demand_where_its_profile_says_so() {
    let profile = parsed("activation: on-demand");
    profile.check().unwrap();
    assert_eq!(profile.activation, Activation::OnDemand);
    let json = serde_json::to_string(&profile).unwrap();
    assert!(json.contains(r#""activation":"on-demand""#), "{json}");
    assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
    assert!(serde_saphyr::from_str::<Profile>("{ name: form, activation: lazy }").is_err());
}

#[test]
fn secrecy_is_not_given_up_by_the_list_of_suites_alone() {
    assert_eq!(
        refusal("esp: [aes256gcm16, aes256gmac]"),
        "profile form: esp: aes256gmac does not encrypt; leave it out, or write \"confidentiality: none\""
    );
    assert!(refusal("esp: [null-sha256]").contains("null-sha256 does not encrypt"));
    assert!(refusal("confidentiality: none").contains("esp: aes256gcm16 encrypts"));
    assert!(refusal("protection: ah").contains("protection ah encrypts nothing"));
    parsed("confidentiality: none, esp: [aes256gmac, null-sha256]").check().unwrap();
    parsed("confidentiality: none, protection: ah").check().unwrap();
}

#[test]
fn limits_leave_time_to_rekey() {
    assert_eq!(refusal("child-rekey-packets: 999"), "profile form: child-rekey-packets must be at least 1000");
    assert_eq!(refusal("child-rekey-bytes: 99999"), "profile form: child-rekey-bytes must be at least 100000");
    assert!(refusal("ah: []").contains("ah is empty"));
}

#[test]
fn what_the_outside_shows_is_chosen_where_there_is_an_outside() {
    let profile = parsed("padding: 256, dscp: 10");
    profile.check().unwrap();
    assert_eq!((profile.padding, profile.dscp), (Padding::Multiple(256.try_into().unwrap()), Dscp::Fixed(10)));
    let json = serde_json::to_string(&profile).unwrap();
    assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
    let usual = serde_json::to_string(&parsed("padding: none, dscp: copy")).unwrap();
    assert!(!usual.contains("padding") && !usual.contains("dscp"), "{usual}");
    assert!(refusal("padding: mtu, mode: transport").contains("padding hides lengths only"));
    assert!(refusal("padding: 64, protection: ah, confidentiality: none").contains("padding hides lengths only"));
    assert!(refusal("dscp: 0, mode: transport").contains("write \"dscp: copy\""));
    parsed("padding: mtu, protection: ah+esp").check().unwrap();
}

#[test]
fn the_built_in_profiles_hold_what_they_say() {
    for name in BUILT_IN {
        let profile = Profile::built_in(&name.parse().unwrap()).unwrap();
        profile.check().unwrap();
        assert_eq!(profile.name.as_str(), name);
    }
    assert_eq!(Profile::built_in(&"other".parse().unwrap()), None);
}
