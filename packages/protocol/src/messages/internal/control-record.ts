/** Control records: markers in a partition's log that end a transaction. */

import { defineMessage, int16, int32 } from "../../schema.ts";

/** The key of a control record. type: 0 aborts, 1 commits. */
export const controlRecordKey = defineMessage(
  "ControlRecordTypeSchema",
  { type: int16() },
  { min: 0, max: 0 },
  Number.POSITIVE_INFINITY,
);

/** The value of a control record of type 0 or 1. */
export const endTxnMarker = defineMessage(
  "EndTxnMarker",
  { coordinatorEpoch: int32() },
  { min: 0, max: 0 },
  Number.POSITIVE_INFINITY,
);
