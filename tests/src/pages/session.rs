//! The commands of a page, run in one shell.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Block, Page, expected};
use crate::server::root;

/// The address that pages show; the session has another one, on a free port.
const SHOWN: &str = "127.0.0.1:50051";
/// How long a page may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// What every session begins with. `fresh_server [FLAGS]` starts a server, in the place of one before, and waits for it.
const PRELUDE: &str = r#"
exec 2>&1
set -e
fresh_server() {
  if [ -n "${server:-}" ]; then kill "$server"; wait "$server" || true; rm -r data; fi
  stonetown serve --grpc-preshared-key somekey --data-dir data "$@" >server.log 2>&1 &
  server=$!
  until stonetown health >/dev/null 2>&1; do kill -0 "$server" || { cat server.log; return 1; }; sleep 0.05; done
  export STONETOWN_TOKEN=somekey
}
trap 'printf "\n\001exit %s\n" "$?"' EXIT
"#;

/// What a command of a page did otherwise than the page says.
#[derive(Debug)]
pub struct Difference {
    /// The position of the command in the page.
    pub line: usize,
    /// What it did, for people.
    pub text: String,
    /// Where its output is shown, and what it should be, if that is all that differs.
    pub output: Option<(Range<usize>, String)>,
}

struct Step {
    line: usize,
    command: String,
    /// Where the output is shown; none where it is not.
    output: Option<Range<usize>>,
    exit: i32,
}

/// Runs a page in a folder of its own, with `binary` as `stonetown`, and with `python` in front of the path where the Python client is
/// to be had.
///
/// # Errors
/// If there is no shell, or the page takes too long.
pub fn run(page: &Page, binary: &Path, python: Option<&Path>) -> Result<Vec<Difference>> {
    let steps = steps(page, python.is_some());
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    std::fs::write(folder.path().join(".script"), script(&steps, &address)?)?;
    std::fs::create_dir(folder.path().join("work"))?;
    std::fs::create_dir(folder.path().join(".bin"))?;
    std::os::unix::fs::symlink(binary, folder.path().join(".bin/stonetown"))?;
    let output = std::fs::File::create(folder.path().join(".output"))?;
    let mut child = shell(folder.path(), &address, python)?.stdout(output).spawn().context("cannot run bash")?;
    let started = Instant::now();
    let mut ended = false;
    while !ended && started.elapsed() < TIMEOUT {
        std::thread::sleep(Duration::from_millis(20));
        ended = child.try_wait()?.is_some();
    }
    // The servers that the page started in the background are of the shell's process group.
    Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status()?;
    child.wait()?;
    let printed = std::fs::read(folder.path().join(".output"))?;
    let printed = String::from_utf8_lossy(&printed).replace(&address, SHOWN);
    if !ended {
        bail!("it took longer than {TIMEOUT:?}, and printed:\n{printed}");
    }
    Ok(differences(page, &steps, &printed))
}

fn script(steps: &[Step], address: &str) -> Result<String> {
    let mut script = PRELUDE.to_owned();
    for (number, step) in steps.iter().enumerate() {
        let command = step.command.replace(SHOWN, address);
        writeln!(script, "printf '\\n\\001step {number}\\n'")?;
        if step.exit == 0 {
            writeln!(script, "{command}")?;
        } else {
            writeln!(script, "set +e\n{command}\ncode=$?\nset -e\n[ $code = {} ] || exit $code", step.exit)?;
        }
    }
    Ok(script)
}

/// A shell with nothing of whoever runs the tests but the path.
fn shell(folder: &Path, address: &str, python: Option<&Path>) -> Result<Command> {
    let mut path = std::ffi::OsString::new();
    for part in [&folder.join(".bin")].into_iter().map(std::path::PathBuf::as_path).chain(python) {
        path.push(part);
        path.push(":");
    }
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars() {
        if ["STONETOWN_", "ZED_", "SPICEDB_"].iter().any(|start| name.starts_with(start)) {
            shell.env_remove(name);
        }
    }
    shell
        .arg(folder.join(".script"))
        .current_dir(folder.join("work"))
        .env("PATH", path)
        .env("HOME", folder)
        .env("XDG_CONFIG_HOME", folder.join(".config"))
        .env("LC_ALL", "C.UTF-8")
        .env("REPOSITORY", root().canonicalize()?)
        .env("STONETOWN_GRPC_ADDR", address)
        .env("STONETOWN_METRICS_ADDR", "off")
        .env("STONETOWN_ENDPOINT", address)
        .stdin(Stdio::null())
        .process_group(0);
    Ok(shell)
}

/// A port that was free a moment ago.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn steps(page: &Page, with_python: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for block in &page.blocks {
        if block.attribute("needs").is_some_and(|_| !with_python) {
            continue;
        }
        if let Some(name) = block.attribute("save") {
            let command = format!("cat >{name} <<'END-OF-{name}'\n{}END-OF-{name}", page.text(block));
            steps.push(Step { line: block.lines.start, command, output: None, exit: 0 });
        } else if block.is_run() && block.language == "console" {
            steps.extend(commands(page, block));
        } else if block.is_run() {
            steps.push(Step { line: block.lines.start, command: page.text(block), output: None, exit: 0 });
        }
    }
    steps
}

/// The commands of a block with their output.
fn commands(page: &Page, block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (line, text) in block.lines.clone().zip(page.lines.get(block.lines.clone()).unwrap_or_default()) {
        if let Some(command) = text.strip_prefix("$ ") {
            steps.push(Step { line, command: command.to_owned(), output: Some(line + 1..line + 1), exit: 0 });
        } else if let Some(step) = steps.last_mut() {
            let code = text.strip_prefix("? ").and_then(|code| code.parse().ok());
            match (&mut step.output, text.strip_prefix("> "), code) {
                (Some(output), Some(more), _) if output.start == output.end => {
                    step.command.push('\n');
                    step.command.push_str(more);
                    *output = line + 1..line + 1;
                }
                (_, _, Some(code)) => step.exit = code,
                (Some(output), _, _) => output.end = line + 1,
                (None, _, _) => {}
            }
        }
    }
    steps
}

fn differences(page: &Page, steps: &[Step], printed: &str) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut parts = printed.split("\n\u{1}").skip(1).collect::<Vec<_>>();
    let code = parts.pop().and_then(|last| last.trim_end().strip_prefix("exit ")).unwrap_or("unknown");
    for (step, part) in steps.iter().zip(&parts) {
        let Some(place) = &step.output else { continue };
        let text = part.split_once('\n').map_or("", |(_, text)| text);
        let shown: Vec<&str> = page.lines.get(place.clone()).unwrap_or_default().iter().map(String::as_str).collect();
        if !expected::matches(&shown, &text.lines().collect::<Vec<_>>()) {
            let output = Some((place.clone(), text.to_owned()));
            differences.push(Difference { line: step.line, text: format!("printed:\n{text}"), output });
        }
    }
    if code != "0" || parts.len() != steps.len() {
        let last = parts.len().saturating_sub(1);
        if let (Some(step), text) = (steps.get(last), parts.last().unwrap_or(&"")) {
            differences.retain(|difference| difference.line != step.line);
            let text = format!("ended with code {code} instead of {}, after it had printed:\n{text}", step.exit);
            differences.push(Difference { line: step.line, text, output: None });
        }
    }
    differences
}
