//! A schema whose definitions and caveats all have a prefix.

use anyhow::Context;
use clap::Args;
use stonetown_schema::Rewriting;

use crate::backup::rewrite::compile;

/// Whether the names of definitions and caveats get a prefix.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Prefix {
    /// Put this prefix and a slash before all names of definitions and caveats.
    #[arg(long, value_name = "PREFIX")]
    schema_definition_prefix: Option<String>,
}

impl Prefix {
    /// The prefix, without its slash.
    pub(crate) fn get(&self) -> Option<&str> {
        self.schema_definition_prefix.as_deref().map(|prefix| prefix.trim_end_matches('/'))
    }

    /// The schema under its new names.
    ///
    /// # Errors
    /// When the schema does not compile, or the prefix makes no names.
    pub(crate) fn schema(&self, text: String) -> anyhow::Result<String> {
        let Some(prefix) = self.get() else { return Ok(text) };
        let name = |name: &str| format!("{prefix}/{name}");
        let rewriting = Rewriting { type_name: &name, caveat_name: &name, ..Rewriting::default() };
        compile(&text)?.rewritten(&rewriting).with_context(|| format!("`{prefix}` is no prefix"))
    }
}
