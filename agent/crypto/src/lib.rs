//! One table of AEAD, PRF, key exchange and signature functions over ring, aws-lc-rs and aes-gcm.
