//! The expected values are computed apart from this code, with Python's `hmac` and `hashlib`, straight from the formulas.

use espalier_model::suite::EspSuite;

use super::*;

struct Vector {
    function: Prf,
    encryption: IkeEncryption,
    sk_ei: &'static str,
    sk_er: &'static str,
    sk_pi_end: &'static str,
    sk_pr_end: &'static str,
    child: [&'static str; 2],
    secret_child: [&'static str; 2],
    rekeyed: [&'static str; 2],
    rekeyed_child: [&'static str; 2],
}

fn bytes(first: u8, len: u8) -> Vec<u8> {
    (first..first + len).collect()
}

fn nonces(initiator: u8, responder: u8) -> Nonces {
    let nonce = |first| Nonce::new(bytes(first, 32)).unwrap();
    Nonces { initiator: nonce(initiator), responder: nonce(responder) }
}

fn hex(secret: &Secret) -> String {
    secret.expose().iter().map(|b| format!("{b:02x}")).collect()
}

const SPIS: IkeSpis = IkeSpis { initiator: IkeSpi(0x0102_0304_0506_0708), responder: IkeSpi(0x1112_1314_1516_1718) };

#[test]
fn keys_are_those_of_an_independent_computation() {
    for v in VECTORS {
        let (keys, auth) =
            initial(v.function, v.encryption, &Secret::new(bytes(128, 32)), &nonces(0, 64), SPIS).unwrap();
        assert_eq!((hex(&keys.sk_ei), hex(&keys.sk_er)), (v.sk_ei.to_owned(), v.sk_er.to_owned()));
        assert!(hex(&auth.sk_pi).ends_with(v.sk_pi_end));
        assert!(hex(&auth.sk_pr).ends_with(v.sk_pr_end));
        assert_eq!(auth.sk_pi.expose().len(), v.function.output_len());
        assert_eq!(auth.sk_pr.expose().len(), v.function.output_len());

        let child = keys.sk_d.child(EspSuite::Aes256Gcm16.keymat_len(), Shared::NONE, &nonces(0, 64)).unwrap();
        assert_eq!([hex(&child.initiator), hex(&child.responder)], v.child);
        let shared = Secret::new(bytes(200, 32));
        let child =
            keys.sk_d.child(EspSuite::Aes128Gcm16.keymat_len(), Shared::alone(&shared), &nonces(0, 64)).unwrap();
        assert_eq!([hex(&child.initiator), hex(&child.responder)], v.secret_child);

        let swapped = IkeSpis { initiator: SPIS.responder, responder: SPIS.initiator };
        let encryption = IkeEncryption::Aes256Gcm16;
        let next =
            keys.sk_d.rekeyed(Prf::HmacSha256, encryption, Shared::alone(&shared), &nonces(10, 50), swapped).unwrap();
        assert_eq!([hex(&next.sk_ei), hex(&next.sk_er)], v.rekeyed);
        let child = next.sk_d.child(EspSuite::Aes256Gcm16.keymat_len(), Shared::NONE, &nonces(0, 64)).unwrap();
        assert_eq!([hex(&child.initiator), hex(&child.responder)], v.rekeyed_child);
    }
}

#[test]
fn integrity_keys_stand_before_encryption_keys() {
    // The stream is the same for every algorithm: only where it is cut differs.
    let make =
        |encryption| initial(Prf::HmacSha256, encryption, &Secret::new(bytes(128, 32)), &nonces(0, 64), SPIS).unwrap();
    let (aead, _) = make(IkeEncryption::Aes256Gcm16);
    assert!(aead.sk_ai.expose().is_empty() && aead.sk_ar.expose().is_empty());
    let (keys, auth) = make(IkeEncryption::Aes128CtrSha256);
    assert_eq!(keys.sk_ai.expose(), &aead.sk_ei.expose()[..32]);
    let stream = [aead.sk_ei.expose(), aead.sk_er.expose()].concat();
    assert_eq!(keys.sk_ar.expose(), &stream[32..64]);
    assert_eq!(keys.sk_ei.expose()[..8], stream[64..]);
    assert_eq!((keys.sk_ei.expose().len(), keys.sk_er.expose().len()), (20, 20), "with the salt of CTR");
    assert_eq!(auth.sk_pi.expose().len(), 32);

    let child = keys.sk_d.child(EspSuite::Aes256CbcSha512.keymat_len(), Shared::NONE, &nonces(0, 64)).unwrap();
    let aead = keys.sk_d.child(EspSuite::Aes256Gcm16.keymat_len(), Shared::NONE, &nonces(0, 64)).unwrap();
    assert_eq!((child.initiator.expose().len(), child.responder.expose().len()), (96, 96));
    assert_eq!(child.initiator.expose()[..36], *aead.initiator.expose());
    assert_eq!(child.initiator.expose()[36..72], *aead.responder.expose());
}

/// After one additional key exchange and after two: the ends of `SK_ei`, `SK_er`, `SK_pi` and `SK_pr`. Then the keys of a child SA
/// and of a successor after two.
struct Additional {
    function: Prf,
    rounds: [[&'static str; 4]; 2],
    child: [&'static str; 2],
    rekeyed: [&'static str; 2],
}

#[test]
fn additional_key_exchanges_change_keys_as_an_independent_computation_does() {
    let encryption = IkeEncryption::Aes256Gcm16;
    for v in ADDITIONAL {
        let first = Secret::new(bytes(128, 32));
        let (mut keys, _) = initial(v.function, encryption, &first, &nonces(0, 64), SPIS).unwrap();
        let (own, more) = (Secret::new(bytes(200, 32)), [10, 20].map(|from| Secret::new(bytes(from, 32))));
        let shared = Shared { first: Some(&own), additional: &more };
        let child = keys.sk_d.child(EspSuite::Aes256Gcm16.keymat_len(), shared, &nonces(0, 64)).unwrap();
        assert_eq!([hex(&child.initiator), hex(&child.responder)], v.child);
        let next = keys.sk_d.rekeyed(v.function, encryption, shared, &nonces(0, 64), SPIS).unwrap();
        assert_eq!([hex(&next.sk_ei), hex(&next.sk_er)], v.rekeyed);
        for (secret, expected) in more.iter().zip(v.rounds) {
            let auth;
            (keys, auth) = keys.sk_d.intermediate(encryption, secret, &nonces(0, 64), SPIS).unwrap();
            for (key, end) in [&keys.sk_ei, &keys.sk_er, &auth.sk_pi, &auth.sk_pr].into_iter().zip(expected) {
                assert!(hex(key).ends_with(end), "{end}");
            }
        }
    }
}

const ADDITIONAL: [Additional; 3] = [
    Additional {
        function: Prf::HmacSha256,
        rounds: [
            [
                "8f1514c7822a9723dec79e7f48080bd577c14d17e7ef51d92c62a24e7cb05b27b29a64d2",
                "8f334708582eb714efae999cb4a51aeb24aa4766a2853b146766adb39264b5168f107f12",
                "5c3e648e36e0d37a",
                "67ec48d9108c0bce",
            ],
            [
                "894d142e49ded862ded355b01432e3d5167b5f3b8cf5c2422fe91815b9485402b2149b3f",
                "a17bc58014f969d8ad65c37996a31c82ce3eaa2836b4305328fc7efe20be85cd1ae03263",
                "8c47674c9f88ed85",
                "b1939311fa964d19",
            ],
        ],
        child: [
            "2cc18b3153b1db2c683e6d8083f1839dd373eaedbc49bcafe68e6d6b7769cf609270f393",
            "ed4562429afc7ba17a2db4670bf8952c18c4522d83e5fd7815d99d5635a24072ba30b8aa",
        ],
        rekeyed: [
            "c635179aa09cb2aba6b7077e062025ba0746954c4e68aacc908e5dfe8d0f8abdd3364b09",
            "d626ff67b2a10a3af9aac91bab7daa1c4293dce61191ecbc3b8d51e140238343937f0c77",
        ],
    },
    Additional {
        function: Prf::HmacSha384,
        rounds: [
            [
                "8b4f5217e5f89ca1265f45c7bdd36518ed681970c9b7611ce41f02a8a82bab8066e76674",
                "01e8f4c6e77b35d68d99d719c3f493911e8fd1e4314f33c1eb1c39bb4efcf7864174d2d5",
                "ac223682f5f7923c",
                "77c463860fca99e0",
            ],
            [
                "4b24bdb778263810c96f3fb66571297727f645f104a8670ab62878cf94ae38cb6a762f9a",
                "414f5a51f15dbf1593e83af60a919007143fe594a831824d076b4acc956c03afdac3e08a",
                "308e473290bccee6",
                "84b9aa978b62c722",
            ],
        ],
        child: [
            "cd58d8689fdea5b87949dcf17a9ac61590182b32188b6533b838c50bcf06535e12e5536a",
            "82eab3d6980434ea6812ee1cbc05df780ae76875209655335017a78f6a91e4479f57015b",
        ],
        rekeyed: [
            "731d3081d3f57a0a32fb87fe6061d15341e97f746312b9f1397eb53cdd88d3bcc07f95a8",
            "0aabd6fd46b45a36a1a674cdbb00a2bcbd6e2df16e02cf009201f45314a530c37c4a462f",
        ],
    },
    Additional {
        function: Prf::HmacSha512,
        rounds: [
            [
                "0d018f5967accd2c4936f6c2e1f80db873b5b94a657d752016e3e5e838aab358fd26d39b",
                "8a5c1c210d0594edbd22c086e1c92a585e6c910686686afd0954503f76722b40fc08f75b",
                "317a16ee1419fe17",
                "7e67d2e76af1fb3b",
            ],
            [
                "9d9ce5a6573d6fb1d7dcae89704d61621baf6b3608fa530ebc7bdaa49bab2ba2a908a959",
                "8df207d2ea7b125f6831826707e273742190443aa4e854d124aaf0793af6ce43d69f0a55",
                "42503d40b5cb2d07",
                "f8694bfc79b0f6b4",
            ],
        ],
        child: [
            "3e70147e9bbedeb5440db8f011dd4a2888f7f6556a249637aa53ee935849bc99802af268",
            "f4abc3cf581f65ce80f54b9d93df42261560cfeeb175a4d2ed3b38e271485eb4eaaaa00e",
        ],
        rekeyed: [
            "df6b8428693f102199c7311b43aa0d9f2fabda26345ffc093b9e86c7a1c42b5992c9ee35",
            "8fc3f28a4a6c3921ba8532c69b531c591cbd6dcef4d5381d01086871bf00cdd3dd5c30fc",
        ],
    },
];

const VECTORS: [Vector; 3] = [
    Vector {
        function: Prf::HmacSha256,
        encryption: IkeEncryption::Aes128Gcm16,
        sk_ei: "bb1c5593342163857d7c04f1335ce9ed98a80d7e",
        sk_er: "94a2eeec55fc97f67d926673e9e7ecf147851d38",
        sk_pi_end: "69add0dbcb0f",
        sk_pr_end: "545728929d7688",
        child: [
            "c7d6a7d0ef768f6bd00f95c7f57ff80887acdfd68ddf9ad3ee58eab05866ff54b9424ae4",
            "82934d3a348248481b17033aee43c1b411741795122f2580c9d93c4420911a95e1a67976",
        ],
        secret_child: ["fff035224c5618e72d684d5de4eec3e0dbafb939", "a3e3b34424d57b6d1b9eaef0a39451168333167f"],
        rekeyed: [
            "b6b9f54209d37c53c740b4192af339dfcd468206ec462d59e7b8296e4a1f17cb2e7c3ddd",
            "ea4afe91fcba0d5a18ec0444003e77571dc141a9df0de84ebe20cc6b616ac19400c66207",
        ],
        rekeyed_child: [
            "67acf7fba3189fe2ec2b4550e1d3c6c53e83560335231d279cd776b61851fb1827709b4d",
            "1f53b6aa048ce03e2261924f8d97c74a90cd23fa941fa23cd2a8917f397a3569bd736373",
        ],
    },
    Vector {
        function: Prf::HmacSha384,
        encryption: IkeEncryption::Aes256Gcm16,
        sk_ei: "a4382d3797327793ae23fc0984a74fbccff41f86f3834d89bfe8e1df96cb6075aaa38d2a",
        sk_er: "8860fb4fa6a17a365e7bd5dd87cfbc8eca297192cac3bd5d82e2e49481dcf1d0ba200d53",
        sk_pi_end: "39e4b75e560542d3ae1",
        sk_pr_end: "d2d73244855c5fd24",
        child: [
            "125071e3fd8d2766a6942411c2bf573432c04d3a68875484410753392a053f26d55c29b8",
            "ebf396ebff3671edd3d5cdb3a683dc8707bc3eddad9a44e3f040a42bf9c7ed201c680002",
        ],
        secret_child: ["2b9658aa486297c0c196a81a2a1fbbb183402560", "6b94eaed78cc52c0e5463a0dca2b466d16328d30"],
        rekeyed: [
            "04c22962436d19befe5c072423b9c5a5264490e9599dcc59fabfea527d212f3f5678cc88",
            "caca70a30f36518f7de39720d17bf7310ddb224638a8c8140ac9e6f3e4373c23853a68eb",
        ],
        rekeyed_child: [
            "a0ad4b1ff3ccdba7baca45401870bbfb03698eda34e847e23a7028e82fbb6c7cf6eff3fd",
            "8b4b20725387796d80d81dbb358ed80f1666cbf87fa683d767b6b0359db82a543c07ca9f",
        ],
    },
    Vector {
        function: Prf::HmacSha512,
        encryption: IkeEncryption::Aes256Gcm16,
        sk_ei: "057b3231fff6319cada89c9d0e4585b4d526265155888e3bdae28a0635ec28b190adcf39",
        sk_er: "fc664afccebc63aeba6efb67c15ace7cd928fe6faedbaaeac8055badf483c006aeb0e7de",
        sk_pi_end: "27629743c2238f48e",
        sk_pr_end: "1b69e2e6b68f246172c1",
        child: [
            "4ba96ac85389f0938644bdcb111bb33c5306176f959dcf70de694c1a980bec09445408e6",
            "8ef0577cebbad1809e89806d88437f1fff16fcecce811347fb7660548f7850c927f17a0a",
        ],
        secret_child: ["d4018250c005bd2150d213271e8e4ac0322a92d0", "51803781fa43a90730881cfb9bd4ca0ecb64394f"],
        rekeyed: [
            "8656e16b391842c2dbd56b3c7531379e9adb59ccb69f685dec51c29f269f398872c99d42",
            "3a6a33dc3131c85160117860a160d34a21a24711f8082887a4caae42cd9eb1fa3685f600",
        ],
        rekeyed_child: [
            "373ee4caef5e4a71655b97ba972c5daac41795956e27b4c01b296bd1029c348681a898dc",
            "44944a3dd80aa21b5cf29bc126fdebbbb19ad100bdc0180a010c575b6130179bb833ad1e",
        ],
    },
];
