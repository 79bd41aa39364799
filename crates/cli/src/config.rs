//! `stonetown config`: what a server would be started with.

use serde_json::json;
use stonetown_server::Config;
use stonetown_server::config::layers::{self, Origin, Parsed, Setting};

use crate::Outcome;
use crate::output::{self, Output};

/// The settings of a server, as `serve` takes them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the page of all settings instead, in Markdown.
    #[arg(long)]
    markdown: bool,

    #[command(flatten)]
    config: Config,
}

/// Prints each setting with its value and where that comes from, and fails if a server would not start with them.
pub(crate) fn run(args: &Args, parsed: &Parsed, output: Output) -> anyhow::Result<Outcome> {
    if args.markdown {
        output::line(stonetown_server::config::reference().trim_end());
        return Ok(Outcome::Done);
    }
    let Some((_, matches)) = parsed.matches.subcommand() else { return Ok(Outcome::Done) };
    let settings = layers::in_force(matches, parsed.file.as_ref());
    if output.json {
        let settings: Vec<_> = settings.iter().map(as_json).collect();
        output::line(json!({ "settings": settings }));
    } else {
        let width = settings.iter().map(|setting| line(setting).len()).max().unwrap_or(0).min(64);
        for setting in &settings {
            output::line(format_args!("{:width$}  # {}", line(setting), origin(&setting.origin)));
        }
    }
    args.config.check().map_err(anyhow::Error::msg)?;
    Ok(Outcome::Done)
}

/// The setting as the configuration file has it.
fn line(setting: &Setting) -> String {
    let Setting { key, values, .. } = setting;
    match &values[..] {
        [] => format!("# {key}:"),
        [value] => format!("{key}: {}", json!(value)),
        values => format!("{key}: {}", json!(values)),
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Flag => "flag".to_owned(),
        Origin::Environment(name) => name.clone(),
        Origin::File(path) => path.display().to_string(),
        Origin::Default => "default".to_owned(),
    }
}

fn as_json(setting: &Setting) -> serde_json::Value {
    let kind = match &setting.origin {
        Origin::Flag => "flag",
        Origin::Environment(_) => "environment",
        Origin::File(_) => "file",
        Origin::Default => "default",
    };
    json!({ "key": setting.key, "values": setting.values, "origin": kind, "from": origin(&setting.origin) })
}
