export * from "./error-codes.ts";
export * from "./errors.ts";
export * from "./frame.ts";
export * from "./messages/index.ts";
export * from "./reader.ts";
export * from "./schema.ts";
export * from "./writer.ts";
