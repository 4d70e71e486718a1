//! The gRPC contract between controller and agents, and its conversions to the model.
