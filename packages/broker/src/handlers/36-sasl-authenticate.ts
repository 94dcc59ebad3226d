/** SaslAuthenticate: one step of a login. v0–2. A login that fails is answered late, and ends its connection. */

import { KafkaError, saslAuthenticateApi } from "@millrace/protocol";
import { defineHandler, errorMessageOf, errorNumberOf, NO_ERROR } from "../handler.ts";

const NO_BYTES = Buffer.alloc(0);

export const saslAuthenticateHandler = defineHandler({
  api: saslAuthenticateApi,
  versions: [0, 2],

  async handle({ authBytes }, { broker, remote, sasl, endAfterAnswer }) {
    try {
      if (sasl === null) throw new KafkaError("ILLEGAL_SASL_STATE", "nobody has to log in here");
      const { answer, sessionLifetimeMs } = await sasl.authenticate(authBytes);
      return { errorCode: NO_ERROR, authBytes: answer, sessionLifetimeMs: BigInt(sessionLifetimeMs) };
    } catch (error) {
      const errorCode = errorNumberOf(error, "log in", broker.logger);
      broker.logger.warn({ remote, reason: errorMessageOf(error) }, "a login failed");
      endAfterAnswer();
      return { errorCode, errorMessage: errorMessageOf(error), authBytes: NO_BYTES };
    }
  },

  errorResponse: (_request, errorCode) => ({ errorCode, authBytes: NO_BYTES }),
});
