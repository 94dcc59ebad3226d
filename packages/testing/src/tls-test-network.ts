/** TLS on both ends, for tests: a server with a certificate for localhost, and a client that trusts its authority. */

import {
  type Address,
  type ByteStream,
  type Listener,
  type Network,
  TlsNetwork,
  type TlsOptions,
  TlsServerNetwork,
  type TlsServerOptions,
} from "@millrace/base";

/** Good until 2120 for localhost and 127.0.0.1. The key guards nothing: it is for tests only, and public. */
export const testAuthority = `-----BEGIN CERTIFICATE-----
MIIBdDCCARqgAwIBAgIBATAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdNaWxscmFj
ZSB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw
MFowIjEgMB4GA1UEAwwXTWlsbHJhY2UgdGVzdCBhdXRob3JpdHkwWTATBgcqhkjO
PQIBBggqhkjOPQMBBwNCAARzFUeHY3lJsUl901IHg6vrQfLQdutp+ctP1iC/dF+R
NRuVzBWE/0k9TH70MMo0OyZGAvArwgrGoiIrimKu6nUvoz8wPTAPBgNVHRMBAf8E
BTADAQH/MAsGA1UdDwQEAwICBDAdBgNVHQ4EFgQUUuaaYbe8oAE3+0LyGO7By05y
jpEwCgYIKoZIzj0EAwIDSAAwRQIgXQquatwyGd2cuDkJzprcq34tXjJKuep4JYCa
ClpHS5ICIQCyatVrYYK/SyzVBOLnExKvrhl8HDaHQvFhO62wi5ajqQ==
-----END CERTIFICATE-----
`;

/** For localhost, from testAuthority. */
export const serverCertificate = `-----BEGIN CERTIFICATE-----
MIIBjzCCATagAwIBAgIBAjAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdNaWxscmFj
ZSB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw
MFowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAEjrv/DoKyUn37pS54dWKlDrVihIZstPw6M9bzv9CBnzSzBT64dNbDqzW+Kriq
6LQ7G16fA9ZkUlXUetfhQttIEqNpMGcwCQYDVR0TBAIwADAaBgNVHREEEzARggls
b2NhbGhvc3SHBH8AAAEwHQYDVR0OBBYEFJ2wM9OJ+sxOattUKseaaG366FkRMB8G
A1UdIwQYMBaAFFLmmmG3vKABN/tC8hjuwctOco6RMAoGCCqGSM49BAMCA0cAMEQC
IA+aAfAbcAA58OKkXuv1mp1sOYS96697XH4Z5vXPj5x/AiA+V/DlTFQONTparasV
W39su474lOzfAU65J+xgQ3AHQw==
-----END CERTIFICATE-----
`;

export const serverKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgk4wKajGOJTr2CV90
sRErlQMeWAp68aox5tR3QXTKEaWhRANCAASOu/8OgrJSffulLnh1YqUOtWKEhmy0
/Doz1vO/0IGfNLMFPrh01sOrNb4quKrotDsbXp8D1mRSVdR61+FC20gS
-----END PRIVATE KEY-----
`;

/** Whose certificates clients show. */
export const testClientAuthority = `-----BEGIN CERTIFICATE-----
MIIBqTCCAU6gAwIBAgITCzMUd+1Nui8vxfcLn3f0ewpqtTAKBggqhkjOPQQDAjAp
MScwJQYDVQQDDB5NaWxscmFjZSB0ZXN0IGNsaWVudCBhdXRob3JpdHkwIBcNMjYx
MTIxMTA1NTQwWhgPMjExOTEyMjQxMDU1NDBaMCkxJzAlBgNVBAMMHk1pbGxyYWNl
IHRlc3QgY2xpZW50IGF1dGhvcml0eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BJw1E1qE6JYxpcAhH0VrKS3FNvU5RAGAlWMC1z8KgL2WK9dGV29QqCBGZJV2oRT+
jhTQjhHH9O/VxtzmAiSIS8qjUzBRMB0GA1UdDgQWBBSGMKKAgIBGcrzMqJ0ZDqhL
wZAjejAfBgNVHSMEGDAWgBSGMKKAgIBGcrzMqJ0ZDqhLwZAjejAPBgNVHRMBAf8E
BTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQCXjgDunYjVGSWClPL+gu6+cvvd7De4
5NiCy6z1l00yEgIhAP5giDvS2/zc1laKMUzeTmhPtC4Qe2G2rdkgdfhcYDl/
-----END CERTIFICATE-----
`;

/** O=Millrace, OU=tests, CN=alice; for localhost too, so that a server may show it instead of its own. */
export const testClientCertificate = `-----BEGIN CERTIFICATE-----
MIIByTCCAW+gAwIBAgIUFIuencf3Q0ZUzuZivU/Dnqcb3YwwCgYIKoZIzj0EAwIw
KTEnMCUGA1UEAwweTWlsbHJhY2UgdGVzdCBjbGllbnQgYXV0aG9yaXR5MCAXDTI2
MTEyMTEwNTU0MFoYDzIxMTkxMjI0MTA1NTQwWjAzMREwDwYDVQQKDAhNaWxscmFj
ZTEOMAwGA1UECwwFdGVzdHMxDjAMBgNVBAMMBWFsaWNlMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEoqGYK/6Sseam8rpjiH2edMjVrceI1tUjqtiuNnWV7AepQlvA
Cqxj2C6qhwhkRtloHLSWgKMgh3EF1xQ/eWx/BqNpMGcwCQYDVR0TBAIwADAaBgNV
HREEEzARgglsb2NhbGhvc3SHBH8AAAEwHQYDVR0OBBYEFKavfbfVhQTwsf7dJSyx
N76nkjU8MB8GA1UdIwQYMBaAFIYwooCAgEZyvMyonRkOqEvBkCN6MAoGCCqGSM49
BAMCA0gAMEUCIQCK6x1wvlJ/Gs5YAYNcgTc49ZO3BfNqXVfj/3vDEAKTYAIgN4Dd
OIBYvvtJ1MTLggBOjmoocHhxbZPdlEVNxrI5aKA=
-----END CERTIFICATE-----
`;

export const testClientKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJngHuvfaRYsn4ok/
TqOBbm5siW1ag3w0GSzg7nYYyfChRANCAASioZgr/pKx5qbyumOIfZ50yNWtx4jW
1SOq2K42dZXsB6lCW8AKrGPYLqqHCGRG2WgctJaAoyCHcQXXFD95bH8G
-----END PRIVATE KEY-----
`;

/** What the client end shows and trusts; the test authority unless told. */
export class TlsTestNetwork implements Network {
  readonly #client: TlsNetwork;
  readonly #server = new TlsServerNetwork(() => serverOptions);

  constructor(options: () => TlsOptions = () => ({ ca: testAuthority })) {
    this.#client = new TlsNetwork(options);
  }

  connect(address: Address): ByteStream {
    return this.#client.connect(address);
  }

  listen(address: Address, onStream: (stream: ByteStream) => void): Promise<Listener> {
    return this.#server.listen(address, onStream);
  }
}

const serverOptions: TlsServerOptions = {
  cert: serverCertificate,
  key: serverKey,
  clientCa: null,
  clientAuth: "none",
};
