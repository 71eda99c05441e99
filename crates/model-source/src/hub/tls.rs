//! The TLS set-up.

use std::sync::{Arc, OnceLock};

use reqwest::Url;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::SourceError;

/// The TLS set-up, made once: the certificates that the system trusts, and `ring` for the arithmetic.
pub(super) fn tls(endpoint: &Url) -> Result<ClientConfig, SourceError> {
    static SYSTEM: OnceLock<Result<ClientConfig, String>> = OnceLock::new();
    let builder = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
    };
    let system = SYSTEM.get_or_init(|| {
        let config = builder().and_then(BuilderVerifierExt::with_platform_verifier);
        config.map(|config| config.with_no_client_auth()).map_err(|error| error.to_string())
    });
    match system {
        Ok(config) => Ok(config.clone()),
        // A plain endpoint needs no certificates.
        Err(_) if endpoint.scheme() == "http" => builder()
            .map(|config| config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
            .map_err(|error| unsupported(&error.to_string())),
        Err(reason) => Err(unsupported(reason)),
    }
}

fn unsupported(reason: &str) -> SourceError {
    let reason = format!("{reason}; install the system's CA certificates or set SSL_CERT_FILE");
    SourceError::Unsupported { what: "https".to_owned(), reason }
}
