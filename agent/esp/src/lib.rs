//! ESP packet transforms, SAD, SPD and replay protection. Sans-IO.
