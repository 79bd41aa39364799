//! Settings as SpiceDB's operators have them: its environment names, its way of writing switches, and its flags that mean
//! nothing here. So a compose file or manifest made for SpiceDB starts this server.

use std::ffi::OsString;

use clap::builder::{BoolishValueParser, PossibleValuesParser};
use clap::{Arg, ArgAction, ArgMatches, Command};

const OURS: &str = "STONETOWN_";
const THEIRS: &str = "SPICEDB_";

/// Flags of SpiceDB without a meaning here: there is no remote datastore, no dispatch between processes, no cache to be
/// sized apart from the index, and nothing is reported to anybody. They are accepted and named in a warning. Some mean
/// something to one command that serves and nothing to another.
const IGNORED: &[&str] = &[
    "datastore-allowed-migrations",
    "datastore-bootstrap-timeout",
    "datastore-conn-max-lifetime-jitter",
    "datastore-conn-pool-read-healthcheck-interval",
    "datastore-conn-pool-read-max-idletime",
    "datastore-conn-pool-read-max-lifetime",
    "datastore-conn-pool-read-max-lifetime-jitter",
    "datastore-conn-pool-read-max-open",
    "datastore-conn-pool-read-min-open",
    "datastore-conn-pool-write-healthcheck-interval",
    "datastore-conn-pool-write-max-idletime",
    "datastore-conn-pool-write-max-lifetime",
    "datastore-conn-pool-write-max-lifetime-jitter",
    "datastore-conn-pool-write-max-open",
    "datastore-conn-pool-write-min-open",
    "datastore-conn-uri",
    "datastore-connect-rate",
    "datastore-connection-balancing",
    "datastore-credentials-provider-name",
    "datastore-experimental-column-optimization",
    "datastore-follower-read-delay-duration",
    "datastore-gc-max-operation-time",
    "datastore-include-query-parameters-in-traces",
    "datastore-max-tx-retries",
    "datastore-migration-phase",
    "datastore-mysql-table-prefix",
    "datastore-prometheus-metrics",
    "datastore-read-replica-conn-pool-read-healthcheck-interval",
    "datastore-read-replica-conn-pool-read-max-idletime",
    "datastore-read-replica-conn-pool-read-max-lifetime",
    "datastore-read-replica-conn-pool-read-max-lifetime-jitter",
    "datastore-read-replica-conn-pool-read-max-open",
    "datastore-read-replica-conn-pool-read-min-open",
    "datastore-read-replica-conn-uri",
    "datastore-read-replica-credentials-provider-name",
    "datastore-relationship-integrity-current-key-filename",
    "datastore-relationship-integrity-current-key-id",
    "datastore-relationship-integrity-enabled",
    "datastore-relationship-integrity-expired-keys",
    "datastore-request-hedging",
    "datastore-request-hedging-initial-slow-value",
    "datastore-request-hedging-max-requests",
    "datastore-request-hedging-quantile",
    "datastore-revision-quantization-interval",
    "datastore-revision-quantization-max-staleness-percent",
    "datastore-schema-watch-heartbeat",
    "datastore-spanner-credentials",
    "datastore-spanner-emulator-host",
    "datastore-spanner-max-sessions",
    "datastore-spanner-metrics",
    "datastore-spanner-min-sessions",
    "datastore-tx-overlap-key",
    "datastore-tx-overlap-strategy",
    "datastore-watch-buffer-length",
    "datastore-watch-buffer-write-timeout",
    "datastore-watch-change-buffer-maximum-size",
    "datastore-watch-connect-timeout",
    "dispatch-cache-enabled",
    "dispatch-cache-max-cost",
    "dispatch-cache-metrics",
    "dispatch-cache-num-counters",
    "dispatch-check-permission-concurrency-limit",
    "dispatch-chunk-size",
    "dispatch-cluster-addr",
    "dispatch-cluster-cache-enabled",
    "dispatch-cluster-cache-max-cost",
    "dispatch-cluster-cache-metrics",
    "dispatch-cluster-cache-num-counters",
    "dispatch-cluster-enabled",
    "dispatch-cluster-max-conn-age",
    "dispatch-cluster-max-workers",
    "dispatch-cluster-network",
    "dispatch-cluster-tls-cert-path",
    "dispatch-cluster-tls-key-path",
    "dispatch-concurrency-limit",
    "dispatch-hashring-replication-factor",
    "dispatch-hashring-spread",
    "dispatch-lookup-resources-concurrency-limit",
    "dispatch-lookup-subjects-concurrency-limit",
    "dispatch-max-depth",
    "dispatch-reachable-resources-concurrency-limit",
    "dispatch-upstream-addr",
    "dispatch-upstream-ca-path",
    "dispatch-upstream-timeout",
    "enable-experimental-watchable-schema-cache",
    "enable-memory-protection-middleware",
    "enable-performance-insight-metrics",
    "enable-revision-heartbeat",
    "experimental-schema-mode",
    "grpc-log-requests-enabled",
    "grpc-log-responses-enabled",
    "grpc-max-conn-age",
    "grpc-max-workers",
    "log-format",
    "log-level",
    "lookup-resources-chunk-cache-enabled",
    "lookup-resources-chunk-cache-max-cost",
    "max-datastore-read-page-size",
    "metrics-tls-cert-path",
    "metrics-tls-key-path",
    "ns-cache-enabled",
    "ns-cache-max-cost",
    "ns-cache-metrics",
    "ns-cache-num-counters",
    "otel-endpoint",
    "otel-insecure",
    "otel-provider",
    "otel-sample-ratio",
    "otel-service-name",
    "otel-trace-propagator",
    "pprof-block-profile-rate",
    "pprof-mutex-profile-rate",
    "readonly-grpc-max-conn-age",
    "readonly-grpc-max-workers",
    "skip-release-check",
    "stored-schema-cache-max-cost",
    "telemetry-ca-override-path",
    "telemetry-endpoint",
    "telemetry-interval",
    "termination-log-path",
    "write-conn-acquisition-timeout",
];

/// Flags of SpiceDB that may only say what is the case here anyway: ignoring another value would open or close a port
/// against the operator's word.
const FIXED: [(&str, &str); 4] = [
    ("grpc-enabled", "true"),
    ("grpc-network", "tcp"),
    ("readonly-grpc-enabled", "true"),
    ("readonly-grpc-network", "tcp"),
];

/// Teaches a command what SpiceDB's operators write. A setting of `STONETOWN_…` is read from `SPICEDB_…` where only that is
/// set; a switch takes a value, as in `--http-enabled=false`; flags may be repeated; those without a meaning are accepted. A
/// flag that the command has itself is never ignored.
#[must_use]
pub fn accept_names(command: Command) -> Command {
    let command = command.mut_args(|arg| switch(foreign_name(arg)));
    let known: Vec<String> = command.get_arguments().filter_map(Arg::get_long).map(str::to_owned).collect();
    let is_new = |name: &str| !known.iter().any(|known| known == name);
    let ignored = IGNORED.iter().copied().filter(|name| is_new(name)).map(|name| {
        let action = ArgAction::Append;
        Arg::new(name).long(name).hide(true).num_args(0..=1).default_missing_value("true").action(action)
    });
    let fixed = FIXED.into_iter().filter(|(name, _)| is_new(name)).map(|(name, value)| {
        let parser = PossibleValuesParser::new([value]);
        let arg = Arg::new(name).long(name).hide(true).env(theirs(name)).hide_env(true);
        arg.num_args(0..=1).default_missing_value("true").value_parser(parser)
    });
    // Of a setting that is given twice the last one counts.
    command.args(ignored).args(fixed).args_override_self(true)
}

/// The settings of SpiceDB that were given and ignored, as they were given: flags first, then names of the environment.
#[must_use]
pub fn ignored(matches: &ArgMatches) -> Vec<String> {
    // A flag that the command has itself is not among the matches under this name, but under that of its field.
    let ignored = || IGNORED.iter().copied().filter(|name| matches.try_contains_id(name).is_ok());
    let flags = ignored().filter(|name| matches.contains_id(name)).map(|name| format!("--{name}"));
    let names = ignored().map(theirs).filter(|name| environment(name).is_some());
    flags.chain(names).collect()
}

/// SpiceDB's environment name of a flag.
pub(super) fn theirs(flag: &str) -> String {
    format!("{THEIRS}{}", flag.to_uppercase().replace('-', "_"))
}

/// What the environment says, if it says anything. Compose files leave names empty that they do not set.
pub(super) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Reads an argument from SpiceDB's name where ours is not set.
fn foreign_name(arg: Arg) -> Arg {
    let ours = arg.get_env().and_then(|name| name.to_str()).map(str::to_owned);
    let Some(ours) = ours else { return arg };
    let Some(rest) = ours.strip_prefix(OURS) else { return arg };
    let theirs = format!("{THEIRS}{rest}");
    if environment(&ours).is_none() && environment(&theirs).is_some() { arg.env(theirs) } else { arg }
}

/// Lets a switch be turned off as well: `--flag`, `--flag=true`, `--flag=false`.
fn switch(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    let parser = BoolishValueParser::new();
    let arg = arg.action(ArgAction::Set).value_parser(parser).value_name("BOOL").hide_possible_values(true);
    arg.num_args(0..=1).require_equals(true).default_missing_value("true").default_value("false")
}
