/** A promise together with the functions that settle it. */

export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

export function createDeferred<T>(): Deferred<T> {
  let resolve: ((value: T) => void) | undefined;
  let reject: ((error: Error) => void) | undefined;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  // The executor above ran before the constructor returned, so both are set.
  if (resolve === undefined || reject === undefined) throw new Error("Promise executor did not run");
  return { promise, resolve, reject };
}
