/** TLS on both ends, for tests: a server with a certificate for localhost, and a client that trusts its authority. */

import type { AddressInfo } from "node:net";
import { createServer } from "node:tls";
import {
  type Address,
  type ByteStream,
  type Listener,
  type Network,
  SocketStream,
  TlsNetwork,
  type TlsOptions,
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

const serverCertificate = `-----BEGIN CERTIFICATE-----
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

const serverKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgk4wKajGOJTr2CV90
sRErlQMeWAp68aox5tR3QXTKEaWhRANCAASOu/8OgrJSffulLnh1YqUOtWKEhmy0
/Doz1vO/0IGfNLMFPrh01sOrNb4quKrotDsbXp8D1mRSVdR61+FC20gS
-----END PRIVATE KEY-----
`;

/** What the client end shows and trusts; the test authority unless told. */
export class TlsTestNetwork implements Network {
  readonly #client: TlsNetwork;

  constructor(options: () => TlsOptions = () => ({ ca: testAuthority })) {
    this.#client = new TlsNetwork(options);
  }

  connect(address: Address): ByteStream {
    return this.#client.connect(address);
  }

  listen(address: Address, onStream: (stream: ByteStream) => void): Promise<Listener> {
    return new Promise((resolve, reject) => {
      const options = { cert: serverCertificate, key: serverKey, allowHalfOpen: true };
      const server = createServer(options, (socket) => {
        onStream(new SocketStream(socket, `${socket.remoteAddress}:${socket.remotePort}`));
      });
      server.once("error", reject);
      // A client that breaks off the handshake is the client's business.
      server.on("tlsClientError", () => {});
      server.listen(address.port, address.host, () => {
        const { port } = server.address() as AddressInfo;
        const close = () => new Promise<void>((done) => server.close(() => done()));
        resolve({ address: { host: address.host, port }, close });
      });
    });
  }
}
