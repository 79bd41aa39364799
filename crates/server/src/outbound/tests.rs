#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn addresses_of_special_purposes_are_not_public_however_they_are_written() {
    for host in [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        // 127.0.0.1 in other words.
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:8.8.8.8]",
        "[fc00::1]",
        "[fe80::1]",
        "[ff02::1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[2001:db8::1]",
    ] {
        assert_eq!(place(&format!("https://{host}/"), false), Err(PlaceError::Private), "{host}");
        assert!(place(&format!("https://{host}/"), true).is_ok(), "{host}");
    }
    for host in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "[2606:4700::1111]", "idp.example.com"] {
        assert!(place(&format!("https://{host}/"), false).is_ok(), "{host}");
    }
    assert_eq!(place("http://8.8.8.8/", true), Err(PlaceError::Plain));
    assert_eq!(place("https://user:secret@idp.example.com/", true), Err(PlaceError::Extra));
}

#[test]
fn a_name_that_leads_elsewhere_besides_leads_nowhere() {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
    let public = addresses(&["8.8.8.8:0", "[2606:4700::1111]:0"]);
    assert_eq!(judged(public.clone(), false), Ok(public));
    for found in [["8.8.8.8:0", "127.0.0.1:0"], ["169.254.169.254:0", "8.8.8.8:0"], ["8.8.8.8:0", "[::ffff:8.8.4.4]:0"]]
    {
        assert_eq!(judged(addresses(&found), false), Err(PlaceError::Private), "{found:?}");
        assert_eq!(judged(addresses(&found), true), Ok(addresses(&found)));
    }
}
