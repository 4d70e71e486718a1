//! Plan documents, as a person or a controller writes them.

use espalier_model::plan::NodePlan;

/// Takes the text of a plan.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match NodePlan::parse(text) {
        Ok(plan) => {
            let json = serde_json::to_string(&plan).expect("a plan can be written");
            assert_eq!(NodePlan::parse(&json), Ok(plan));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Plans to start from.
pub(crate) const SEEDS: [&str; 5] = [
    "{node: {id: left.node.example, endpoints: [10.9.0.1]}}",
    "node: {id: 10.9.0.1, endpoints: [10.9.0.1, '2001:db8::1']}\nrules: [{name: a, action: drop, local: [0.0.0.0/0], \
     remote: ['::/0']}]\n",
    "node:
  id: left.node.example
  endpoints: [10.9.0.1]
  addresses: [10.10.1.1/32]
  certificate: left.pem
  key: left.key
  certificate-epoch: 2
strict: [10.10.0.0/16]
trust: [root.pem]
revoked: [0abc]
profiles:
  - name: fast
    ike-encryption: [aes256gcm16, aes128cbc-sha256]
    prf: [hmacsha384]
    key-exchange: [x25519, p256, modp2048]
    esp: [chacha20poly1305, aes256gmac]
    ike-rekey-seconds: 600
    child-rekey-seconds: 300
    liveness-seconds: 5
    replay-window: 128
peers:
  - id: right.node.example
    endpoints: [10.9.0.2]
    initiate: true
    auth: {psk-file: /etc/espalier/right.psk}
    profile: fast
    key-epoch: 3
  - id: user@example
    endpoints: ['2001:db8::2']
    initiate: false
rules:
  - name: net
    action: protect
    peer: right.node.example
    local: [10.10.1.1/32]
    remote: [10.10.2.1/32]
    protocol: tcp
    remote-ports: 443
    local-ports: 1024-65535
    profile: fast
  - name: rest
    action: bypass
    priority: -5
    local: ['fd00::/8']
    remote: ['fd00::/8']
    protocol: 89
",
    "a: &x [*x, *x]\nb: !!binary aGVsbG8=\n? [1, 2]\n: {<<: *x}\n",
    "{\"node\": {\"id\": \"left.node.example\", \"endpoints\": [\"10.9.0.1\"]}, \"peers\": [], \"rules\": []}",
];
