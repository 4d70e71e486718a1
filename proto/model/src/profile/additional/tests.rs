use super::*;

fn read(json: &str) -> Result<AdditionalKeyExchanges, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn what_is_written_is_read_back() {
    for (json, rounds, optional) in [
        (r#"["none"]"#, 0, true),
        (r#"["mlkem768"]"#, 1, false),
        (r#"["mlkem1024","mlkem768","none"]"#, 1, true),
        (r#"[["mlkem768"],["p384","none"]]"#, 2, false),
        (r#"[["mlkem768","none"],["p384","none"]]"#, 2, true),
    ] {
        let value = read(json).unwrap();
        assert_eq!((value.rounds().len(), value.is_optional()), (rounds, optional), "{json}");
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
    }
    assert_eq!(read(r#"[["mlkem768"],["none"]]"#), read(r#"["mlkem768"]"#), "a round of none alone is no round");
    assert_eq!(read(r#"[["mlkem768"],["p384","none"]]"#).unwrap().to_string(), "mlkem768, then p384 or none");
}

#[test]
fn what_says_nothing_sensible_is_refused() {
    for json in ["[]", "[[]]", r#"["none","mlkem768"]"#, r#"["mlkem512"]"#, r#""mlkem768""#, r#"["mlkem768",["p384"]]"#]
    {
        assert!(read(json).is_err(), "{json}");
    }
    let eight = serde_json::to_string(&vec![["mlkem768"]; 8]).unwrap();
    assert!(read(&eight).is_err(), "eight rounds");
}

#[test]
fn a_method_stands_once() {
    let twice = |json: &str| read(json).unwrap().check(&[KeyExchange::X25519, KeyExchange::P384]);
    assert_eq!(twice(r#"["mlkem768","mlkem1024"]"#), Ok(()));
    assert_eq!(twice(r#"["mlkem768","mlkem768"]"#), Err(AdditionalError::Twice(Kem::MlKem768.into())));
    assert_eq!(twice(r#"[["mlkem768"],["mlkem1024","mlkem768"]]"#), Err(AdditionalError::Twice(Kem::MlKem768.into())));
    assert_eq!(twice(r#"["p384"]"#), Err(AdditionalError::Twice(KeyExchange::P384.into())));
    AdditionalKeyExchanges::standard().check(&[KeyExchange::X25519, KeyExchange::P256]).unwrap();
}
