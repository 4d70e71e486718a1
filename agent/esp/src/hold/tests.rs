use super::*;

const FLOW: Flow = Flow {
    source: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
    destination: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, 1)),
    protocol: 1,
    ports: None,
};

fn rule(number: usize) -> Name {
    format!("r{number}").parse().unwrap()
}

/// Gives out what waits of the first rules.
fn released(hold: &mut Hold, rules: usize) -> Vec<Vec<u8>> {
    let names: Vec<_> = (0..rules).map(rule).collect();
    let mut frames = Vec::new();
    hold.release(|name| names.contains(name), |frame, _| frames.push(frame.to_vec()));
    frames
}

#[test]
fn frames_come_out_once_and_in_order_when_their_rule_has_an_sa() {
    let (now, mut hold) = (Instant::now(), Hold::default());
    for n in 0..6_u8 {
        hold.keep(now, &rule(usize::from(n % 2)), &FLOW, &[n; 50], 1).unwrap();
    }
    assert_eq!(hold.packets(), 6);
    assert_eq!(released(&mut hold, 1), [[0; 50], [2; 50], [4; 50]]);
    assert_eq!(released(&mut hold, 1), [[0; 50]; 0]);
    hold.keep(now, &rule(0), &FLOW, &[9; 50], 3).unwrap();
    assert_eq!(hold.packets(), 6);
    assert_eq!(released(&mut hold, 2), [[9; 50], [1; 50], [3; 50], [5; 50]]);
    assert_eq!(hold.packets(), 0);
}

#[test]
fn a_rule_holds_so_many_frames_and_bytes_and_the_first_stay() {
    let (now, mut hold) = (Instant::now(), Hold::default());
    let kept: Vec<_> = (0..40_u8).map(|n| hold.keep(now, &rule(0), &FLOW, &[n; 50], 1)).collect();
    assert_eq!(kept.iter().filter(|kept| kept.is_ok()).count(), MOST_FRAMES);
    assert_eq!(kept[39], Err(DropReason::HoldFull));
    assert_eq!(released(&mut hold, 1)[0], [0; 50]);
    hold.keep(now, &rule(0), &FLOW, &vec![1; MOST_BYTES], 45).unwrap();
    assert_eq!(hold.keep(now, &rule(0), &FLOW, &[2], 1), Err(DropReason::HoldFull));
    assert_eq!(hold.packets(), 45);
}

#[test]
fn all_rules_together_hold_no_more_than_the_buffer_has_and_no_more_than_so_many_are_known() {
    let (now, mut hold) = (Instant::now(), Hold::default());
    let mut long = (0..40).map(|n| hold.keep(now, &rule(n), &FLOW, &[1; 60_000], 1));
    assert_eq!(long.by_ref().filter(Result::is_ok).count(), (1 << 20) / 60_000);
    for n in 40..2_000 {
        let kept = hold.keep(now, &rule(n), &FLOW, &[1; 60_000], 1);
        assert_eq!(kept, Err(DropReason::HoldFull));
        assert_eq!(
            hold.question(now, &rule(n)).is_some(),
            n < MOST_RULES,
            "what finds no room is asked for all the same"
        );
    }
}

#[test]
fn room_comes_back_however_frames_leave() {
    let (now, mut hold) = (Instant::now(), Hold::default());
    for turn in 0..2_000_usize {
        let length = 1 + turn * 7_919 % 60_000;
        hold.keep(now, &rule(turn % 9), &FLOW, &vec![u8::try_from(turn % 251).unwrap(); length], 1).unwrap();
        if turn >= 8 {
            let name = rule((turn + 1) % 9);
            let expected = u8::try_from((turn - 8) % 251).unwrap();
            let mut came = 0;
            hold.release(
                |rule| *rule == name,
                |frame, _| {
                    came += 1;
                    assert!(
                        frame.len() == 1 + (turn - 8) * 7_919 % 60_000 && frame.iter().all(|byte| *byte == expected)
                    );
                },
            );
            assert_eq!(came, 1, "turn {turn}");
        }
    }
    assert_eq!(hold.packets(), 8);
}

#[test]
fn a_question_is_asked_once_and_again_after_a_while() {
    let (now, mut hold) = (Instant::now(), Hold::default());
    let at = |millis| now + Duration::from_millis(millis);
    hold.keep(now, &rule(0), &FLOW, &[0; 50], 1).unwrap();
    let question = SaEvent::Acquire { rule: rule(0), flow: FLOW };
    assert_eq!(hold.question(now, &rule(0)), Some(question.clone()));
    assert_eq!(hold.question(at(999), &rule(0)), None);
    let mut asked = Vec::new();
    for tenth in 0..40 {
        hold.look(at(tenth * 100), |question| {
            asked.push((tenth, question));
            true
        });
    }
    assert_eq!(asked, [(10, question.clone()), (20, question.clone()), (30, question.clone())]);
    hold.not_asked(&rule(0));
    assert_eq!(
        hold.question(at(4_000), &rule(0)),
        Some(question),
        "a full channel is tried again with the next packet"
    );
}

#[test]
fn what_nobody_comes_for_is_given_up_and_counted_and_forgotten() {
    let (now, mut hold) = (Instant::now(), Hold::default());
    let mut asked = 0;
    hold.keep(now, &rule(0), &FLOW, &[0; 50], 2).unwrap();
    hold.keep(now + Duration::from_secs(2), &rule(1), &FLOW, &[0; 50], 3).unwrap();
    let mut late = |seconds| {
        hold.look(now + Duration::from_secs(seconds), |_| {
            asked += 1;
            true
        })
    };
    assert_eq!((late(9), late(10), late(11), late(12), late(13)), (0, 2, 0, 3, 0));
    assert!(hold.is_empty() && hold.packets() == 0 && asked >= 4, "{asked}");
}

#[test]
fn a_rule_whose_frames_have_gone_is_not_asked_for_again_at_once() {
    let (now, mut hold) = (Instant::now(), Hold::default());
    hold.keep(now, &rule(0), &FLOW, &[0; 50], 1).unwrap();
    assert!(hold.question(now, &rule(0)).is_some());
    assert_eq!(released(&mut hold, 1).len(), 1);
    hold.look(now, |_| panic!("nothing waits"));
    hold.keep(now, &rule(0), &FLOW, &[0; 50], 1).unwrap();
    assert!(
        hold.question(now + Duration::from_millis(500), &rule(0)).is_none(),
        "an SA that goes at once makes no storm"
    );
    assert_eq!(released(&mut hold, 1).len(), 1);
    hold.look(now + Duration::from_secs(2), |_| panic!("nothing waits"));
    assert!(hold.is_empty());
}
