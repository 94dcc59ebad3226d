/**
 * Ends an old Node with one clear line. Imported before anything else, and written so that old Nodes can read it:
 * no top-level await, no `??`, no `?.`, no "node:" imports.
 */

var found = process.versions.node;
var parts = found.split(".").map(Number);

if (parts[0] < 20 || (parts[0] === 20 && parts[1] < 19)) {
  process.stderr.write(`millrace: needs Node 20.19 or newer; this is Node ${found}\n`);
  process.exit(1);
}
