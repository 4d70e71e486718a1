use super::*;

const LIST: &str = "deploy/docs/compliance/rfc7296.tsv";
const CODE_FILE: &str = "agent/ike/src/window.rs";

/// A tree in which all is well.
fn sound() -> Tree {
    let list = "# Internet Key Exchange\n\
                §2.1-1\tMUST\ta repetition is identical\t=\tagent/ike/src/window.rs::it_is_sent_again\n\
                §2.1-2\tMUST NOT\ta response is not repeated by itself\t§2.1: a repetition is identical\t\
                agent/ike/src/window.rs::it_is_sent_again, deploy/e2e/tests/strongswan/rekey.rs::played_by_both\n\
                §2.2-1\tSHOULD\tEAP is offered\tnot applicable\tno passwords\n\
                §2.10-1\tSHOULD\tnonces are long\tdeviation\tshort ones do | here\n";
    let code = "fn send() {\n    //= RFC 7296 §2.1: a repetition is identical\n}\n#[test]\n\
                #[should_panic(expected = \"x\")]\n/// Why.\nfn it_is_sent_again() {}\n\
                fn no_test() {}\n//= RFC 3948 §2.2, RFC 7296 §2.1: a repetition is identical\n";
    let scenarios = "both_roles! {\n    played_by_both => |by| run(by);\n}\nfn no_scenario() {}\n";
    let unlisted = "# documents without a list\nRFC 3948\tfour bytes\n";
    let mut tree = Tree::from(
        [
            (LIST, list),
            (CODE_FILE, code),
            ("deploy/e2e/tests/strongswan/rekey.rs", scenarios),
            ("deploy/docs/compliance/unlisted.tsv", unlisted),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned())),
    );
    let page = page::render(&Judged::new(&tree));
    tree.insert(PAGE.to_owned(), page);
    tree
}

/// Returns what is wrong once a piece of a file reads differently; the page is made anew unless it is the one that changes.
fn wrong(path: &str, from: &str, to: &str) -> Vec<String> {
    let mut tree = sound();
    let text = tree.get_mut(path).unwrap();
    assert!(text.contains(from), "{from} is not in {path}");
    *text = text.replacen(from, to, 1);
    if path != PAGE {
        let page = page::render(&Judged::new(&tree));
        tree.insert(PAGE.to_owned(), page);
    }
    faults(&tree)
}

#[test]
fn a_tree_in_order_has_no_faults_and_its_page_counts_and_links() {
    let tree = sound();
    assert_eq!(faults(&tree), [""; 0]);
    let page = &tree[PAGE];
    assert!(page.contains("| [RFC 7296](#rfc-7296) | Internet Key Exchange | 4 | 2 | 1 | 1 |"), "{page}");
    assert!(page.contains("[window.rs](../../agent/ike/src/window.rs)"), "{page}");
    assert!(page.contains("[played_by_both](../../deploy/e2e/tests/strongswan/rekey.rs)"), "{page}");
    assert!(page.contains("**deviation**: short ones do \\| here"), "{page}");
    assert!(page.contains("- RFC 3948: four bytes"), "{page}");
}

#[test]
fn each_fault_is_told_with_its_place() {
    for (path, from, to, told) in [
        (PAGE, "Conformance", "Performance", "cargo compliance"),
        // The mark of two rows goes, and then that of a file which cites another document as well.
        (
            LIST,
            "identical\t=",
            "alike\t=",
            "rfc7296.tsv:2: §2.1-1: no mark in the code: //= RFC 7296 §2.1: a repetition is alike",
        ),
        (LIST, "§2.1: a repetition", "§2.9: a repetition", "rfc7296.tsv:3: §2.1-2: no mark"),
        (
            CODE_FILE,
            "    //= RFC 7296 §2.1",
            "    //= RFC 7296 §2.4",
            "window.rs:2: RFC 7296 §2.4: a repetition is identical: no row",
        ),
        (
            CODE_FILE,
            "RFC 3948",
            "RFC 3947",
            "window.rs:9: RFC 3947 §2.2: a repetition is identical: RFC 3947 has no list",
        ),
        (CODE_FILE, "//= RFC 7296 §2.1: a", "//= RFC 7296: a", "window.rs:2: a mark is"),
        (
            LIST,
            "::it_is_sent_again\n",
            "::no_test\n",
            "rfc7296.tsv:2: §2.1-1: no such test: \"agent/ike/src/window.rs::no_test\"",
        ),
        (LIST, "window.rs::it_is_sent_again\n", "other.rs::it_is_sent_again\n", "no such test"),
        (LIST, "played_by_both", "no_scenario", "no such test"),
        (LIST, "agent/ike/src/window.rs::it_is_sent_again\n", "\n", "no such test: \"\""),
        (LIST, "no passwords", " ", "rfc7296.tsv:4: §2.2-1: no reason"),
        (LIST, "short ones do | here", "", "rfc7296.tsv:5: §2.10-1: no reason"),
        (LIST, "MUST NOT", "MUSTN'T", "rfc7296.tsv:3: \"MUSTN'T\" is none of"),
        (LIST, "§2.1-2", "§2.1-1", "rfc7296.tsv:3: §2.1-1 is there already"),
        (LIST, "§2.10-1", "§2.1-9", "rfc7296.tsv:5: §2.1-9 is there already, or not in its place"),
        (LIST, "§2.2-1", "2.2", "is no id"),
        (LIST, "EAP is offered", "", "says nothing"),
        (LIST, "\tnot applicable", "\tnot here", "rfc7296.tsv:4: the mark is none of"),
        (LIST, "\tno passwords", "", "rfc7296.tsv:4: 4 columns"),
        (LIST, "# Internet Key Exchange", "#", "the title"),
        ("deploy/docs/compliance/unlisted.tsv", "\tfour bytes", "", "unlisted.tsv:2"),
    ] {
        let wrong = wrong(path, from, to);
        assert!(wrong.iter().any(|line| line.contains(told)), "{from} -> {to}: {wrong:?}");
    }
}

#[test]
fn the_attribute_makes_a_test_whatever_stands_between() {
    let text = "#[tokio::test(flavor = \"multi_thread\")]\n#[ignore]\n// Why.\nasync fn slow() {}\nfn other() {}\n\
                proptest! {\n    #[test]\n    fn any(x in 0..9) {}\n}\nboth_roles! {\n    a => |by| {\n        run(by, 1);\n    };\n    b => c;\n}\n";
    assert_eq!(sources::tests(text), ["slow", "any", "a", "b"]);
}
