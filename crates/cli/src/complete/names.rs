//! Names of a schema that a word can go on with.

use std::collections::BTreeSet;

use stonetown_schema::{Member, Schema};

/// A word so far, as `TYPE:ID#RELATION` or a beginning of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    pub(super) object_type: &'t str,
    pub(super) id: Option<&'t str>,
    pub(super) relation: Option<&'t str>,
}

/// Which members of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Members {
    /// Relations and permissions.
    All,
    /// Relations.
    Relations,
}

impl<'t> Word<'t> {
    pub(super) fn new(text: &'t str) -> Word<'t> {
        let (object, relation) = text.split_once('#').map_or((text, None), |(object, it)| (object, Some(it)));
        let (object_type, id) = object.split_once(':').map_or((object, None), |(before, it)| (before, Some(it)));
        Word { text, object_type, id, relation }
    }
}

/// Types.
pub(super) fn types(word: &Word<'_>, schema: &Schema) -> Vec<String> {
    let names = schema.definitions().iter().map(|definition| definition.name.as_str());
    names.filter(|name| name.starts_with(word.text)).map(str::to_owned).collect()
}

/// Types, each with the colon that an id follows.
pub(super) fn objects(word: &Word<'_>, schema: &Schema) -> Vec<String> {
    types(word, schema).into_iter().map(|name| format!("{name}:")).collect()
}

/// Members of a type, or of all, each with what stands before it in the word.
pub(super) fn members(word: &Word<'_>, schema: &Schema, of: Option<&str>, which: Members) -> Vec<String> {
    let (before, begun) = match word.relation {
        Some(relation) => word.text.split_at(word.text.len() - relation.len()),
        None => ("", word.text),
    };
    let definitions =
        schema.definitions().iter().filter(|definition| of.is_none_or(|of| definition.name.as_str() == of));
    let members = definitions.flat_map(|definition| definition.members());
    let members = members.filter(|member| which == Members::All || matches!(member, Member::Relation(_)));
    let names: BTreeSet<_> = members.map(|member| member.name().as_str()).collect();
    names.into_iter().filter(|name| name.starts_with(begun)).map(|name| format!("{before}{name}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use stonetown_schema::CompileOptions;

    #[test]
    fn a_word_goes_on_with_names_that_fit() {
        let text = "definition user {}\ndefinition document {\n relation viewer: user\n relation owner: user\n \
                    permission view = viewer + owner\n}";
        let schema = Schema::compile(text, &CompileOptions::default()).unwrap();
        assert_eq!(types(&Word::new("d"), &schema), ["document"]);
        assert_eq!(objects(&Word::new(""), &schema), ["document:", "user:"]);
        let all = |text, of| members(&Word::new(text), &schema, of, Members::All);
        assert_eq!(all("vi", Some("document")), ["view", "viewer"]);
        assert_eq!(all("", None), ["owner", "view", "viewer"]);
        assert_eq!(all("", Some("user")), [""; 0]);
        assert_eq!(all("document:plan#o", Some("document")), ["document:plan#owner"]);
        assert_eq!(members(&Word::new("view"), &schema, Some("document"), Members::Relations), ["viewer"]);
    }
}
