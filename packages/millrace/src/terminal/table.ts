/** Rows in columns that line up, numbers to the right. */

export type Cell = string | number;

/** The head is written in capitals, as `docker ps` and `kubectl get` do. */
export function renderTable(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => String(row[column] ?? "").length)),
  );
  const isNumeric = head.map((_, column) => rows.every((row) => typeof row[column] === "number"));
  const lines = [head.map((title) => title.toUpperCase()), ...rows].map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return isNumeric[column] === true ? String(cell).padStart(width) : String(cell).padEnd(width);
      })
      .join("  ")
      .trimEnd(),
  );
  return `${lines.join("\n")}\n`;
}
