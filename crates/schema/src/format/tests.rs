#![allow(clippy::unwrap_used, clippy::panic)]
use super::format;

fn formats(source: &str, expected: &str) {
    let formatted = format(source).unwrap();
    assert_eq!(formatted, expected, "{source}");
    assert_eq!(format(&formatted).unwrap(), formatted);
}

#[test]
fn layout_is_made_uniform_and_order_is_kept() {
    formats(
        "\n\nuse  self;use partial\nuse import\n  import   './a.zed'\n\n\n\nimport \"b.zed\"
definition  ten / user{} definition doc{
relation   zoo :ten/user|ten/user : * with  cav|ten/user #  rel
 ...part


   permission p=( zoo+(self) )&zoo -> rel-zoo . all (rel);permission q : ten/user|doc = nil }
partial part{\n}
caveat cav( a  list < map<int> >,b int ){a.all(x,size(x)>b)}",
        "use self
use partial
use import
import './a.zed'

import \"b.zed\"

definition ten/user {}

definition doc {
\trelation zoo: ten/user | ten/user:* with cav | ten/user#rel
\t...part

\tpermission p = (zoo + (self)) & zoo->rel - zoo.all(rel)
\tpermission q: ten/user | doc = nil
}

partial part {}

caveat cav(a list<map<int>>, b int) {
\ta.all(x,size(x)>b)
}
",
    );
}

#[test]
fn every_comment_is_kept_in_its_place() {
    formats(
        "// file\n\n\n// about use\nuse self // why\n/* about doc */   definition doc { // opens
   // about rel
      /*
        * starred
      * lines
        */
relation rel: doc // trails
         // at the end
/*
   +--+
   |  |  a drawing
*/
} // closed
// last",
        "// file

// about use
use self // why
/* about doc */
definition doc { // opens
\t// about rel
\t/*
\t * starred
\t * lines
\t */
\trelation rel: doc // trails
\t// at the end
\t/*
   +--+
   |  |  a drawing
*/
} // closed

// last
",
    );
}

#[test]
fn lines_that_are_broken_inside_a_statement_stay_broken() {
    formats(
        "definition doc {
permission one = two
      + three + // why
 // and so
   four
permission two = (
 one +
  three
 )
relation\tmany: user
| group
  | robot:*
}
caveat cav(
 a int,
    b int
)
{
  a >
  b
}",
        "definition doc {
\tpermission one = two
\t\t+ three + // why
\t\t// and so
\t\tfour
\tpermission two = (
\t\tone +
\t\tthree
\t)
\trelation many: user
\t\t| group
\t\t| robot:*
}

caveat cav(
\ta int,
\tb int
) {
\ta >
  b
}
",
    );
}

#[test]
fn texts_that_do_not_compile_are_still_laid_out() {
    formats("definition X {relation Y:z}", "definition X {\n\trelation Y: z\n}\n");
    formats("", "");
    formats("\n//  a\n\n", "//  a\n");
    assert_eq!(
        format("definition doc { relation }").unwrap_err()[0].to_string(),
        "1:27: expected a name after `relation`, found `}`"
    );
}
