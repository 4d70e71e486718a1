//! The gRPC contract between controller and agents, and its conversions to the model.
//!
//! [`v1`] is what travels; [`espalier_model`] is what both ends work with. `TryFrom` leads from one to the other and
//! takes a message whole or refuses it. Servers and clients must set [`MAX_MESSAGE_BYTES`] as the limit of what they
//! encode and decode.

mod convert;

pub use convert::WireError;

/// The most bytes that one message may have. A plan of 100,000 entries of 160 bytes fits.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// What travels: messages, clients and servers, generated from `proto/espalier.proto`.
// Generated code: its shape is its generator's, its contract is documented in the .proto file.
#[allow(missing_docs, clippy::too_many_lines)]
pub mod v1 {
    tonic::include_proto!("espalier.v1");
}
