//! What a client's certificate says of its holder.

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use stonetown_identity::CertificateNames;
use stonetown_tuple::Timestamp;
use x509_cert::certificate::{Certificate, TbsCertificate};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Names of one certificate that are looked up at most; with more it has none.
const NAMES_MAX: usize = 32;

/// The names in a certificate that the authority of clients vouches for. One that cannot be read has none, and has ended.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> CertificateNames {
    let mut thumbprint = [0; 32];
    thumbprint.copy_from_slice(digest(&SHA256, certificate).as_ref());
    CertificateNames { thumbprint, ..read(certificate).unwrap_or_default() }
}

fn read(certificate: &CertificateDer<'_>) -> Option<CertificateNames> {
    let certificate = Certificate::from_der(certificate).ok()?.tbs_certificate;
    let ends = i64::try_from(certificate.validity.not_after.to_unix_duration().as_secs()).ok()?;
    // The last second is still its own.
    let expires_at = Timestamp::from_second(ends.checked_add(1)?).ok()?;
    let (spiffe, dns) = alternatives(&certificate).unwrap_or_default();
    Some(CertificateNames { spiffe, dns, expires_at, ..CertificateNames::default() })
}

/// SPIFFE ids and DNS names.
fn alternatives(certificate: &TbsCertificate) -> Option<(Vec<String>, Vec<String>)> {
    let (_, names) = certificate.get::<SubjectAltName>().ok()??;
    let (mut uris, mut dns) = (Vec::new(), Vec::new());
    for name in names.0 {
        match name {
            GeneralName::UniformResourceIdentifier(uri) => uris.push(uri.as_str().to_owned()),
            GeneralName::DnsName(name) => dns.push(name.as_str().to_owned()),
            _ => {}
        }
    }
    if uris.len() + dns.len() > NAMES_MAX {
        return None;
    }
    let is_spiffe = uris.iter().any(|uri| uri.starts_with("spiffe://"));
    Some((if is_spiffe { uris } else { Vec::new() }, dns))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn names_of(alternatives: Vec<SanType>) -> CertificateNames {
        let mut params = CertificateParams::default();
        params.subject_alt_names = alternatives;
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        names(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn spiffe_ids_and_dns_names_are_read_with_the_end_of_the_certificate() {
        let found = names_of(vec![uri("spiffe://example.org/build"), dns("build.example.org")]);
        assert_eq!(found.spiffe, ["spiffe://example.org/build"]);
        assert_eq!(found.dns, ["build.example.org"]);
        assert_eq!(found.expires_at, "2040-01-01T00:00:01Z".parse().unwrap());
        // Other URIs are no names of callers.
        let found = names_of(vec![uri("https://example.org"), dns("a.example.org"), dns("b.example.org")]);
        assert_eq!((found.spiffe.len(), found.dns.len()), (0, 2));
    }

    #[test]
    fn a_second_uri_beside_a_spiffe_id_is_kept_so_that_neither_counts() {
        let found = names_of(vec![uri("spiffe://example.org/build"), uri("https://example.org")]);
        assert_eq!(found.spiffe.len(), 2);
    }

    #[test]
    fn what_has_no_names_too_many_or_no_form_names_nobody() {
        let nobody = |found: &CertificateNames| found.spiffe.is_empty() && found.dns.is_empty();
        assert!(nobody(&names_of(Vec::new())));
        let many: Vec<_> = (0..=NAMES_MAX).map(|number| dns(&format!("{number}.example.org"))).collect();
        assert_eq!(names_of(many[1..].to_vec()).dns.len(), NAMES_MAX);
        assert!(nobody(&names_of(many)));
        let unreadable = names(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]));
        assert_eq!((nobody(&unreadable), unreadable.expires_at), (true, Timestamp::default()));
    }

    #[test]
    fn a_certificate_has_its_end_and_its_thumbprint_also_without_names() {
        let (one, other) = (names_of(Vec::new()), names_of(Vec::new()));
        assert_eq!(one.expires_at, "2040-01-01T00:00:01Z".parse().unwrap());
        assert_ne!(one.thumbprint, other.thumbprint);
    }
}
