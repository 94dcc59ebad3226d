/** What answers have in common. */

export const PROBLEM_TYPE = "application/problem+json; charset=utf-8";
export const JSON_TYPE = "application/json; charset=utf-8";
/** Seconds after which a client that was turned away for want of a broker or room may try again. */
export const RETRY_AFTER_S = 1;
