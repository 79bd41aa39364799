//! Called by the name `grpc_health_probe`, the binary takes the arguments of the probe that SpiceDB's image has under that name,
//! so that the health checks of existing compose files and manifests work: they are put into those of `stonetown health`.

use std::ffi::OsString;
use std::path::Path;

/// The name.
const NAME: &str = "grpc_health_probe";

/// Flags with a value, and what they are here; nothing where they mean nothing: `health` asks once and does not wait for long.
const VALUES: [(&str, Option<&str>); 10] = [
    ("addr", Some("--endpoint")),
    ("tls-ca-cert", Some("--certificate-path")),
    ("tls-server-name", Some("--hostname-override")),
    ("tls-client-cert", Some("--client-cert-path")),
    ("tls-client-key", Some("--client-key-path")),
    ("service", None),
    ("connect-timeout", None),
    ("rpc-timeout", None),
    ("rpc-header", None),
    ("user-agent", None),
];

/// The arguments as this binary has them; those of any other name as they are.
///
/// # Errors
/// For arguments that have no meaning here, such as to trust any certificate.
pub(crate) fn translated(args: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let is_probe = args.first().and_then(|name| Path::new(name).file_name()).is_some_and(|name| name == NAME);
    if !is_probe {
        return Ok(args);
    }
    let mut given = args.into_iter();
    let mut own: Vec<OsString> = given.next().into_iter().collect();
    own.push("health".into());
    let (mut tls, mut service) = (false, None);
    while let Some(arg) = given.next() {
        let refused = || format!("{NAME}: `{}` means nothing here", arg.to_string_lossy());
        let text = arg.to_str().ok_or_else(refused)?;
        let flag = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).ok_or_else(refused)?;
        let (flag, value) = flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value.to_owned())));
        if matches!(flag, "tls" | "v") {
            tls |= flag == "tls" && value.as_deref() != Some("false");
            continue;
        }
        let (_, ours) = VALUES.iter().find(|(name, _)| *name == flag).ok_or_else(refused)?;
        let value = value.or_else(|| given.next()?.into_string().ok()).ok_or_else(refused)?;
        match ours {
            Some("--endpoint") => own.extend(["--endpoint".into(), address(&value).into()]),
            Some(ours) => own.extend([(*ours).into(), value.into()]),
            None if flag == "service" => service = Some(value),
            None => {}
        }
    }
    if !tls {
        own.push("--insecure".into());
    }
    own.extend(service.filter(|service| !service.is_empty()).map(OsString::from));
    Ok(own)
}

/// An address with a host: the probe takes `:50051` for this machine.
fn address(given: &str) -> String {
    if given.starts_with(':') { format!("127.0.0.1{given}") } else { given.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<String, String> {
        let own = translated(text.split(' ').map(OsString::from).collect())?;
        Ok(own.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn arguments_of_the_probe_are_those_of_health() {
        for (given, expected) in [
            ("grpc_health_probe -addr=:50051", "grpc_health_probe health --endpoint 127.0.0.1:50051 --insecure"),
            (
                "/usr/local/bin/grpc_health_probe -v --addr a:1",
                "/usr/local/bin/grpc_health_probe health --endpoint a:1 --insecure",
            ),
            (
                "grpc_health_probe -addr=a:1 -tls -tls-ca-cert ca.pem -tls-server-name=b -connect-timeout 5s -service=s",
                "grpc_health_probe health --endpoint a:1 --certificate-path ca.pem --hostname-override b s",
            ),
            ("stonetown -addr=:50051", "stonetown -addr=:50051"),
        ] {
            assert_eq!(line(given).unwrap(), expected);
        }
        for given in ["-tls-no-verify", "-spiffe", "serve", "-addr"] {
            assert!(line(&format!("grpc_health_probe {given}")).unwrap_err().contains(given));
        }
    }
}
