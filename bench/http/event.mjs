/** A JSON value of 100 bytes with six fields. */
export function event(index) {
  const text = JSON.stringify({
    id: 100_000 + index,
    user: "user-4711",
    type: "click",
    path: "/a/b",
    at: 1767225600000,
  });
  return `${text.slice(0, -1)},"x":"${"x".repeat(100 - text.length - 7)}"}`;
}
