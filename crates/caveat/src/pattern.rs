//! Regular expressions whose matching costs no more than is paid for.
//!
//! A text is matched by an automaton whose states are made when they are first needed: a step for 16 bytes, for almost every
//! pattern and text. Where that would need more states than there is room for, the pattern's parts are followed all at once,
//! which takes a time that can be told before, and is paid for before.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use regex_automata::Input;
use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::pool::Pool;

use crate::evaluate::{Fault, Meter};
use crate::limits::shortened;

/// Room for the states of the automaton, in bytes.
const STATES_BYTES_MAX: usize = 64 * 1024;
/// How much of it is taken, as a rule with room to spare.
const STATES_BYTES_USUAL: usize = STATES_BYTES_MAX / 4;
/// Parts of a pattern that are followed by a byte of text for one step.
const PARTS_PER_STEP: usize = 2;

/// A compiled pattern.
pub(crate) struct Pattern {
    automaton: DFA,
    parts: PikeVM,
    /// What matching works in, for each thread that matches at the time.
    spaces: Pool<Space, Box<dyn Fn() -> Space + Send + Sync + UnwindSafe + RefUnwindSafe>>,
    bytes: usize,
}

struct Space {
    automaton: dfa::Cache,
    parts: pikevm::Cache,
}

impl Pattern {
    /// Compiles a pattern into no more than `bytes_max`.
    pub(crate) fn compile(pattern: &str, bytes_max: usize) -> Result<Pattern, String> {
        let is_none = || format!("`{}` is not a regular expression", shortened(pattern));
        let limits = thompson::Config::new().nfa_size_limit(Some(bytes_max)).which_captures(WhichCaptures::None);
        let compiled = NFA::compiler().configure(limits).build(pattern).map_err(|error| match error.size_limit() {
            Some(_) => "the regular expression is too large".to_owned(),
            None => is_none(),
        })?;
        let bytes = compiled.memory_usage() + STATES_BYTES_USUAL;
        // Gives up when there is no more room, and at a letter beyond ASCII next to `\b`.
        let lazy = DFA::config()
            .cache_capacity(STATES_BYTES_MAX)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(0))
            .unicode_word_boundary(true);
        let automaton = DFA::builder().configure(lazy).build_from_nfa(compiled.clone()).map_err(|_| is_none())?;
        let parts = PikeVM::new_from_nfa(compiled).map_err(|_| is_none())?;
        let (of_automaton, of_parts) = (automaton.clone(), parts.clone());
        let space = move || Space { automaton: of_automaton.create_cache(), parts: of_parts.create_cache() };
        Ok(Pattern { automaton, parts, spaces: Pool::new(Box::new(space)), bytes })
    }

    /// What it holds in memory, as a rule.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any part of a text matches.
    pub(crate) fn is_match(&self, text: &str, meter: &mut Meter) -> Result<bool, Fault> {
        meter.charge_bytes(text.len())?;
        let mut space = self.spaces.get();
        if let Ok(found) = self.automaton.try_search_fwd(&mut space.automaton, &Input::new(text).earliest(true)) {
            return Ok(found.is_some());
        }
        self.automaton.reset_cache(&mut space.automaton);
        let parts = self.parts.get_nfa().states().len();
        meter.charge(text.len().saturating_mul(parts) / PARTS_PER_STEP)?;
        Ok(self.parts.is_match(&mut space.parts, text))
    }

    /// The same, whatever it costs, by following the parts.
    #[cfg(test)]
    pub(crate) fn follow(&self, text: &str) -> bool {
        self.parts.is_match(&mut self.parts.create_cache(), text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pattern").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
