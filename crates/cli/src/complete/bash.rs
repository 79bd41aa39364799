//! Bash, which takes `:` for the end of a word unless it is told otherwise: here it is in the middle of one.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use clap::Command;
use clap_complete::env::{self, EnvCompleter};

/// The words are taken from the line, and what `:` parts off is put back before the answers.
const SCRIPT: &str = r#"
_complete_NAME() {
    local IFS=$' \t\n' line=${COMP_LINE:0:COMP_POINT}
    local words=()
    read -r -a words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local current=${words[${#words[@]}-1]} before=""
    [[ $COMP_WORDBREAKS == *:* && $current == *:* ]] && before=${current%"${current##*:}"}
    local IFS=$'\013'
    COMPREPLY=( $(_CLAP_IFS="$IFS" _CLAP_COMPLETE_INDEX=$((${#words[@]}-1)) VAR=bash COMPLETER -- "${words[@]}") )
    if [[ $? != 0 ]]; then
        unset COMPREPLY
        return
    fi
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
    [[ ${#COMPREPLY[@]} -gt 0 && "${COMPREPLY[0]}" == *[:#@=/] ]] || compopt +o nospace 2> /dev/null
}
complete -o nospace -o bashdefault -F _complete_NAME BIN
"#;

/// See the module.
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> std::io::Result<()> {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let script = SCRIPT.replace("NAME", &name.replace('-', "_")).replace("BIN", &quoted(bin));
        buf.write_all(script.replace("COMPLETER", &quoted(completer)).replace("VAR", var).as_bytes())
    }

    fn write_complete(
        &self,
        cmd: &mut Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn Write,
    ) -> std::io::Result<()> {
        env::Bash.write_complete(cmd, args, current_dir, buf)
    }
}
