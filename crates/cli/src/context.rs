//! `stonetown context`: servers by name, kept in a file that only its owner can read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, ErrorKind, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Subcommand;
use clap_complete::ArgValueCompleter;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::output::Output;
use crate::{Outcome, complete};

/// Longest token that is read.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Commands on contexts.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the contexts. Tokens are not shown.
    List,
    /// Add or replace a context, and use it.
    Set {
        /// Its name.
        name: String,
        /// The server's gRPC address.
        #[arg(value_name = "HOST:PORT")]
        endpoint: String,
        /// The token; read from standard input when left out, so that it stands in no shell's history.
        token: Option<String>,
    },
    /// Use a context from now on; without a name say which one is used.
    Use(Use),
    /// Forget a context.
    Remove {
        /// Its name.
        #[arg(add = ArgValueCompleter::new(complete::context))]
        name: String,
    },
}

/// `context use`, also as `use`.
#[derive(clap::Args)]
pub(crate) struct Use {
    /// The context.
    #[arg(add = ArgValueCompleter::new(complete::context))]
    name: Option<String>,
}

/// All contexts, and which one is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Server>,
}

/// How a server is reached.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) token: String,
    #[serde(default)]
    pub(crate) insecure: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_verify_ca: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_path: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hostname_override: Option<String>,
}

/// Without the token, which is never printed.
impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// How `context set` is told to reach the server: the flags that all commands have.
pub(crate) struct Reach {
    pub(crate) token: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) no_verify_ca: bool,
    pub(crate) certificate_path: Option<PathBuf>,
    pub(crate) hostname_override: Option<String>,
}

pub(crate) fn run(reach: Reach, command: Command, output: Output) -> anyhow::Result<Outcome> {
    let path = path()?;
    let mut contexts = Contexts::load(&path)?;
    match command {
        Command::List => list(&contexts, output),
        Command::Set { name, endpoint, token } => {
            let Reach { insecure, no_verify_ca, certificate_path, hostname_override, .. } = reach;
            let token = match token.or(reach.token) {
                Some(token) => token,
                None => read_token()?,
            };
            let certificate_path = certificate_path.map(std::path::absolute).transpose()?;
            let server = Server { endpoint, token, insecure, no_verify_ca, certificate_path, hostname_override };
            contexts.contexts.insert(name.clone(), server);
            contexts.current = Some(name);
            contexts.save(&path)?;
        }
        Command::Use(args) => return run_use(&args, output),
        Command::Remove { name } => {
            if contexts.contexts.remove(&name).is_none() {
                return Err(contexts.unknown(&name));
            }
            if contexts.current.as_ref() == Some(&name) {
                contexts.current = None;
            }
            contexts.save(&path)?;
        }
    }
    Ok(Outcome::Done)
}

pub(crate) fn run_use(args: &Use, output: Output) -> anyhow::Result<Outcome> {
    let path = path()?;
    let mut contexts = Contexts::load(&path)?;
    if let Some(name) = &args.name {
        if !contexts.contexts.contains_key(name) {
            return Err(contexts.unknown(name));
        }
        contexts.current = Some(name.clone());
        contexts.save(&path)?;
    }
    let current = contexts.current.context("no context is used")?;
    output.result(&current, || json!({ "current": current }));
    Ok(Outcome::Done)
}

fn list(contexts: &Contexts, output: Output) {
    for (name, server) in &contexts.contexts {
        let is_current = contexts.current.as_ref() == Some(name);
        let mark = if is_current { '*' } else { ' ' };
        let security = match &server.certificate_path {
            _ if server.no_verify_ca => "TLS, not verified".to_owned(),
            Some(path) => format!("TLS, authority {}", path.display()),
            None if server.insecure => "plain text".to_owned(),
            None => "TLS unless it is this machine".to_owned(),
        };
        output.result(
            format!("{mark} {name}\t{}\t{security}", server.endpoint),
            || json!({ "name": name, "endpoint": server.endpoint, "current": is_current, "insecure": server.insecure }),
        );
    }
}

/// Reads the token: a line where somebody types it, else all that comes.
fn read_token() -> anyhow::Result<String> {
    let mut text = String::new();
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprint!("token: ");
        std::io::stderr().flush()?;
        stdin.lock().take(TOKEN_BYTES_MAX).read_line(&mut text).context("standard input")?;
    } else {
        stdin.lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text).context("standard input")?;
    }
    let token = text.trim();
    if token.is_empty() { bail!("no token was given") } else { Ok(token.to_owned()) }
}

/// The file: in `XDG_CONFIG_HOME`, or `.config` in the home directory.
pub(crate) fn path() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    let config = config.context("neither XDG_CONFIG_HOME nor HOME says where contexts are kept")?;
    Ok(config.join("stonetown").join("contexts.json"))
}

impl Contexts {
    /// The server of a context, or of the one that is used.
    ///
    /// # Errors
    /// When a name is given that no context has.
    pub(crate) fn server(&self, name: Option<&str>) -> anyhow::Result<Option<&Server>> {
        match (name, &self.current) {
            (Some(name), _) => self.contexts.get(name).map(Some).ok_or_else(|| self.unknown(name)),
            (None, Some(current)) => Ok(self.contexts.get(current)),
            (None, None) => Ok(None),
        }
    }

    fn unknown(&self, name: &str) -> anyhow::Error {
        let known: Vec<_> = self.names().collect();
        let known = if known.is_empty() { "none is kept".to_owned() } else { format!("known: {}", known.join(", ")) };
        anyhow!("there is no context `{name}`; {known}")
    }

    /// The names of the contexts.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.contexts.keys().map(String::as_str)
    }

    /// Reads the file; none is no contexts. One that others can read is refused: it holds tokens.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let name = || format!("`{}`", path.display());
        let mut file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contexts::default()),
            file => file.with_context(name)?,
        };
        let mode = file.metadata().with_context(name)?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!("{} can be read by others, but holds tokens: chmod 600 it", name());
        }
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(name)?;
        serde_json::from_str(&text).with_context(name)
    }

    /// Replaces the file whole.
    fn save(&self, path: &Path) -> anyhow::Result<()> {
        let name = || format!("`{}`", path.display());
        let folder = path.parent().unwrap_or(path);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(name)?;
        let new = path.with_extension("json.new");
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&new).with_context(name)?;
        // A file that was there keeps its mode otherwise.
        file.set_permissions(fs::Permissions::from_mode(0o600)).with_context(name)?;
        file.write_all(&serde_json::to_vec_pretty(self)?).with_context(name)?;
        file.sync_all().with_context(name)?;
        fs::rename(&new, path).with_context(name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stonetown/contexts.json");
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());
        let server = Server {
            endpoint: "example.com:50051".to_owned(),
            token: "very-secret".to_owned(),
            insecure: false,
            no_verify_ca: false,
            certificate_path: None,
            hostname_override: None,
        };
        assert!(!format!("{server:?}").contains("very-secret"));
        let contexts = Contexts {
            current: Some("prod".to_owned()),
            contexts: [("prod".to_owned(), server.clone())].into_iter().collect(),
        };
        contexts.save(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let loaded = Contexts::load(&path).unwrap();
        assert_eq!(loaded, contexts);
        assert_eq!(loaded.server(None).unwrap(), Some(&server));
        assert!(loaded.server(Some("dev")).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = format!("{:#}", Contexts::load(&path).unwrap_err());
        assert!(refused.contains("chmod 600") && !refused.contains("very-secret"), "{refused}");
    }
}
