/** The `--acks` of the commands, as the Producer takes it. */

export function producerAcks(text: "all" | "1" | "0"): "all" | 0 | 1 {
  switch (text) {
    case "all":
      return "all";
    case "1":
      return 1;
    case "0":
      return 0;
  }
}
