//! The page of all settings, made from them.

use clap::Arg;

use super::layers;

/// `docs/configuration.md`. `stonetown config --markdown` prints it.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for arg in layers::arguments().iter().filter(|arg| !arg.is_hide_set()) {
        page.push_str(&row(arg));
    }
    page
}

fn row(arg: &Arg) -> String {
    let key = arg.get_long().unwrap_or_default();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = if defaults.is_empty() { "—".to_owned() } else { format!("`{}`", defaults.join(",")) };
    let unit = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    let unit = match unit {
        _ if !arg.get_action().takes_values() => "true or false",
        "TIME" => "time",
        "MIB" => "MiB",
        "GIB" => "GiB",
        "BYTES" => "bytes",
        "N" => "number",
        "RATIO" => "0 to 1",
        "FILE" => "path of a file",
        "DIR" => "path of a directory",
        "ADDR" => "address",
        "URL" => "URL",
        "KEY" => "secret",
        "BOOL" => "true or false",
        _ => "",
    };
    let choices: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let unit = if unit.is_empty() { choices.join(", ") } else { unit.to_owned() };
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    format!("| `{key}` | {default} | {unit} | {help} |\n")
}

const HEAD: &str = "\
# Settings of a server

<!-- Made by `stonetown config --markdown` from crates/server/src/config; a test holds it to that. -->

Each setting can be given in three ways. The first that says something counts:

1. as a flag of `stonetown serve`: `--grpc-addr :50051`;
2. in the environment, in capitals and with `STONETOWN_` before it: `STONETOWN_GRPC_ADDR=:50051`;
3. in the file that `--config FILE` or `STONETOWN_CONFIG` names, in YAML: `grpc-addr: \":50051\"`.

A key that does not exist is refused, with the nearest that does; a value that is no good is refused with its key and where it was
found. `stonetown config`, with the same flags, environment and file, prints what is in force and from where, keys masked.

Times are written as `30s`, `5m`, `24h` or `1h30m`. Addresses are `HOST:PORT`, or `:PORT` for all interfaces. A list is repeated as
a flag, separated by commas in the environment, and a list in the file.

| setting | default | unit | what it does, and when to change it |
| --- | --- | --- | --- |
";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_up_to_date() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let written = std::fs::read_to_string(page).unwrap_or_default();
        assert!(written == reference(), "stonetown config --markdown > docs/configuration.md");
    }

    #[test]
    fn every_setting_is_in_the_environment_under_its_own_name_and_says_what_it_does() {
        for arg in layers::arguments() {
            let key = arg.get_long().unwrap();
            let expected = format!("STONETOWN_{}", key.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().unwrap().to_str().unwrap(), expected);
            assert!(arg.get_help().is_some(), "{key}");
        }
    }
}
