#![allow(clippy::unwrap_used)]

use super::*;

fn command() -> Command {
    Command::new("stonetown").subcommand(Config::augment_args(Command::new("serve")))
}

/// Parses flags over a file.
fn parsed(flags: &[&str], file: &str) -> Result<Vec<Setting>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stonetown.yaml");
    std::fs::write(&path, file).unwrap();
    let mut args: Vec<OsString> = ["stonetown", "serve", "--config"].map(OsString::from).to_vec();
    args.push(path.into());
    args.extend(flags.iter().map(OsString::from));
    let parsed = parse(&command(), &args).map_err(|error| error.to_string())?;
    Ok(in_force(parsed.matches.subcommand().unwrap().1, parsed.file.as_ref()))
}

fn find<'s>(settings: &'s [Setting], key: &str) -> &'s Setting {
    settings.iter().find(|setting| setting.key == key).unwrap()
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let file = "grpc-addr: ':1000'\nmetrics-addr: off\ndisable-reflection: true\nindex-mib: 7\n";
    let settings = parsed(&["--grpc-addr", ":2000"], file).unwrap();
    let grpc = find(&settings, "grpc-addr");
    assert_eq!((grpc.values.join(","), &grpc.origin), (":2000".to_owned(), &Origin::Flag));
    for (key, value) in [("metrics-addr", "off"), ("disable-reflection", "true"), ("index-mib", "7")] {
        let setting = find(&settings, key);
        assert_eq!(setting.values.join(","), value);
        assert!(matches!(&setting.origin, Origin::File(path) if path.ends_with("stonetown.yaml")), "{setting:?}");
    }
    assert_eq!(find(&settings, "log-format").origin, Origin::Default);
}

#[test]
fn a_list_is_a_list_and_secrets_are_masked() {
    let settings = parsed(&[], "grpc-preshared-key: [one, two]\n").unwrap();
    assert_eq!(find(&settings, "grpc-preshared-key").values, ["********", "********"]);
    assert!(parsed(&[], "grpc-addr: [':1', ':2']\n").unwrap_err().contains("`grpc-addr`: takes one value, not a list"));
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_the_key_and_the_file() {
    for (file, expected) in [
        ("grpc-adr: ':1'\n", "there is no setting `grpc-adr`: did you mean `grpc-addr`?"),
        ("frobnicate: 1\n", "there is no setting `frobnicate`\n"),
        ("config: other.yaml\n", "there is no setting `config`"),
        ("grpc-addr: here\n", "`grpc-addr`: `here` is not an address"),
        ("log-format: xml\n", "`log-format`: invalid value 'xml'"),
        ("index-mib: many\n", "`index-mib`: invalid digit found in string"),
        ("index-mib:\n", "`index-mib`: has no value"),
        ("disable-reflection: perhaps\n", "`disable-reflection`: "),
        ("- grpc-addr\n", "expected `setting: value`"),
        ("a: [\n", "stonetown.yaml`: "),
    ] {
        let error = parsed(&[], file).unwrap_err();
        assert!(error.contains(expected) && error.contains("stonetown.yaml"), "{file}: {error}");
    }
}

#[test]
fn brackets_without_an_end_are_refused_soon() {
    let begun = std::time::Instant::now();
    let refused = parsed(&[], &format!("grpc-addr: {}", "[".repeat(200_000))).unwrap_err();
    assert!(refused.contains("brackets are open"), "{refused}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let args = ["stonetown", "serve", "--config", "/nowhere/stonetown.yaml"].map(OsString::from);
    let error = parse(&command(), &args).unwrap_err().to_string();
    assert!(error.contains("`/nowhere/stonetown.yaml`: No such file"), "{error}");
}
