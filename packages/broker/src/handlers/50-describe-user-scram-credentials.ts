/** DescribeUserScramCredentials: who may log in with SCRAM, without what it takes to. Nobody is added this way. v0. */

import { describeUserScramCredentialsApi, KafkaError } from "@millrace/protocol";
import { defineHandler, errorMessageOf, errorNumberOf, NO_ERROR, type RequestContext } from "../handler.ts";
import { ITERATIONS, type ScramMechanism } from "../security/scram.ts";

/** Source: KIP-554. */
const MECHANISM_NUMBERS: Readonly<Record<ScramMechanism, number>> = { "SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2 };

export const describeUserScramCredentialsHandler = defineHandler({
  api: describeUserScramCredentialsApi,
  versions: [0, 0],

  handle({ users }, context) {
    context.access.expectCluster("DESCRIBE");
    const known = context.broker.security.userNames();
    const asked = users === null || users.length === 0 ? known : users.map(({ name }) => name);
    return { errorCode: NO_ERROR, results: [...new Set(asked)].map((user) => describe(user, asked, known, context)) };
  },

  errorResponse: (_request, errorCode) => ({ errorCode, results: [] }),
});

function describe(user: string, asked: readonly string[], known: readonly string[], { broker }: RequestContext) {
  try {
    if (asked.indexOf(user) !== asked.lastIndexOf(user)) {
      throw new KafkaError("DUPLICATE_RESOURCE", `user ${user} is asked for twice`);
    }
    if (!known.includes(user)) throw new KafkaError("RESOURCE_NOT_FOUND", `there is no user ${user}`);
    const credentialInfos = broker.options.saslMechanisms.flatMap((mechanism) =>
      mechanism === "PLAIN" ? [] : [{ mechanism: MECHANISM_NUMBERS[mechanism], iterations: ITERATIONS }],
    );
    return { user, errorCode: NO_ERROR, credentialInfos };
  } catch (error) {
    const errorCode = errorNumberOf(error, `describe user ${user}`, broker.logger);
    return { user, errorCode, errorMessage: errorMessageOf(error), credentialInfos: [] };
  }
}
