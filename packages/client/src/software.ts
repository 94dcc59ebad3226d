/** Who we are, for the brokers' logs and metrics (KIP-511). */

export const softwareName = "millrace";
/** The version in package.json; a test holds the two together. */
export const softwareVersion = "0.1.0";
