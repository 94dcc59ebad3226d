/** DescribeAcls: that there are none here, in the words in which tools expect it. v1–3. */

import { describeAclsApi } from "@millrace/protocol";
import { defineHandler, errorNumber } from "../handler.ts";

export const describeAclsHandler = defineHandler({
  api: describeAclsApi,
  versions: [1, 3],

  handle: () => ({
    errorCode: errorNumber("SECURITY_DISABLED"),
    errorMessage: "this broker has no access control lists: whoever may come in may do everything",
    resources: [],
  }),

  errorResponse: (_request, errorCode) => ({ errorCode, resources: [] }),
});
