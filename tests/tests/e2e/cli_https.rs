//! The commands over https: through a proxy that ends TLS, as before a host that others may reach.

use std::{fs, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use soloist_tests::Host;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::cli::{Said, soloist};

/// An authority of one's own.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap()
}

/// Serves a host by TLS under the name `localhost`, with a certificate of this authority, until the task is stopped.
async fn proxy(host: &Host, authority: &CertifiedIssuer<'static, KeyPair>) -> (u16, JoinHandle<()>) {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![leaf.der().clone()], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = host.address();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                // Who does not trust the certificate goes away.
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let mut inside = TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    (port, task)
}

/// Runs a command with these variables on a thread of its own: the proxy is this process.
async fn run(arguments: &[&str], variables: &[(&'static str, String)]) -> Said {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let variables = variables.to_vec();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        soloist(&arguments, None, &variables)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// An authority's certificate as PEM.
fn pem(authority: &CertifiedIssuer<'static, KeyPair>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for three in authority.der().chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > three.len() { '=' } else { char::from(digit) });
        }
    }
    text + "\n-----END CERTIFICATE-----\n"
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_host_behind_tls_is_managed_with_an_authority_of_ones_own() {
    let host = Host::builder().with_keys().start().await;
    let (own, other) = (authority(), authority());
    let (port, proxy) = proxy(&host, &own).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| written(folder.path(), name, text);
    let (trusted, foreign) = (file("own.pem", &pem(&own)), file("other.pem", &pem(&other)));
    let both = file("both.pem", &format!("{}\n{}", pem(&other), pem(&own)));
    let key = ("SOLOIST_KEY", host.key("system durabletask_extension"));
    let at = |name: &str| vec![("SOLOIST_URL", format!("https://{name}:{port}")), key.clone()];
    let with = |name: &str, file: &str| [at(name), vec![("SOLOIST_CA_FILE", file.to_owned())]].concat();

    let start = ["instances", "start", "E1_HelloSequence", "--id", "a", "--wait", "--timeout", "60s"];
    run(&start, &with("localhost", &trusted)).await.with(0);
    let flag = ["instances", "show", "a", "--format", "json", "--ca-file", &both];
    assert_eq!(run(&flag, &at("localhost")).await.with(0).json()["runtimeStatus"], "Completed");
    run(&["durable", "get-runtime-status", "--id", "a"], &with("localhost", &trusted)).await.with(0);
    let keyless = [("SOLOIST_URL", format!("https://localhost:{port}")), ("SOLOIST_CA_FILE", trusted.clone())];
    run(&["instances", "show", "a"], &keyless).await.with(6);

    // The public authorities do not know it, nor does another one, and it is not the certificate of another name.
    for variables in [at("localhost"), with("localhost", &foreign), with("127.0.0.1", &trusted)] {
        let said = run(&["instances", "show", "a"], &variables).await.with(5);
        assert!(said.err.contains("certificate"), "{said:?}");
        assert_eq!(said.err.contains("--ca-file"), !variables[0].1.contains("127"), "{said:?}");
        assert!(!said.err.contains(&key.1), "{said:?}");
    }
    // A file that vouches for nobody is refused before anything is sent.
    for (name, text, part) in [
        ("empty.pem", "", "holds no certificate"),
        ("text.pem", "no certificate", "holds no certificate"),
        ("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n", "is no PEM file"),
        ("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
    ] {
        let said = run(&["instances", "list"], &with("localhost", &file(name, text))).await.with(2);
        assert!(said.err.contains(name) && said.err.contains(part), "{said:?}");
    }
    run(&["instances", "list"], &with("localhost", "/no/such/file")).await.with(2);
    proxy.abort();
}
