//! Where each setting comes from: a flag, else the environment, else the configuration file, else its default.
//!
//! The file is YAML, one key per setting, named as the flag is. Its values are put under the flags as their defaults, so that
//! one parser reads them all.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use serde_norway::Value;
use stonetown_authorizer::yaml;

use super::Config;
use super::spicedb::{environment, theirs};

/// The field of [`Config`] that names the configuration file, as clap knows it.
const FILE: &str = "config_file";
/// Stands for what is not shown.
const MASKED: &str = "********";
/// Least likeness of a known key to be named for an unknown one; 1 is equality.
const LIKENESS_MIN: f64 = 0.75;

/// What a command line, the environment and a configuration file say together.
#[derive(Debug)]
pub struct Parsed {
    /// The command with its values.
    pub matches: ArgMatches,
    /// The configuration file, where one is named.
    pub file: Option<ConfigFile>,
}

/// A configuration file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    values: BTreeMap<String, Vec<String>>,
}

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// Its values; none where it is not set. Those of secrets are masked.
    pub values: Vec<String>,
    /// Where they come from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// This variable of the environment.
    Environment(String),
    /// This configuration file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

/// Parses a command line. Of the subcommand that was chosen, if it takes the settings of a server, those that neither flags nor
/// the environment give are taken from the configuration file.
///
/// # Errors
/// What to tell the user: which key is wrong, and where.
pub fn parse(command: &Command, args: &[OsString]) -> Result<Parsed, clap::Error> {
    let wrong = |error, command: &Command| with_origin(without_password(error), command, args);
    let first = command.clone().try_get_matches_from(args).map_err(|error| wrong(error, command))?;
    let chosen = first.subcommand().map(|(name, of)| (name.to_owned(), config_path(of)));
    let Some((name, Some(path))) = chosen else { return Ok(Parsed { matches: first, file: None }) };
    let file = ConfigFile::read(&path).map_err(|why| clap::Error::raw(ErrorKind::InvalidValue, format!("{why}\n")))?;
    let command = command.clone().mut_subcommand(name, |subcommand| file.put_under(subcommand));
    let matches = command.clone().try_get_matches_from(args).map_err(|error| wrong(error, &command))?;
    Ok(Parsed { matches, file: Some(file) })
}

fn config_path(matches: &ArgMatches) -> Option<PathBuf> {
    matches.try_get_one::<PathBuf>(FILE).ok().flatten().cloned()
}

/// The settings of a server, as clap has them, but for that which names the file.
pub(super) fn arguments() -> Vec<Arg> {
    let mut command = Config::augment_args(Command::new("serve"));
    command.build();
    command.get_arguments().filter(|arg| arg.get_env().is_some() && arg.get_id() != FILE).cloned().collect()
}

impl ConfigFile {
    fn read(path: &Path) -> Result<ConfigFile, String> {
        let wrong = |why: String| format!("configuration file `{}`: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let values = values(&text, &arguments()).map_err(wrong)?;
        Ok(ConfigFile { path: path.to_owned(), values })
    }

    /// Puts the values under the flags of a command.
    fn put_under(&self, mut command: Command) -> Command {
        for arg in arguments() {
            let Some(values) = arg.get_long().and_then(|key| self.values.get(key)) else { continue };
            command = command.mut_arg(arg.get_id().as_str(), |arg| arg.default_values(values.clone()));
        }
        command
    }
}

/// The values of a file, each tested by itself, so that what is wrong with one is said under its name.
fn values(text: &str, known: &[Arg]) -> Result<BTreeMap<String, Vec<String>>, String> {
    let document: Value = yaml::parse(text).map_err(|error| error.to_string())?;
    let entries = match document {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Mapping(entries) => entries,
        _ => return Err("expected `setting: value`, a line for each".to_owned()),
    };
    let mut values = BTreeMap::new();
    for (key, value) in entries {
        let Value::String(key) = key else { return Err("a key is not a name".to_owned()) };
        let Some(arg) = known.iter().find(|arg| arg.get_long() == Some(&key)) else { return Err(unknown(&key, known)) };
        let given = texts(value, arg).and_then(|given| {
            given.iter().try_for_each(|text| test(arg, text))?;
            Ok(given)
        });
        values.insert(key.clone(), given.map_err(|why| format!("`{key}`: {why}"))?);
    }
    Ok(values)
}

fn unknown(key: &str, known: &[Arg]) -> String {
    let names = known.iter().filter_map(Arg::get_long);
    let rated = names.map(|name| (strsim::jaro_winkler(name, key), name));
    let nearest = rated.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    let hint = nearest.map_or_else(String::new, |(_, name)| format!(": did you mean `{name}`?"));
    format!("there is no setting `{key}`{hint}")
}

/// A value of the file as flags would have it.
fn texts(value: Value, arg: &Arg) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Bool(flag) => Ok(vec![flag.to_string()]),
        Value::Number(number) => Ok(vec![number.to_string()]),
        Value::Sequence(items) if matches!(arg.get_action(), ArgAction::Append) => {
            let items = items.into_iter().map(|item| texts(item, arg)).collect::<Result<Vec<_>, _>>()?;
            Ok(items.concat())
        }
        Value::Sequence(_) => Err("takes one value, not a list".to_owned()),
        Value::Null => Err("has no value: leave the line out for the default".to_owned()),
        _ => Err("is not a plain value".to_owned()),
    }
}

/// Parses one value of a setting by itself.
fn test(arg: &Arg, text: &str) -> Result<(), String> {
    let key = arg.get_long().unwrap_or_default();
    let alone = Arg::new("value").long(key.to_owned()).action(ArgAction::Append).num_args(1);
    let alone = match arg.get_action() {
        ArgAction::SetTrue => alone.value_parser(BoolishValueParser::new()),
        _ => alone.value_parser(arg.get_value_parser().clone()),
    };
    let command = Command::new("setting").no_binary_name(true).disable_help_flag(true).arg(alone);
    match command.try_get_matches_from([format!("--{key}={text}")]) {
        Ok(_) => Ok(()),
        Err(error) => Err(reason(&without_password(error))),
    }
}

/// The same error, in which a value is shown without its password. What is wrong with the address may be that very password.
fn without_password(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let shown = shown(value);
        error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    }
    error
}

/// A value in which nobody reads the user and password of an address.
fn shown(value: &str) -> String {
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, place))) if rest.contains('@') => format!("{scheme}://{MASKED}@{place}"),
        _ => value.to_owned(),
    }
}

/// What is wrong with a value, without the words that are about the command line.
fn reason(error: &clap::Error) -> String {
    use std::error::Error;
    if let Some(source) = error.source() {
        return source.to_string();
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("For more information"));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Says of a bad value that it does not come from the command line, if it does not.
fn with_origin(error: clap::Error, command: &Command, args: &[OsString]) -> clap::Error {
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return error;
    }
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return error };
    let Some(flag) = shown.split_whitespace().next().map(str::to_owned) else { return error };
    let is_given = args
        .iter()
        .filter_map(|arg| arg.to_str())
        .any(|arg| arg == flag || arg.strip_prefix(&flag).is_some_and(|rest| rest.starts_with('=')));
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let variable = commands.flat_map(Command::get_arguments).find_map(|arg| {
        let is_it = arg.get_long().is_some_and(|long| flag == format!("--{long}"));
        let name = is_it.then(|| arg.get_env()).flatten()?;
        std::env::var_os(name).is_some().then(|| name.to_string_lossy().into_owned())
    });
    match variable {
        Some(variable) if !is_given => {
            let key = flag.trim_start_matches('-');
            clap::Error::raw(error.kind(), format!("environment variable {variable}: `{key}`: {}\n", reason(&error)))
        }
        _ => error,
    }
}

/// The settings in force, in the order of their documentation.
#[must_use]
pub fn in_force(matches: &ArgMatches, file: Option<&ConfigFile>) -> Vec<Setting> {
    arguments().iter().filter_map(|arg| setting(arg, matches, file)).collect()
}

fn setting(arg: &Arg, matches: &ArgMatches, file: Option<&ConfigFile>) -> Option<Setting> {
    let (id, key) = (arg.get_id().as_str(), arg.get_long()?);
    let raw = matches.try_get_raw(id).ok()?;
    let mut values: Vec<String> = raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect();
    let is_secret = arg.is_hide_env_values_set();
    values.iter_mut().for_each(|value| *value = if is_secret { MASKED.to_owned() } else { shown(value) });
    let from_file = file.filter(|file| file.values.contains_key(key));
    let origin = match (matches.value_source(id), from_file) {
        (Some(ValueSource::CommandLine), _) => Origin::Flag,
        (Some(ValueSource::EnvVariable), _) => {
            let ours = arg.get_env().unwrap_or_default().to_string_lossy().into_owned();
            Origin::Environment(if environment(&ours).is_some() { ours } else { theirs(key) })
        }
        (_, Some(file)) => Origin::File(file.path.clone()),
        _ => Origin::Default,
    };
    Some(Setting { key: key.to_owned(), values, origin })
}

#[cfg(test)]
mod tests;
