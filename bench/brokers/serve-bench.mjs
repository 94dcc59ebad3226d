/** What a broker in a process of its own tells the bench: its address, its processor time and memory, and its end. */

export function serveBench(address, close) {
  process.on("message", async (message) => {
    if (message === "cpu") {
      const { user, system } = process.cpuUsage();
      process.send({ cpuMicros: user + system, rssBytes: process.memoryUsage.rss() });
    }
    if (message === "close") {
      await close();
      process.disconnect();
    }
  });
  // Whoever started this is gone: nobody will ask it to close.
  process.on("disconnect", () => process.exit());
  process.send({ address });
}
