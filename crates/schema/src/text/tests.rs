#![allow(clippy::unwrap_used, clippy::panic)]
use crate::testing::{compiled, doc};

#[test]
fn the_canonical_text_is_sorted_and_keeps_doc_comments() {
    let schema = compiled(
        "use self use expiration
// about two
definition zebra { } // lost
/*
 * about one
   more
 */
definition ant { relation one: zebra with expiration // lost, too
      /** about two */ permission two=self+one
/* at the end */ }
/** when */ // really
caveat when(b list<int>,
            a string) {
    a == '' ||
      size(b) > 0
}
// after all",
    );
    let expected = "use expiration
use self

/** when */
// really
caveat when(b list<int>, a string) {
\ta == '' ||
      size(b) > 0
}

/*
 * about one
more
 */
definition ant {
\trelation one: zebra with expiration

\t/** about two */
\tpermission two = self + one
}

// about two
definition zebra {}
";
    assert_eq!(schema.text(), expected);
    assert_eq!(compiled(expected), schema);
}

#[test]
fn parentheses_stand_where_operators_mix() {
    for (written, expected) in [
        ("first+other", "first + other"),
        ("first+(other+first)", "first + other + first"),
        ("first-other+first", "first - (other + first)"),
        ("first+other-first", "(first + other) - first"),
        ("first-other-first", "first - other - first"),
        ("(first-other)-first", "first - other - first"),
        ("first-(other-first)", "first - (other - first)"),
        ("first&other+first", "first & (other + first)"),
        ("(first&other)+nil", "(first & other) + nil"),
        ("((first))", "first"),
        ("first.any(per)+first . all( per )", "first->per + first.all(per)"),
    ] {
        let schema = compiled(&doc(&format!("permission per = {written}")));
        assert!(schema.text().contains(&format!("permission per = {expected}\n")), "{written}: {}", schema.text());
    }
}
