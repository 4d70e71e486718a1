//! The controller: REST, gRPC, PKI, planner, store, reconcilers.
