//! How the command line reaches a server: through a proxy, and by TLS that is not verified.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use stonetown_tests::client::Client;
use stonetown_tests::home::{Home, err, out};
use stonetown_tests::server::{KEY, Server, Store, binary};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A SOCKS5 proxy that leads one name to a server and refuses every other; it may want a user and a password.
async fn proxy(name: &'static str, server: String, user: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(lead(client, name, server.clone(), user));
        }
    });
    address
}

async fn lead(mut client: TcpStream, name: &str, server: String, user: Option<&[u8]>) -> std::io::Result<()> {
    client.read_u8().await?;
    let mut methods = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut methods).await?;
    client.write_all(&[5, if user.is_some() { 2 } else { 0 }]).await?;
    if let Some(user) = user {
        let mut given = vec![0; user.len()];
        client.read_exact(&mut given).await?;
        client.write_all(&[1, u8::from(given != user)]).await?;
    }
    // Version, connect, reserved, a name: then its length, itself and the port.
    let mut head = [0; 5];
    client.read_exact(&mut head).await?;
    let mut host = vec![0; head[4].into()];
    client.read_exact(&mut host).await?;
    client.read_u16().await?;
    let known = head[..4] == [5, 1, 0, 3] && host == name.as_bytes();
    client.write_all(&[5, if known { 0 } else { 4 }, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    if known {
        copy_bidirectional(&mut client, &mut TcpStream::connect(server).await?).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_leads_to_a_server_that_only_it_can_name() {
    const NAME: &str = "stonetown.invalid";
    let home = Home::new();
    let server = Server::start(&binary().unwrap(), Store::Memory, &[], &[]).await.unwrap();
    Client::connect(&server.address).await.unwrap().write_schema("definition user {}").await.unwrap();
    let open = proxy(NAME, server.address.clone(), None).await;
    // Version 1, length and text of user and password.
    let closed = proxy(NAME, server.address.clone(), Some(b"\x01\x03ann\x04s@fe")).await;
    let read = async |endpoint: &str, proxy: &str| {
        home.run(&["schema", "read", "--insecure", "--token", KEY, "--endpoint", endpoint, "--proxy", proxy]).await
    };
    let endpoint = format!("{NAME}:50051");
    assert!(out(&read(&endpoint, &open).await).contains("definition user"));
    assert!(out(&read(&endpoint, &format!("socks5://ann:s%40fe@{closed}")).await).contains("definition user"));
    let mut by_environment = home.command(&["schema", "read", "--insecure", "--token", KEY, "--endpoint", &endpoint]);
    assert!(out(&by_environment.env("ZED_PROXY", &open).output().await.unwrap()).contains("definition user"));

    let wrong = read(&endpoint, &format!("socks5://ann:secret@{closed}")).await;
    assert!(err(&wrong).contains("the proxy") && err(&wrong).contains("--proxy"), "{}", err(&wrong));
    assert!(!err(&wrong).contains("secret"), "{}", err(&wrong));
    let unknown = read("elsewhere.invalid:50051", &open).await;
    assert!(err(&unknown).contains("does not lead to elsewhere.invalid:50051"), "{}", err(&unknown));
    let nobody = read(&endpoint, "127.0.0.1:1").await;
    assert!(err(&nobody).contains("the proxy 127.0.0.1:1"), "{}", err(&nobody));
    let other = read(&endpoint, "http://127.0.0.1:3128").await;
    assert_eq!(other.status.code(), Some(2));
    assert!(err(&other).contains("only SOCKS5"), "{}", err(&other));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_is_not_verified_is_asked_for_and_warned_of() {
    let home = Home::new();
    let made = rcgen::generate_simple_self_signed(vec!["another.example.com".to_owned()]).unwrap();
    let cert = home.write("cert.pem", &made.cert.pem());
    let key = home.write("key.pem", &made.signing_key.serialize_pem());
    let flags = ["--grpc-tls-cert-path", &cert, "--grpc-tls-key-path", &key];
    let server = Server::start(&binary().unwrap(), Store::Memory, &flags, &[]).await.unwrap();
    let schema = home.write("schema.zed", "definition user {}");

    let verified = home.at(&server, &["schema", "write", &schema, "--certificate-path", &cert]).await;
    assert!(err(&verified).contains("--hostname-override"), "{}", err(&verified));
    let unverified = home.at(&server, &["schema", "write", &schema, "--no-verify-ca"]).await;
    out(&unverified);
    assert!(err(&unverified).contains("is not verified"), "{}", err(&unverified));
    let address = &server.address;
    let through = proxy("stonetown.invalid", address.clone(), None).await;
    let both =
        ["schema", "read", "--no-verify-ca", "--proxy", &through, "--endpoint", "stonetown.invalid:1", "--token", KEY];
    assert!(out(&home.run(&both).await).contains("definition user"));

    out(&home.run(&["context", "set", "lax", address, KEY, "--no-verify-ca"]).await);
    assert!(out(&home.run(&["context", "list"]).await).contains("TLS, not verified"));
    assert!(out(&home.run(&["schema", "read"]).await).contains("definition user"));
    let plain = home.run(&["schema", "read", "--insecure", "--no-verify-ca"]).await;
    assert_eq!(plain.status.code(), Some(2), "{}", err(&plain));
}
