//! The one door for YAML that people write: validation files, settings, templates of grants.

use serde::de::DeserializeOwned;

/// Brackets that may be open at a time.
const NESTING_MAX: usize = 1_000;

/// Why a text is not what was to be read.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// Its brackets would keep the parser busy.
    #[error("more than {NESTING_MAX} brackets are open at a time")]
    Nested,
    /// It has another form.
    #[error(transparent)]
    Form(#[from] serde_norway::Error),
}

/// Reads a text.
///
/// # Errors
/// See [`YamlError`].
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    if nests_within(text, NESTING_MAX) { Ok(serde_norway::from_str(text)?) } else { Err(YamlError::Nested) }
}

/// Whether no more brackets are open at any place. The parser needs time that grows with their square.
fn nests_within(text: &str, max: usize) -> bool {
    let mut open = 0_usize;
    text.bytes().all(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open <= max
    })
}
