#!/usr/bin/env node
/**
 * The door of the `millrace` command. It is CommonJS, and written so that an old Node can read it, because two things
 * must happen before the first import: the version check, and the size of libuv's thread pool, which is fixed at its
 * first use (inside ESM that has already happened).
 */
"use strict";

var OLDEST = [20, 19];
/** One fdatasync holds a thread; with libuv's 4, a few busy partitions would keep DNS and compression waiting. */
var THREAD_COUNT = 16;

var version = process.versions.node.split(".").map(Number);
if (version[0] < OLDEST[0] || (version[0] === OLDEST[0] && version[1] < OLDEST[1])) {
  process.stderr.write(
    "millrace needs Node.js " +
      OLDEST.join(".") +
      " or newer; " +
      process.execPath +
      " is " +
      process.versions.node +
      "\n",
  );
  process.exit(1);
}

if (process.env.UV_THREADPOOL_SIZE === undefined) process.env.UV_THREADPOOL_SIZE = String(THREAD_COUNT);

// Most of a busy server's memory is garbage that V8 has not collected: by default a heap may grow to four times what is
// alive in it, with this to twice. It is read after each collection, so that it is not too late for it here. 120,000
// async requests took 392 MiB without and 252 MiB with it, and as long (Node 20).
require("node:v8").setFlagsFromString("--heap-growing-percent=100");

// Node 22 and newer can keep the compiled form of what they load: a quarter less CPU until `serve` is ready (Node 24).
var enableCompileCache = require("node:module").enableCompileCache;
if (enableCompileCache !== undefined) enableCompileCache();

import("../dist/main.js").then(
  function (main) {
    main.runMain();
  },
  function (error) {
    var isUnbuilt =
      error.code === "ERR_MODULE_NOT_FOUND" && !require("node:fs").existsSync(__dirname + "/../dist/main.js");
    process.stderr.write(isUnbuilt ? "millrace is not built yet; run: npm run build\n" : error.stack + "\n");
    process.exitCode = 1;
  },
);
