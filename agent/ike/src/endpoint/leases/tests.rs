use proptest::prelude::*;

use super::*;

fn pool(prefixes: &[&str]) -> AddressPool {
    let prefixes = prefixes.iter().map(|p| p.parse().unwrap()).collect();
    AddressPool { prefixes, ..AddressPool::default() }
}

fn id(number: usize) -> Identity {
    format!("road-{number}.example").parse().unwrap()
}

fn take4(leases: &mut Leases, number: usize, pool: &AddressPool) -> Option<IpAddr> {
    leases.take(&id(number), pool, AddressFamily::Ipv4, None)
}

#[test]
fn every_address_is_given_once_and_then_none() {
    for (prefix, count) in [("10.3.0.0/28", 14), ("10.3.0.0/31", 2), ("10.3.0.7/32", 1)] {
        let (mut leases, pool) = (Leases::default(), pool(&[prefix]));
        let given: BTreeSet<_> = (0..count).map(|n| take4(&mut leases, n, &pool).unwrap()).collect();
        assert_eq!(given.len(), count, "{prefix}");
        assert_eq!(take4(&mut leases, count, &pool), None, "{prefix}");
        let kept: BTreeSet<_> = (0..count).map(|n| take4(&mut leases, n, &pool).unwrap()).collect();
        assert_eq!(kept, given, "who has one keeps it");
    }
}

#[test]
fn neither_ends_of_a_network_nor_what_is_left_out_are_given() {
    let mut leases = Leases::default();
    let except = vec!["10.3.0.1".parse().unwrap(), "10.3.0.2".parse().unwrap()];
    let pool = AddressPool { except, ..pool(&["10.3.0.0/29", "fd00:3::/126"]) };
    let given: BTreeSet<_> = (0..4).map(|n| take4(&mut leases, n, &pool).unwrap().to_string()).collect();
    assert_eq!(given, ["10.3.0.3", "10.3.0.4", "10.3.0.5", "10.3.0.6"].map(str::to_owned).into());
    let six: BTreeSet<_> = (0..4).filter_map(|n| leases.take(&id(n), &pool, AddressFamily::Ipv6, None)).collect();
    assert_eq!(six, ["fd00:3::1", "fd00:3::2", "fd00:3::3"].map(|a| a.parse().unwrap()).into());
    assert_eq!(leases.take(&id(0), &AddressPool::default(), AddressFamily::Ipv4, None), None);
}

#[test]
fn a_wish_is_heard_where_nobody_has_the_address() {
    let (mut leases, pool) = (Leases::default(), pool(&["10.3.0.0/24"]));
    let wish = |leases: &mut Leases, number, text: &str| {
        leases.take(&id(number), &pool, AddressFamily::Ipv4, Some(text.parse().unwrap())).unwrap().to_string()
    };
    assert_eq!(wish(&mut leases, 1, "10.3.0.77"), "10.3.0.77");
    assert_ne!(wish(&mut leases, 2, "10.3.0.77"), "10.3.0.77", "somebody else has it");
    assert!(wish(&mut leases, 3, "10.4.0.1").starts_with("10.3.0."), "not of the pool");
    assert!(wish(&mut leases, 4, "fd00::1").starts_with("10.3.0."), "of another family");
    assert_eq!(wish(&mut leases, 1, "10.3.0.78"), "10.3.0.77", "who has one keeps it");
}

#[test]
fn a_peer_that_comes_again_has_its_address_again_unless_another_needed_it() {
    let (mut leases, pool) = (Leases::default(), pool(&["10.3.0.0/30"]));
    let (first, second) = (take4(&mut leases, 1, &pool).unwrap(), take4(&mut leases, 2, &pool).unwrap());
    assert_eq!(take4(&mut leases, 3, &pool), None);
    leases.ended(&id(2));
    leases.ended(&id(1));
    assert_eq!(take4(&mut leases, 1, &pool), Some(first));
    assert_eq!(take4(&mut leases, 3, &pool), Some(second), "the one that is not in use");
    assert_eq!(take4(&mut leases, 2, &pool), None);
    leases.forget(&id(1));
    assert_eq!(take4(&mut leases, 2, &pool), Some(first));
}

#[test]
fn a_restart_gives_the_same_addresses_where_nobody_is_in_the_way() {
    let pool = pool(&["10.3.0.0/16", "fd00:3::/64"]);
    let all = |order: [usize; 3]| {
        let mut leases = Leases::default();
        let mut one = |n| (n, take4(&mut leases, n, &pool), leases.take(&id(n), &pool, AddressFamily::Ipv6, None));
        order.map(&mut one).into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(all([1, 2, 3]), all([3, 1, 2]));
}

#[test]
fn another_pool_takes_the_address_of_the_old_one_back() {
    let mut leases = Leases::default();
    let before = take4(&mut leases, 1, &pool(&["10.3.0.0/32"])).unwrap();
    let after = take4(&mut leases, 1, &pool(&["10.4.0.0/32"])).unwrap();
    assert_ne!(before, after);
    assert_eq!(take4(&mut leases, 2, &pool(&["10.3.0.0/32"])), Some(before));
}

proptest! {
    /// Whatever comes and goes, no two peers have the same address, and what is given lies in the pool.
    #[test]
    fn no_address_is_given_twice(steps in proptest::collection::vec((0..12_usize, 0..4_u8, any::<u8>()), 1..200)) {
        let pool = pool(&["10.3.0.0/29", "fd00:3::/125"]);
        let mut leases = Leases::default();
        for (number, what, wish) in steps {
            let wish = Some(IpAddr::from([10, 3, 0, wish % 16]));
            match what {
                0 => _ = leases.take(&id(number), &pool, AddressFamily::Ipv4, wish),
                1 => _ = leases.take(&id(number), &pool, AddressFamily::Ipv6, None),
                2 => leases.ended(&id(number)),
                _ => leases.forget(&id(number)),
            }
            let held: Vec<_> = leases.addresses.values().flatten().copied().collect();
            let distinct: BTreeSet<_> = held.iter().copied().collect();
            prop_assert_eq!(held.len(), distinct.len());
            prop_assert!(held.iter().all(|a| usable(&pool, *a)));
            prop_assert_eq!(distinct, leases.holders.keys().copied().collect());
        }
    }
}
