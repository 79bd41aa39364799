#![allow(clippy::unwrap_used)]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// An authority of its own.
fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for localhost from an authority, and its key, as PEM.
fn leaf(authority: &CertifiedIssuer<'static, KeyPair>, expires: i32) -> (String, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = rcgen::date_time_ymd(expires, 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

/// The files of a server in a directory.
struct Folder(TempDir);

impl Folder {
    fn with(pair: &(String, String)) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write(pair);
        folder
    }

    fn write(&self, (cert, key): &(String, String)) {
        std::fs::write(self.0.path().join("cert.pem"), cert).unwrap();
        std::fs::write(self.0.path().join("key.pem"), key).unwrap();
    }

    fn files(&self) -> TlsFiles {
        let file = |name| self.0.path().join(name);
        TlsFiles { cert: file("cert.pem"), key: file("key.pem"), client_ca: None }
    }
}

/// Shakes hands over a pipe, says a byte each way, and returns the server's certificate as the client sees it.
async fn meet(tls: &Tls, trusted: &str, identity: Option<&(String, String)>) -> std::io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    let (near, far) = tokio::io::duplex(64 << 10);
    let acceptor = tls.acceptor();
    let server = tokio::spawn(async move {
        let mut stream = acceptor.accept(far).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.shutdown().await
    });
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), near).await?;
    stream.write_u8(7).await?;
    assert_eq!(stream.read_u8().await?, 7);
    server.await.unwrap()?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_without_a_restart() {
    let authority = authority("ours");
    let (first, second) = (leaf(&authority, 2040), leaf(&authority, 2041));
    let folder = Folder::with(&first);
    let tls = Tls::open(folder.files()).unwrap();
    assert_eq!(meet(&tls, &authority.pem(), None).await.unwrap(), der(&first.0));
    let expires_at = tls.state().expires_at;
    tls.look();
    assert_eq!(tls.state(), TlsState { expires_at, reloads: 0, reloads_refused: 0 });

    folder.write(&second);
    tls.look();
    assert_eq!(meet(&tls, &authority.pem(), None).await.unwrap(), der(&second.0));
    assert_eq!(tls.state(), TlsState { expires_at: expires_at + 366 * 86_400, reloads: 1, reloads_refused: 0 });
}

#[tokio::test]
async fn a_new_pair_that_does_not_match_is_refused_once_and_the_old_goes_on() {
    let authority = authority("ours");
    let (first, second) = (leaf(&authority, 2040), leaf(&authority, 2041));
    let folder = Folder::with(&first);
    let tls = Tls::open(folder.files()).unwrap();

    // Half of a renewal: the certificate is new, its key not there yet.
    folder.write(&(second.0.clone(), first.1.clone()));
    tls.look();
    tls.look();
    assert_eq!((tls.state().reloads, tls.state().reloads_refused), (0, 1));
    assert_eq!(meet(&tls, &authority.pem(), None).await.unwrap(), der(&first.0));

    std::fs::remove_file(folder.files().key).unwrap();
    tls.look();
    assert_eq!((tls.state().reloads, tls.state().reloads_refused), (0, 2));

    folder.write(&second);
    tls.look();
    assert_eq!((tls.state().reloads, tls.state().reloads_refused), (1, 2));
    assert_eq!(meet(&tls, &authority.pem(), None).await.unwrap(), der(&second.0));
}

#[tokio::test]
async fn with_a_client_authority_only_its_certificates_come_in_and_it_can_be_replaced() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let folder = Folder::with(&leaf(&ours, 2040));
    let client_ca = folder.0.path().join("clients.pem");
    std::fs::write(&client_ca, ours.pem()).unwrap();
    let tls = Tls::open(TlsFiles { client_ca: Some(client_ca.clone()), ..folder.files() }).unwrap();

    let (good, bad) = (leaf(&ours, 2040), leaf(&theirs, 2040));
    assert!(meet(&tls, &ours.pem(), Some(&good)).await.is_ok());
    assert!(meet(&tls, &ours.pem(), Some(&bad)).await.is_err());
    assert!(meet(&tls, &ours.pem(), None).await.is_err());

    std::fs::write(&client_ca, theirs.pem()).unwrap();
    tls.look();
    assert!(meet(&tls, &ours.pem(), Some(&good)).await.is_err());
    assert!(meet(&tls, &ours.pem(), Some(&bad)).await.is_ok());
}

#[test]
fn what_is_wrong_with_the_files_is_said_by_name() {
    let authority = authority("ours");
    let (first, second) = (leaf(&authority, 2040), leaf(&authority, 2041));
    let refusal = |folder: &Folder| Tls::open(folder.files()).err().unwrap().to_string();

    let folder = Folder::with(&(first.0.clone(), second.1.clone()));
    assert!(refusal(&folder).contains("key.pem`: is not the key of the certificate in `"), "{}", refusal(&folder));
    folder.write(&(first.0.clone(), "no key".to_owned()));
    assert!(refusal(&folder).contains("key.pem`: holds no private key"), "{}", refusal(&folder));
    folder.write(&("no certificate".to_owned(), first.1.clone()));
    assert!(refusal(&folder).contains("cert.pem`: holds no certificate"), "{}", refusal(&folder));
    std::fs::remove_file(folder.files().key).unwrap();
    assert!(refusal(&folder).contains("key.pem`: cannot be read: No such file"), "{}", refusal(&folder));
}
