//! Both ends do something at once: every case of RFC 7296 §2.8 and §2.25.
//!
//! A row says what each end does at the same moment, before either hears of the other. Each row runs with either end in either
//! part, with either end as the initiator of the IKE SA, with either end's message first, with and without packets; and each of
//! these with no fault, with each message lost once, with each message late, so that all others overtake it, and with each
//! message twice. After every step whatever one end sends with is installed at the other, unless the row breaks the tunnel; and
//! when all is quiet both ends hold one IKE SA and one pair for each rule, the same ones, new where they were replaced, and
//! nothing else.

mod scene;

use scene::Act::{CreateChild, DeleteChild, DeleteIke, LoseChild, Nothing, Reauthenticate, RekeyChild, RekeyIke};
use scene::Tunnel::{Breaks, Stays};

macro_rules! rows {
    ($($section:literal $name:ident: $left:expr, $right:expr => $tunnel:expr;)*) => {
        $(
            #[doc = concat!("RFC 7296 §", $section)]
            #[test]
            fn $name() {
                scene::try_all(concat!("§", $section, " ", stringify!($name)), [$left, $right], $tunnel);
            }
        )*
    };
}

rows! {
    "1.3.3"  one_end_replaces_a_pair:                            RekeyChild("net"),  Nothing           => Stays;
    "1.3.2"  one_end_replaces_the_ike_sa:                        RekeyIke,           Nothing           => Stays;
    "1.3.1"  one_end_makes_a_pair:                               CreateChild,        Nothing           => Stays;
    "1.4.1"  one_end_deletes_a_pair:                             DeleteChild("net"), Nothing           => Breaks;
    "1.4.1"  one_end_deletes_the_ike_sa:                         DeleteIke,          Nothing           => Breaks;
    "2.8.3"  one_end_reauthenticates:                            Reauthenticate,     Nothing           => Stays;

    "2.8.1"  both_replace_the_same_pair:                         RekeyChild("net"),  RekeyChild("net") => Stays;
    "2.8.1"  each_replaces_a_pair_of_its_own:                    RekeyChild("net"),  RekeyChild("dmz") => Stays;
    "2.8.1"  both_make_the_same_pair:                            CreateChild,        CreateChild       => Stays;
    "2.8.2"  both_replace_the_ike_sa:                            RekeyIke,           RekeyIke          => Stays;
    "2.8.3"  both_reauthenticate:                                Reauthenticate,     Reauthenticate    => Stays;
    "2.8.3"  one_reauthenticates_and_one_replaces_the_ike_sa:    Reauthenticate,     RekeyIke          => Stays;
    "2.8.3"  one_reauthenticates_and_one_replaces_a_pair:        Reauthenticate,     RekeyChild("net") => Stays;
    "2.8.3"  one_reauthenticates_and_one_makes_a_pair:           Reauthenticate,     CreateChild       => Stays;
    "2.8.3"  one_reauthenticates_and_one_deletes_a_pair:         Reauthenticate,     DeleteChild("net") => Breaks;
    "2.8.3"  one_reauthenticates_and_one_deletes_the_ike_sa:     Reauthenticate,     DeleteIke         => Breaks;

    "2.25.1" one_replaces_the_pair_that_the_other_deletes:       RekeyChild("net"),  DeleteChild("net") => Breaks;
    "2.25.1" one_replaces_a_pair_and_one_deletes_another:        RekeyChild("net"),  DeleteChild("dmz") => Breaks;
    "2.25.1" both_delete_the_same_pair:                          DeleteChild("net"), DeleteChild("net") => Breaks;
    "2.25.1" each_deletes_a_pair_of_its_own:                     DeleteChild("net"), DeleteChild("dmz") => Breaks;
    "2.25.1" one_makes_a_pair_and_one_replaces_another:          CreateChild,        RekeyChild("net") => Stays;
    "2.25.1" one_makes_a_pair_and_one_deletes_another:           CreateChild,        DeleteChild("net") => Breaks;
    "2.25.1" one_replaces_a_pair_that_the_other_does_not_have:   RekeyChild("net"),  LoseChild("net")  => Breaks;
    "2.25.1" one_deletes_a_pair_that_the_other_does_not_have:    DeleteChild("net"), LoseChild("net")  => Breaks;

    "2.25.2" one_replaces_the_ike_sa_and_one_replaces_a_pair:    RekeyIke,           RekeyChild("net") => Stays;
    "2.25.2" one_replaces_the_ike_sa_and_one_makes_a_pair:       RekeyIke,           CreateChild       => Stays;
    "2.25.2" one_replaces_the_ike_sa_and_one_deletes_a_pair:     RekeyIke,           DeleteChild("net") => Breaks;
    "2.25.2" one_replaces_the_ike_sa_that_the_other_deletes:     RekeyIke,           DeleteIke         => Breaks;
    "2.25.2" both_delete_the_ike_sa:                             DeleteIke,          DeleteIke         => Breaks;
    "2.25.2" one_deletes_the_ike_sa_and_one_replaces_a_pair:     DeleteIke,          RekeyChild("net") => Breaks;
    "2.25.2" one_deletes_the_ike_sa_and_one_makes_a_pair:        DeleteIke,          CreateChild       => Breaks;
    "2.25.2" one_deletes_the_ike_sa_and_one_deletes_a_pair:      DeleteIke,          DeleteChild("net") => Breaks;
}

#[test]
fn both_ends_start_at_once() {
    scene::start_at_once();
}
